"""A user's own pictures: chosen from a folder, never copied, and nothing of a single one is kept."""

from __future__ import annotations

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import no_progress
from blindmatch_protocol.picture.decode import Picture
from blindmatch_simulations.evaluation.assess.figures import evading
from blindmatch_simulations.evaluation.assess.judging import Case, tries_until_hidden
from blindmatch_simulations.evaluation.assess.material import make
from blindmatch_simulations.evaluation.assess.observed import PictureRow
from blindmatch_simulations.evaluation.assess.plan import (
    QUICK,
    AssessError,
    PlanError,
    plan_text,
    read_plan,
    with_own,
)
from blindmatch_simulations.evaluation.assess.results import ROWS, WORKLOAD, Measured, check_folder
from blindmatch_simulations.evaluation.corpus.own import MOST_SIDE, OWN, OwnPictures, as_sent, own_pictures
from blindmatch_simulations.evaluation.corpus.scan import CorpusError
from blindmatch_simulations.testbed.pictures.crops import BY_NAME
from blindmatch_simulations.testbed.pictures.pool import picture
from msgspec.structs import replace
from PIL import Image
from support.assess_rows import observed, tiny
from support.command import BAD_STATE, REFUSED, in_process


def written(path: Path, number: int, kind: str = "PNG", side: int = 96, **options: Any) -> None:
    Image.fromarray(picture(number, (side, side)).pixels).save(path, kind, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 pictures, of which two are there again as they are and one edited; a broken file and a faint one."""
    made = tmp_path_factory.mktemp("secret-folder")
    for number in range(30):
        written(made / f"aunt-{number}.png", number)
    written(made / "aunt-copy.png", 1)
    written(made / "aunt-edited.jpg", 2, "JPEG", quality=50)
    (made / "aunt-broken.png").write_bytes(b"\x89PNG and no more")
    Image.new("RGB", (80, 80), "grey").save(made / "aunt-faint.png")
    return made


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def chosen(folder: Path, cache: Path, count: int = 100, least: int = 1, seed: int = 1) -> OwnPictures:
    return own_pictures(folder, cache, count, least, seed, 1, no_progress)


def test_copies_edited_or_not_are_set_apart_and_broken_ones_named(folder: Path, cache: Path) -> None:
    found = chosen(folder, cache)
    assert (len(found.pictures), found.files, found.poor, found.apart) == (30, 34, 1, 2)
    assert found.broken == ["aunt-broken.png"]
    assert [one.name for one in found.pictures[:2]] == ["own-0000", "own-0001"]
    for one in found.pictures:
        assert Picture.from_bytes(one.data).hash == one.hash and Path(one.source).parent == folder


def test_the_choice_follows_from_pictures_and_seed_alone(folder: Path, cache: Path, tmp_path: Path) -> None:
    few, again, other = chosen(folder, cache, 9), chosen(folder, cache, 9), chosen(folder, cache, 9, seed=2)
    assert few == again and len(few.pictures) == 9
    assert few.mark == again.mark != other.mark
    assert {one.hash for one in few.pictures} != {one.hash for one in other.pictures}
    elsewhere = chosen(folder, tmp_path, 9)
    assert [one.hash for one in elsewhere.pictures] == [one.hash for one in few.pictures]
    assert elsewhere.mark != few.mark  # it tells nothing to whoever has other pictures and no cache


def test_too_few_pictures_say_what_was_found(folder: Path, cache: Path) -> None:
    with pytest.raises(CorpusError, match=r"30 pictures can be used, 31 are needed \(34 files, 1 broken"):
        chosen(folder, cache, least=31)
    with pytest.raises(CorpusError, match="none: No such file or directory"):
        chosen(folder / "none", cache)


def test_a_picture_that_vanishes_after_it_was_hashed_is_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(data: bytes) -> bytes:
        raise FileNotFoundError

    monkeypatch.setattr("blindmatch_simulations.evaluation.corpus.own.as_sent", gone)
    with pytest.raises(CorpusError, match="changed since it was hashed"):
        chosen(folder, tmp_path, 3)


def test_large_pictures_are_sent_smaller_and_others_as_they_are() -> None:
    file = BytesIO()
    Image.fromarray(picture(1, (900, 2000)).pixels).save(file, "PNG")
    sent = Image.open(BytesIO(as_sent(file.getvalue())))
    assert max(sent.size) == MOST_SIDE and sent.format == "JPEG"
    small = BytesIO()
    Image.new("RGB", (MOST_SIDE, 8)).save(small, "PNG")
    assert as_sent(small.getvalue()) == small.getvalue()


def test_material_of_own_pictures_reads_them_where_they_are(
    folder: Path, cache: Path, tmp_path: Path
) -> None:
    found = chosen(folder, cache, 8)
    plan = read_plan(own_text(found.mark))
    material = make(plan, tmp_path / "m", no_progress, found.pictures)
    items, originals = material.items(), {one.name: one.data for one in found.pictures}
    assert {item.kind for item in items} == {OWN} and len({i.name for i in items if i.listed}) == 4
    assert not list((tmp_path / "m").glob("*.bin"))
    for item in items[:12]:
        assert material.data(item) == BY_NAME[item.edit].apply(originals[item.name])


def own_text(mark: str) -> str:
    """The quick workload of own pictures with this mark."""
    text = plan_text(None, QUICK)
    return with_own(text, read_plan(text), mark)


def test_a_workload_of_own_pictures_is_of_those_pictures() -> None:
    text = own_text("0123456789abcdef")
    assert with_own(text, read_plan(text), "0123456789abcdef") == text
    with pytest.raises(PlanError, match="other pictures"):
        with_own(text, read_plan(text), "fedcba9876543210")


def row(kind: str, name: str, edit: str, listed: bool, matched: bool) -> PictureRow:
    return PictureRow(0, name, edit, listed, 90, 0, 0, matched, matched, "", True, 0, 0, 0, 1.0, 1.0, kind)


def test_of_own_pictures_no_edit_that_hides_one_is_told() -> None:
    hides = [row(OWN, "own-0000", "identical", True, True), row(OWN, "own-0000", "flip", True, False)]
    assert tries_until_hidden(hides, ["identical", "flip"]) == ()
    assert evading(Case(replace(observed(), pictures=tuple(hides)))).value is None
    crop = [row("photographs", "a", one.edit, True, one.matched is True) for one in hides]
    assert tries_until_hidden(crop, ["identical", "flip"]) == (2,)
    assert evading(Case(replace(observed(), pictures=tuple(crop)))).value == 1.0


def test_an_assessment_refuses_folders_that_do_not_do(
    folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    (tmp_path / "empty").mkdir()
    command = ("assess", "--quick", "--out", tmp_path / "out")
    ran = in_process(tmp_path, *command, "--pictures", tmp_path / "empty")
    assert ran.code == REFUSED and "0 pictures can be used" in ran.err
    ran = in_process(tmp_path, *command, "--pictures", tmp_path / "none")
    assert ran.code == BAD_STATE and "none: No such file" in ran.err


def traces(path: Path, folder: Path, found: OwnPictures) -> list[str]:
    """Where files below `path` have a name, hash or file of a user's picture."""
    secrets = {"aunt", str(folder), *(one.hash.hex() for one in found.pictures), "own-0"}
    held = [(file, file.read_bytes()) for file in path.rglob("*") if file.is_file()]
    told = [f"{file.name}: {word}" for file, data in held for word in secrets if word.encode() in data]
    return told + [file.name for file, data in held for one in found.pictures if one.data in data]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_workers")
def test_an_assessment_of_own_pictures_keeps_rates_alone(
    folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    before = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    workload, out = tmp_path / "tiny.toml", tmp_path / "out"
    workload.write_text(
        tiny(listed=3, unlisted=5, edits='["identical", "flip"]\nof_each_kind = 1', run_seconds=600)
    )
    told = ("assess", "--designs", "hash-upload", "--workload", workload, "--out", out)
    assert in_process(tmp_path, *told, "--pictures", folder).code == 0
    results = check_folder(out)
    (found,) = results.rows
    assert isinstance(found, Measured) and found.recall_by_kind and found.false_by_kind
    assert found.figures["recall"].n == 6 and found.figures["recall"].value == 0.5
    assert [one.name for one in found.recall_by_kind] == sorted(one.name for one in found.recall_by_kind)
    assert {one.name: one.sent for one in found.recall_by_kind}[OWN] == 6 and len(found.false_by_kind) == 6
    assert found.tries_until_hidden == () and found.figures["evading"].value is None
    assert (
        found.figures["undeclared_bytes"].value is None
        and "not comparable" in found.figures["undeclared_bytes"].why
    )
    assert "--pictures FOLDER" in results.command and "own" in results.options
    assert traces(out, folder, chosen(folder, cache)) == []
    assert not list((cache / "blindmatch" / "assess").glob("pictures-*"))  # kept of packages' pictures alone
    assert '"kind":"pictures"' not in (out / ROWS / "hash-upload.jsonl").read_text()
    after = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert after == before
    assert in_process(tmp_path, *told).code == REFUSED  # the same folder, without own pictures
    own = out / WORKLOAD
    ran = in_process(tmp_path, "assess", "--workload", own, "--out", tmp_path / "other")
    assert ran.code == REFUSED and "--pictures" in ran.err


def test_an_assessment_needs_own_pictures_if_and_only_if_its_workload_says_so(tmp_path: Path) -> None:
    from blindmatch_simulations.evaluation.assess.running import Assessment

    text = own_text("0123456789abcdef")
    with pytest.raises(AssessError, match="--pictures"):
        Assessment(tmp_path, text, (), "test", lambda title: no_progress).run()
    assert issubclass(AssessError, BlindmatchError) and not list(tmp_path.iterdir())
