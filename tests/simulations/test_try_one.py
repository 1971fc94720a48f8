"""What designs answer of the bundled pictures (`docs/sample/try.json`), and which files are refused."""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pytest
from blindmatch_protocol.codec.errors import NotInstalledError
from blindmatch_protocol.contract.relation import Category, Equal, Near
from blindmatch_protocol.picture.decode import decode
from blindmatch_simulations.evaluation.studies import trying
from blindmatch_simulations.evaluation.studies import trying_sessions as sessions
from blindmatch_simulations.evaluation.studies.trying import TRY, AnswerSource, TrialAnswer, Tried, TryError
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design, not_installed
from blindmatch_simulations.testbed.pictures.crops import EDITS, LICENCES, opened, photograph_file
from PIL import Image
from support.sample import SAMPLE

FILE: Final = SAMPLE / TRY
OF_PEOPLE: Final = ("astronaut.png", "camera.png")
SLOW: Final = "he-hamming"
QUICK: Final = sorted(
    {one for one in all_designs() if "token" not in one} - {SLOW, "wide-psi", "threshold-near"}
)
"""A session takes them a few milliseconds."""
FOUND: Final = {TrialAnswer.FOUND, TrialAnswer.COUNTED}


@pytest.fixture(scope="module")
def tried() -> Tried:
    return trying.read_tried(FILE)


@pytest.fixture(scope="module")
def samples() -> list[sessions.Sample]:
    return sessions.samples()


def test_every_design_answers_or_is_named_with_the_reason(tried: Tried) -> None:
    assert set(tried.answers) | set(tried.not_covered) == set(all_designs()) | set(not_installed())
    # the sample is made where all of them are installed
    assert tried.not_covered == {}
    versions = {name: one.design.info.version for name, one in all_designs().items()}
    asked = {name: trial.version for name, trial in tried.answers.items()}
    assert asked.items() >= versions.items(), "make try-one"


def test_the_pictures_are_those_of_the_installed_package_and_free_to_copy(
    tried: Tried, samples: list[sessions.Sample]
) -> None:
    assert len(tried.pictures) == 4
    for one in tried.pictures:
        file = photograph_file(one.source)
        assert (one.package, one.licence) == ("scikit-image", LICENCES[one.source])
        assert one.licence.startswith(("CC0", "public domain")) and one.source not in OF_PEOPLE
        assert sha256(file).hexdigest() == one.sha256
    assert tried.pictures == tuple(one.about for one in samples)


@pytest.mark.parametrize("name", sorted({*all_designs()} - {SLOW}))
def test_a_drawn_sample_of_answers_comes_out_the_same_when_asked_again(
    tried: Tried, samples: list[sessions.Sample], name: str
) -> None:
    asked_again(tried, samples, name, 8 if name in QUICK else 1)


@pytest.mark.slow
def test_so_do_answers_of_the_slowest_design(tried: Tried, samples: list[sessions.Sample]) -> None:
    asked_again(tried, samples, SLOW, 1)


def asked_again(tried: Tried, samples: list[sessions.Sample], name: str, count: int) -> None:
    design = load_design(name)
    edits = random.Random(name).sample(range(len(EDITS)), count)
    trial = tried.answers[name]
    for ask, answers in ((sessions.ask_listed, trial.listed), (sessions.ask_unlisted, trial.unlisted)):
        written = [answers[one.about.id][edit] for one in samples for edit in edits]
        try:
            again = list(ask(design, samples, edits))
        except NotInstalledError as error:
            pytest.skip(str(error))
        assert again == written, "make try-one"
    assert trial.how is sessions.how_of(design)


def installed(tried: Tried) -> dict[str, trying.Trial]:
    """Return the answers of designs that this machine has: `make classifier` installs one more."""
    return {name: trial for name, trial in tried.answers.items() if name not in not_installed()}


def test_no_answer_contradicts_the_relation_that_its_design_declares(
    tried: Tried, samples: list[sessions.Sample]
) -> None:
    """What is outside the relation is never found; what is in it is missed by a design alone that says so."""
    missed = 0
    for name, trial in installed(tried).items():
        relation = load_design(name).info.relation
        if not isinstance(relation, Equal | Near):
            continue
        for one in samples:
            entries = sessions.entries_of(samples)
            others = sessions.entries_of(samples, one)
            for item, listed, unlisted in zip(
                one.items, trial.listed[one.about.id], trial.unlisted[one.about.id], strict=True
            ):
                is_match = relation.matches(item, entries)
                assert not relation.matches(item, others)
                assert unlisted in {TrialAnswer.NOTHING, TrialAnswer.MADE_UP}
                assert is_match or listed not in {*FOUND, TrialAnswer.ANOTHER}
                if is_match and listed not in FOUND:
                    assert relation.recall < 1
                    missed += 1
    assert missed, "there are designs that find less than they would in the clear"


def test_designs_that_look_at_no_list_say_the_same_whatever_is_listed(tried: Tried) -> None:
    assert {one for row in tried.answers["none"].listed.values() for one in row} == {TrialAnswer.NOT_LOOKED}
    assert (
        tried.answers["none"].how is AnswerSource.NOBODY
        and tried.answers["provider-scan"].how is AnswerSource.SERVER
    )
    for name, trial in installed(tried).items():
        if isinstance(load_design(name).info.relation, Category):
            assert trial.listed == trial.unlisted
            assert {one for row in trial.listed.values() for one in row} == {
                TrialAnswer.FLAGGED,
                TrialAnswer.NOT_FLAGGED,
            }


def test_vouchers_count_for_designs_that_open_nothing_below_a_threshold_alone(tried: Tried) -> None:
    counted = {
        name
        for name, trial in tried.answers.items()
        if any({TrialAnswer.COUNTED, TrialAnswer.MADE_UP} & set(row) for row in trial.listed.values())
    }
    assert counted == {name for name, trial in tried.answers.items() if trial.how is AnswerSource.VOUCHER}
    assert counted == {"threshold-psi", "threshold-near"}


def test_small_pictures_show_the_edited_picture_and_what_requests_show_of_it(
    tried: Tried, samples: list[sessions.Sample]
) -> None:
    one = samples[1]
    drawn = tried.shots[one.about.id]
    for again, held in zip(sessions.shots_of(one, sessions.usual_pictures()), drawn, strict=True):
        for field in ("picture", "likeness", "finer"):
            # another build of the WebP library may differ in a level
            assert np.abs(pixels(getattr(again, field)) - pixels(getattr(held, field))).mean() < 3
    for file, shot in zip(one.edited, drawn, strict=True):
        image = opened(file)
        image.thumbnail((trying.PICTURE_SIDE, trying.PICTURE_SIDE))
        assert np.abs(pixels(shot.picture) - np.asarray(image, np.int16)).mean() < 12
    plain = drawn[0]
    mirrored = drawn[[edit.name for edit in EDITS].index("flip")]
    of_plain = pixels(plain.finer)
    across = np.abs(pixels(mirrored.finer)[:, ::-1] - of_plain).mean()
    assert across < np.abs(pixels(mirrored.finer) - of_plain).mean(), "a mirrored picture is redrawn mirrored"


def pixels(uri: str) -> Any:
    return decode(b64decode(uri.partition(",")[2])).pixels.astype(np.int16)


def test_no_number_in_the_file_says_how_near_two_hashes_are(tried: Tried) -> None:
    numbers = {path for path, value in walked(json.loads(FILE.read_bytes())) if not isinstance(value, str)}
    fronts = {path.split("/")[0] for path in numbers}
    assert fronts == {"answers", "fillers", "quality", "version"}
    assert {path.split("/")[2] for path in numbers if path.startswith("answers")} == {"version"}
    words = [value for _, value in walked(msgspec.to_builtins(tried)) if isinstance(value, str)]
    assert not any(one in word for word in words for one in ("distance", " bits", "data:text"))
    assert FILE.stat().st_size <= trying.MOST_BYTES


def walked(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with the keys that lead to it."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from walked(inner, f"{path}/{key}".lstrip("/"))
    else:
        yield path, value


def uri_of(kind: str, side: int) -> str:
    """A picture of another kind or size, which says that it is WebP."""
    file = BytesIO()
    Image.new("RGB", (side, side), "red").save(file, kind)
    return f"data:image/webp;base64,{b64encode(file.getvalue()).decode()}"


def put(*path: Any) -> Callable[[Any], None]:
    """Put the last of these where the others lead."""

    def change(held: Any) -> None:
        *before, last, value = path
        for key in before:
            held = held[key]
        held[last] = value

    return change


def rename(*path: Any) -> Callable[[Any], None]:
    """Give the last key but one another name."""

    def change(held: Any) -> None:
        *before, old, new = path
        for key in before:
            held = held[key]
        held[new] = held.pop(old)

    return change


CAT: Final = ("answers", "oprf-psi", "listed", "cat")
HOSTILE: Final = {
    "another format": (put("format", "blindmatch-results"), "format: must be blindmatch-try"),
    "another version": (put("version", 2), "version: must be 1"),
    "a version that is true": (put("version", True), "version: must be 1"),
    "a version in words": (put("version", "1"), "version: must be 1"),
    "a field more": (put("more", 1), "file: .*`more`"),
    "a field less": (lambda held: held.pop("quality"), "file: .*`quality`"),
    "a distance": (put("answers", "oprf-psi", "distance", 4), r"answers\[\.\.\.\]: .*`distance`"),
    "a number for a title": (put("pictures", 0, "title", 7), r"pictures\[0\]\.title: Expected `str`"),
    "markup in a title": (put("pictures", 0, "title", "<b>cat</b>"), r"pictures\[0\]\.title: .*regex"),
    "markup in a description": (put("pictures", 1, "alt", "x onload=' "), r"pictures\[1\]\.alt: .*regex"),
    "an entity in a licence": (put("pictures", 1, "licence", "CC0 &lt;"), r"pictures\[1\]\.licence: .*regex"),
    "a line's end in a title": (put("pictures", 0, "title", "cat\n"), r"pictures\[0\]\.title: .*regex"),
    "an empty title": (put("pictures", 0, "title", ""), r"pictures\[0\]\.title: .*length >= 1"),
    "a long title": (put("pictures", 0, "title", "a" * 301), r"pictures\[0\]\.title: .*length <= 300"),
    "a digest in capitals": (put("pictures", 0, "sha256", "A" * 64), r"pictures\[0\]\.sha256: .*regex"),
    "a path for a source": (put("pictures", 0, "source", "../x.png"), r"pictures\[0\]\.source: .*regex"),
    "one id twice": (put("pictures", 0, "id", "coffee"), "pictures: must have an id of their own"),
    "no pictures": (put("pictures", []), "pictures: .*length >= 1"),
    "edits in another order": (lambda held: held["edits"].reverse(), "edits: must be the suite's"),
    "markup for an edit": (put("edits", 0, "<i>"), r"edits\[0\]: .*regex"),
    "quality above 100": (put("quality", "cat", 0, 101), r"quality\[\.\.\.\]\[0\]: .*<= 100"),
    "quality that is true": (put("quality", "cat", 0, True), r"quality\[\.\.\.\]\[0\]: Expected `int`"),
    "too few qualities": (lambda held: held["quality"]["cat"].pop(), "quality.cat: must have 26 values"),
    "an unknown answer": (put(*CAT, 0, "f"), r"answers\[\.\.\.\]\.listed\[\.\.\.\]\[0\]: Invalid enum"),
    "too many answers": (put(*CAT, ["missed"] * 27), "answers.oprf-psi.listed.cat: must have 26 .* not 27"),
    "no answers": (put(*CAT, []), "answers.oprf-psi.listed.cat: must have 26 .* not 0"),
    "another picture": (rename(*CAT, "dog"), "answers.oprf-psi.listed: must have the ids of the pictures"),
    "nothing to find of a listed one": (
        put(*CAT, 0, "nothing to find"),
        "answers.oprf-psi.listed: must not have `nothing to find`",
    ),
    "an unlisted one that is found": (
        put("answers", "oprf-psi", "unlisted", "cat", 0, "found"),
        "answers.oprf-psi.unlisted: must not have `found`",
    ),
    "an unknown way to know": (put("answers", "oprf-psi", "how", "guessed"), r"\.how: Invalid enum"),
    "markup for a design": (rename("answers", "oprf-psi", "<img>"), "answers: .*regex"),
    "a design that is not covered and answers": (
        put("not_covered", {"oprf-psi": "it is not installed"}),
        "not_covered.oprf-psi: must not be among the answers",
    ),
    "a reason with markup": (put("not_covered", {"x": "<script>"}), r"not_covered\[\.\.\.\]: .*regex"),
    "shots of fewer edits": (lambda held: held["shots"]["cat"].pop(), "shots.cat: must have 26 values"),
    "a script for a picture": (
        put("shots", "cat", 0, "picture", "javascript:alert(1)"),
        r"shots\[\.\.\.\]\[0\]\.picture: .*regex",
    ),
    "a drawing for a picture": (
        put("shots", "cat", 0, "finer", "data:image/svg+xml;base64,PHN2Zz4="),
        r"shots\[\.\.\.\]\[0\]\.finer: .*regex",
    ),
    "noise for a picture": (
        put("shots", "cat", 2, "likeness", "data:image/webp;base64,AAAA"),
        r"shots\.cat\[2\]\.likeness: must be a WebP picture",
    ),
    "broken base64": (
        put("shots", "cat", 2, "likeness", "data:image/webp;base64,AAAAA"),
        r"shots\.cat\[2\]\.likeness: must be a WebP picture",
    ),
    "another kind of picture": (
        put("shots", "cat", 2, "likeness", uri_of("PNG", 8)),
        r"shots\.cat\[2\]\.likeness: must be a WebP picture",
    ),
    "a large picture": (
        put("shots", "cat", 2, "likeness", uri_of("WEBP", trying.LIKENESS_SIDE + 1)),
        r"shots\.cat\[2\]\.likeness: must be a WebP picture of at most 56 pixels",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_file_with_hostile_content_is_refused_by_field_and_rule(what: str, tmp_path: Path) -> None:
    change, rule = HOSTILE[what]
    held = json.loads(FILE.read_bytes())
    change(held)
    path = tmp_path / TRY
    path.write_bytes(msgspec.json.encode(held, order="sorted") + b"\n")
    with pytest.raises(TryError, match=f"^try.json: .*{rule}"):
        trying.read_tried(path)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda raw: raw[:-100], "file: truncated or no JSON"),
        (lambda raw: b'{"x":' + b"[" * 100_000, "file: truncated or no JSON"),
        (lambda raw: b"\xff\xfe", "file: truncated or no JSON"),
        (lambda raw: b"[]", "file: Expected `object`"),
        (lambda raw: raw[:-1], "file: must be in the form in which it was written"),
        (lambda raw: raw.replace(b'"fillers":40', b'"fillers":7,"fillers":40'), "file: must be in the form"),
        (lambda raw: msgspec.json.format(raw, indent=1), "file: must be in the form|at most"),
        (lambda raw: raw + b" " * trying.MOST_BYTES, "file: must have at most 450,000 bytes"),
    ],
)
def test_a_file_in_another_form_is_refused(change: Callable[[bytes], bytes], rule: str) -> None:
    with pytest.raises(TryError, match=f"^{rule}"):
        trying.decode_tried(change(FILE.read_bytes()))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TryError, match=r"^none\.json: cannot be read: No such file"):
        trying.read_tried(tmp_path / "none.json")


def test_answers_that_are_kept_are_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried, samples: list[sessions.Sample]
) -> None:
    """An interrupted call goes on; a file that it left half is asked for again."""
    for name, trial in tried.answers.items():
        (tmp_path / f"{name}.json").write_bytes(msgspec.json.encode(trial))
    (tmp_path / "none.json").write_bytes(b"{")
    asked = list[str]()
    ask = sessions.trial_of

    def counted(design: Any, *given: Any) -> Any:
        asked.append(design.info.name)
        return ask(design, *given)

    monkeypatch.setattr(sessions, "trial_of", counted)
    monkeypatch.setattr(sessions, "samples", lambda: samples)
    monkeypatch.setattr(sessions, "shots_of", lambda one, usual: tried.shots[one.about.id])
    out = tmp_path / "out.json"
    sessions.main(str(out), str(tmp_path))
    assert asked == ["none"] and trying.read_tried(out).answers == installed(tried)
