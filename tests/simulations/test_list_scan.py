"""Scans of one folder against another, and their pool: right counts, no name or hash, bad files refused."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from blindmatch_protocol.picture.pdq import distance
from blindmatch_simulations.evaluation.corpus import list_scan, merging
from blindmatch_simulations.evaluation.corpus.list_scan import ALL, KINDS, OTHER, Sorted, cells_of, kind_of
from blindmatch_simulations.evaluation.corpus.scan import CorpusError
from blindmatch_simulations.measure.intervals import clopper_pearson
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.measure.results import sealed
from blindmatch_simulations.testbed.pictures.pool import picture
from defusedxml.ElementTree import fromstring
from msgspec.structs import replace
from PIL import Image
from support.command import BAD_STATE, REFUSED, in_process
from support.schemas import of_list_scans, of_merged_scans


def png(number: int) -> bytes:
    file = BytesIO()
    Image.fromarray(picture(number).pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """40 listed pictures and 30 others, of which three are edited listed ones and one is a listed file."""
    made = tmp_path_factory.mktemp("holder-of-secrets")
    listed = made / "list"
    asked = made / "asked"
    for folder in (listed / "photograph", listed / "aunt-mary", asked / "photograph", asked / "clip art"):
        folder.mkdir(parents=True)
    for number in range(40):
        (listed / ("photograph" if number % 2 else "aunt-mary") / f"{number}.png").write_bytes(png(number))
    for number in range(40, 66):
        (asked / ("photograph" if number % 2 else "clip art") / f"holiday-{number}.png").write_bytes(
            png(number)
        )
    for number in range(3):
        Image.fromarray(picture(number).pixels).save(
            asked / "photograph" / f"edited-{number}.jpg", quality=60
        )
    (asked / "photograph" / "again.png").write_bytes(png(5))
    (asked / "broken.jpg").write_bytes(b"no picture")
    return listed, asked


@pytest.fixture(scope="module")
def scan(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> list_scan.ListScan:
    return list_scan.scanned_lists(*folders, tmp_path_factory.mktemp("state"), 1, silent)


def cell(made: list_scan.ListScan, kind: str, list_kind: str, within: int, part: int = 1) -> list_scan.Cell:
    whole = max(one.length for one in made.cells if one.list_kind == list_kind)
    return next(
        one
        for one in made.cells
        if (one.kind, one.list_kind, one.within, one.length) == (kind, list_kind, within, whole // part)
    )


def test_pictures_are_counted_by_kind_of_picture_and_of_list(scan: list_scan.ListScan) -> None:
    assert (scan.listed, scan.asked, scan.in_both, scan.left) == (40, 29, 1, 1)
    every = cell(scan, ALL, ALL, 31)
    assert (every.length, every.asked, every.matched, every.different) == (40, 29, 3, 0), "edited copies"
    photographs = cell(scan, "photograph", "photograph", 31)
    assert (photographs.length, photographs.asked, photographs.matched) == (20, 16, 1)
    assert cell(scan, "photograph", OTHER, 31).matched == 2
    assert cell(scan, "clip art", ALL, 31).matched == 0


def test_a_list_scan_has_no_name_and_no_hash(scan: list_scan.ListScan, tmp_path: Path) -> None:
    text = json.dumps(json.loads(merging.encode(scan)))
    assert not {word for word in ("secrets", "aunt", "mary", "holiday", ".png") if word in text}
    assert {one.kind for one in scan.cells} | {one.list_kind for one in scan.cells} <= {*KINDS, OTHER, ALL}
    assert [error.message for error in validator(of_list_scans()).iter_errors(json.loads(text))] == []


def validator(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(schema)


def test_a_kind_is_the_name_of_the_folder_below_if_it_is_a_known_one() -> None:
    assert kind_of("photograph/a/b.png") == "photograph" and kind_of("clip art/x") == "clip art"
    assert kind_of("photograph") == kind_of("aunt/photograph/x") == kind_of("../x") == OTHER


def test_counts_are_those_of_comparing_every_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_scan, "_COLUMNS", 37)
    monkeypatch.setattr(list_scan, "_ROWS", 16)
    rng = np.random.default_rng(4)
    own = rng.integers(0, 256, (100, 64), np.uint8)
    others = rng.integers(0, 256, (50, 64), np.uint8)
    others[:30, :32] = own[rng.integers(0, 100, 30), :32]
    others[:30, 0] ^= rng.integers(0, 256, 30, np.uint8)
    others[:30, 1:4] ^= np.where(rng.random((30, 3)) < 0.5, rng.integers(0, 256, (30, 3)), 0).astype(np.uint8)
    others[:10, 32:] = own[:10, 32:]
    others[49, :32] = ~own[0, :32]  # 256 bits apart, which is 0 in 8 bits
    kinds = np.array(["photograph", "texture"])
    listed = Sorted(own, kinds[rng.integers(0, 2, 100)], 0)
    asked = Sorted(others, kinds[rng.integers(0, 2, 50)], 0)
    told = list(cells_of(listed, asked, lambda done, total: None))
    for one in told:
        places = np.flatnonzero((listed.kinds == one.list_kind) | (one.list_kind == ALL))[: one.length]
        mine = np.flatnonzero((asked.kinds == one.kind) | (one.kind == ALL))
        matched = [
            at
            for at in mine
            if any(distance(others[at, :32].tobytes(), own[to, :32].tobytes()) <= one.within for to in places)
        ]
        assert (one.asked, one.matched) == (len(mine), len(matched))
    assert any(one.matched > 5 for one in told)


def test_a_shorter_list_is_a_part_of_the_longer_one(scan: list_scan.ListScan) -> None:
    matched = [cell(scan, ALL, ALL, 31, part).matched for part in (8, 4, 2, 1)]
    assert matched == sorted(matched) and matched[-1] == 3


def test_scans_are_pooled_and_one_holder_counts_once_for_lists_of_a_length(
    scan: list_scan.ListScan, tmp_path: Path
) -> None:
    other = sealed(replace(scan, made_at="2020-01-01T00:00:00+00:00"))
    made = merging.merged(written(tmp_path, scan, other))
    points = points_of(made, ALL)
    every = points[-1]
    assert every.length == 40 and every.holders == 2
    assert every.item.n == 58 and every.item.value == pytest.approx(6 / 58)
    assert (every.item.low, every.item.high) == pytest.approx(clopper_pearson(6, 58))
    assert every.excludes == every.item.high and every.item.pairs == 58 * 40
    none = points_of(made, "clip art")[-1]
    assert none.item.value == none.item.low == 0 and none.item.n
    assert none.excludes == pytest.approx(1 - 0.025 ** (1 / none.item.n))
    lengths = [one.length for one in points]
    assert lengths == sorted(set(lengths)), "a range of lengths has one point"
    wrong = validator(of_merged_scans()).iter_errors(json.loads(merging.encode(made)))
    assert [error.message for error in wrong] == []


def points_of(made: merging.Merged, kind: str) -> list[merging.Point]:
    """Return the points of a kind of picture against a list of all, within 31 bits, by length."""
    return [one for one in made.points if (one.kind, one.list_kind, one.within) == (kind, ALL, 31)]


def test_so_many_photographs_without_a_match_exclude_one_in_a_hundred_thousand() -> None:
    assert clopper_pearson(0, 370_000)[1] <= 1e-5 < clopper_pearson(0, 365_000)[1]


def written(folder: Path, *scans: list_scan.ListScan) -> list[Path]:
    paths = [folder / f"{at}.json" for at in range(len(scans))]
    for path, one in zip(paths, scans, strict=True):
        path.write_bytes(merging.encode(one))
    return paths


def altered(scan: list_scan.ListScan, **change: Any) -> list_scan.ListScan:
    return sealed(replace(scan, cells=(replace(scan.cells[0], **change), *scan.cells[1:])))


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"matched": 10**6}, "matched: must be 0 to asked"),
        ({"different": 10**6}, "different: must be 0 to matched"),
        ({"asked": -1}, "asked: must be 0 to the scan's"),
        ({"length": 10**6}, "length: must be 1 to listed"),
        ({"kind": "aunt-mary"}, "kind, list_kind: must be known kinds"),
        ({"within": 7}, "within: must be one of 0, 16, 31"),
    ],
)
def test_counts_that_cannot_be_are_refused_by_name(
    scan: list_scan.ListScan, tmp_path: Path, change: dict[str, Any], rule: str
) -> None:
    (path,) = written(tmp_path, altered(scan, **change))
    with pytest.raises(CorpusError) as refused:
        merging.merged([path])
    assert f"{path}: cells[0]: {rule}" in str(refused.value)


def test_a_file_that_is_no_scan_is_refused_by_name(scan: list_scan.ListScan, tmp_path: Path) -> None:
    (path,) = written(tmp_path, scan)
    twice = sealed(replace(scan, cells=(scan.cells[0], *scan.cells)))
    cases = {
        "no JSON object": b"[1]",
        "format: must be blindmatch-list-scan": b'{"format": "else"}',
        "version 9; this program reads 1": b'{"format": "blindmatch-list-scan", "version": 9}',
        "not by its schema": json.dumps(json.loads(path.read_bytes()) | {"more": 1}).encode(),
        "digest: not that of its content": path.read_bytes().replace(b'"listed": 40', b'"listed": 41'),
        "already merged": merging.encode(merging.merged([path])),
        "is there twice": merging.encode(twice),
    }
    for rule, data in cases.items():
        bad = tmp_path / "bad.json"
        bad.write_bytes(data)
        with pytest.raises(CorpusError, match=r"bad\.json: ") as refused:
            merging.merged([bad])
        assert rule in str(refused.value)
    with pytest.raises(CorpusError, match="No such file"):
        merging.merged([tmp_path / "none.json"])
    with pytest.raises(CorpusError, match="the same scan as"):
        merging.merged([path, path])


def test_a_drawing_has_a_mark_for_every_pooled_point(scan: list_scan.ListScan, tmp_path: Path) -> None:
    made = merging.merged(written(tmp_path, scan))
    tree = list(fromstring(merging.drawn(made, 31)).iter())
    drawn = [one for one in made.points if one.within == 31 and one.list_kind in (ALL, "photograph")]
    dots = [one for one in tree if one.tag.endswith("circle")]
    assert len(dots) == sum(bool(one.item.value) for one in drawn) > 0
    ends = [float(one.attrib[name]) for one in tree for name in ("x1", "x2", "cx") if name in one.attrib]
    assert ends and all(0 <= end <= 640 for end in ends)


def test_the_commands_scan_two_folders_and_pool_the_counts(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    listed, asked = folders
    ran = in_process(
        tmp_path, "corpus", "scan", "--list", listed, "--asked", asked, "--state", tmp_path / "s",
        "--workers", 1, "--json", tmp_path / "scan.json",
    )  # fmt: skip
    assert ran.code == 0 and "40 listed pictures, 29 others; 1 in both" in " ".join(ran.out.split())
    pooled = in_process(
        tmp_path, "corpus", "merge", tmp_path / "scan.json", "--svg", tmp_path / "lists.svg",
        "--json", tmp_path / "merged.json",
    )  # fmt: skip
    assert pooled.code == 0 and "excluded" in pooled.out
    assert (tmp_path / "lists.svg").read_text().startswith("<svg")
    assert json.loads((tmp_path / "merged.json").read_text())["format"] == merging.MERGED


def test_folders_that_cannot_be_compared_are_refused_by_name(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    listed, asked = folders
    (tmp_path / "empty").mkdir()
    cases = [
        (("--list", listed), "FOLDER: give it alone, or --list and --asked"),
        ((listed, "--list", listed, "--asked", asked), "FOLDER: give it alone, or --list and --asked"),
        ((), "FOLDER: give it alone, or --list and --asked"),
        (("--list", listed, "--asked", listed), "--asked: must be another folder than --list"),
        (("--list", tmp_path / "none", "--asked", asked), "none: No such file or directory"),
        (("--list", listed, "--asked", tmp_path / "empty"), "--asked: "),
    ]
    for given, rule in cases:
        ran = in_process(tmp_path, "corpus", "scan", *given, "--state", tmp_path / "s", "--workers", 1)
        assert ran.code in (BAD_STATE, REFUSED) and rule in " ".join(ran.err.split()), (given, ran.err)
    ran = in_process(tmp_path, "corpus", "merge", tmp_path / "none.json", "--within", 7)
    assert ran.code in (BAD_STATE, REFUSED) and "--within: must be one of 0, 16, 31" in " ".join(
        ran.err.split()
    )
