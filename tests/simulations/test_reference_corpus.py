"""The reference corpus: made the same twice, read as it was written, and what designs find of it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol.picture import pdq
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import distance
from blindmatch_simulations.data import table_of
from blindmatch_simulations.evaluation.corpus.bounds import LEAST_DIFFERENCE, NONE_DIFFERS, paired
from blindmatch_simulations.evaluation.corpus.hashing import fingerprint_of
from blindmatch_simulations.evaluation.studies import evidence, reference
from blindmatch_simulations.evaluation.studies.near_pictures import hamming
from blindmatch_simulations.evaluation.studies.reference import PHOTOGRAPH, Reference, Row, about, unpacked
from blindmatch_simulations.measure.intervals import clopper_pearson, clustered_share
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.measure.results import Results, read
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
from PIL import Image
from support import reference_making as making
from support.reference_making import APART, OF_A_KIND, Kinds, gone, make

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
            row, copy = number * len(FEW) + place, Picture.from_bytes(edit.apply(sent)).fingerprint
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
    for name in ("token-psi", "oprf-psi", "device-list", "partial-hash", "threshold-near"):
        design = load_design(name)
        matching = evidence.matching_of(design)
        assert matching is not None
        agreed = evidence.agreed(small, design, matching, 8)
        assert agreed.value == 1 and agreed.n


def test_a_design_that_hashes_do_not_tell_of_has_a_row_that_says_so(small: Reference) -> None:
    assert evidence.matching_of(load_design("token-psi")).tokening is not None
    nothing = evidence.matching_of(load_design("none"))
    assert nothing is not None and not evidence.found_of(small, nothing).any()


def test_exact_collisions_of_different_pictures_are_false_matches_of_both_halves() -> None:
    rng = np.random.default_rng(1)
    prints = rng.integers(0, 256, (400, 64), np.uint8)
    prints[200:, :32] = prints[:200, :32]
    rows = tuple(Row("p", "other", str(at), "") for at in range(len(prints)))
    corpus = Reference(rows, prints, np.full(400, 99, np.uint8), *(None,) * 2)  # type: ignore[arg-type]
    found = evidence.false_rows(corpus, evidence.near_pairs(prints), 0)[0].figures
    assert found["item"].value == found["item_all"].value == 1
    assert found["item_half"].value is not None and 0.3 < found["item_half"].value < 0.7


def test_near_pairs_are_all_pairs_within_reach() -> None:
    rng = np.random.default_rng(2)
    prints = rng.integers(0, 256, (150, 64), np.uint8)
    prints[75:] = prints[:75]
    prints[75:, :4] ^= rng.integers(0, 256, (75, 4), np.uint8)
    prints[149, :32] = ~prints[0, :32]  # 256 bits apart, which is 0 in 8 bits
    near = evidence.near_pairs(prints)
    found = set(zip(near.first.tolist(), near.second.tolist(), near.bits.tolist(), strict=True))
    assert found == {
        (i, j, d)
        for i in range(150)
        for j in range(i + 1, 150)
        if (d := distance(prints[i, :32].tobytes(), prints[j, :32].tobytes())) <= 64
    }
    assert near.same.sum() == 74


def test_an_interval_over_clusters_is_as_wide_as_clusters_are_alike() -> None:
    alike, spread = [8, 0] * 50, [4] * 100
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
    some, same = every.copy(), every.copy()
    some[:, 0] = False
    figures = evidence.difference_row(small, ("a", every), ("b", some)).figures
    assert figures["found"].value == pytest.approx(1 / len(FEW)) == figures["found"].low
    assert {"found", "of_pdq"} <= figures.keys() and "found_needed" not in figures
    alike = evidence.difference_row(small, ("a", every), ("b", same)).figures
    low, high = alike["found"].low, alike["found"].high
    assert alike["found"].value == 0 and low is not None and high is not None
    assert low == -high < 0, "that none of a few differs does not show that none does"
    assert alike["found_needed"].value == NONE_DIFFERS


def test_a_difference_that_is_not_resolved_says_how_many_pictures_would_tell() -> None:
    found, needed = paired([1, 0, 0, -1, 1] * 8, [10] * 40)
    assert found.low is not None and found.high is not None and found.value == pytest.approx(0.02)
    assert found.low < 0 < found.high and needed is not None and needed.value is not None
    assert needed.value > 40 and "square root" in needed.why
    more, none = paired(
        [1, 0, 0, -1, 1] * 8 * int(2 * needed.value / 40), [10] * 40 * int(2 * needed.value / 40)
    )
    assert none is None and more.low is not None and more.low > 0
    assert paired([1, -1] * 10, [10] * 20)[1].value is None  # type: ignore[union-attr]
    every, none = paired([-10] * 20, [10] * 20)
    assert none is None and every.high is not None and -1 < every.high < -0.8, "no interval without width"
    most = clopper_pearson(0, NONE_DIFFERS)[1]
    assert most < LEAST_DIFFERENCE < clopper_pearson(0, NONE_DIFFERS - 1)[1]


def test_the_committed_corpus_holds_what_its_page_says() -> None:
    corpus, said = reference.read(), about()
    kinds = corpus.kinds
    edited = kinds[corpus.edited]
    assert said["edits"] == [edit.name for edit in EDITS] == list(corpus.pairs.names)
    assert clopper_pearson(0, int((edited == PHOTOGRAPH).sum()))[1] <= 0.01
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
    data = files("blindmatch_simulations.data")
    assert sum(len(data.joinpath(name).read_bytes()) for name in NAMES) < 6_000_000


@pytest.mark.slow
def test_the_committed_evidence_is_of_the_committed_corpus_and_sessions_agree_with_it() -> None:
    corpus, rows = reference.read(), evidence.committed()
    path = Path(str(files("blindmatch_simulations.data").joinpath(evidence.FILE)))
    assert read(path, Results[ResultRow]).options["corpus"] == about()["arrays_sha256"]
    fill = evidence.others_of(corpus, evidence.near_pairs(corpus.prints))
    for name in ("token-psi", "oprf-psi"):
        matching = evidence.matching_of(load_design(name))
        assert matching is not None
        made = evidence.recall_rows(corpus, {}, matching, evidence.found_of(corpus, matching, fill))
        for row in made:
            kept = next(
                one
                for one in rows
                if one.id == evidence.RECALL
                and one.parameters.get("kind") == row.parameters["kind"]
                and name in str(one.parameters["designs"]).split(", ")
            )
            for key, figure in row.figures.items():
                assert kept.figures[key].value == pytest.approx(figure.value, rel=1e-5)
                assert kept.figures[key].n == figure.n
    agreed = [one.figures["agreed"] for one in rows if one.id == evidence.SESSIONS]
    assert all(one.value in (1, None) for one in agreed)
    assert sum(one.value == 1 for one in agreed) >= 10


def test_the_committed_evidence_says_where_it_does_not_apply() -> None:
    found = evidence.committed_figure(evidence.RECALL, PHOTOGRAPH, "of_pdq", "token-psi", 31, {"probes": 16})
    assert found.high is not None and found.low is not None and found.high - found.low < 0.01
    assert found.why.startswith("committed evidence")
    other = evidence.committed_figure(evidence.RECALL, PHOTOGRAPH, "of_pdq", "token-psi", 31, {"probes": 8})
    assert other.value is None and "default parameters" in other.why
    assert evidence.committed_figure(evidence.FALSE, evidence.ALL, "item", "x", 31, {}).value is None
    for design, within in (("oprf-psi", 0), ("device-list", 31)):
        found = evidence.committed_figure(evidence.FALSE, PHOTOGRAPH, "item", design, within, {})
        assert found.value == 0 and found.high is not None and found.high <= 0.01
    assert evidence.committed_figure(evidence.FALSE, PHOTOGRAPH, "item", "oprf-psi", 7, {}).value is None
