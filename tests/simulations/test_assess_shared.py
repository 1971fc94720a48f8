"""What no design changes is made once for the same code, data and parameters, and is the same to the byte."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blindmatch_protocol.contract import no_progress
from blindmatch_server.curator import open_list
from blindmatch_simulations.evaluation.assess import keeping, material, shared
from blindmatch_simulations.evaluation.assess.material import LIST, make
from blindmatch_simulations.evaluation.assess.plan import Plan, read_plan
from blindmatch_simulations.evaluation.assess.results import Measured, Results, Studied
from blindmatch_simulations.evaluation.assess.running import Assessment
from blindmatch_simulations.evaluation.assess.shared import FOLDER, MOST, Shared, of_pictures
from blindmatch_simulations.evaluation.corpus.installed import Found, installed
from blindmatch_simulations.measure.machine import machine
from blindmatch_simulations.measure.results import encode
from msgspec.structs import replace
from support.assess_rows import TINY, tiny

PLAN = read_plan(TINY)


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file of a material but its list, which bears the time at which it was made."""
    with open_list(folder / LIST) as entries:
        listed = [entries.hashes.tobytes(), entries.ids.tobytes(), entries.salts.tobytes()]
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LIST}
    return files | {LIST: b"".join(listed)}


def made(folder: Path, cache: Path | None, plan: Plan = PLAN) -> dict[str, bytes]:
    make(plan, folder, no_progress, of_pictures(plan, cache).fill)
    return bytes_of(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The material without a cache."""
    return made(tmp_path_factory.mktemp("without") / "made", None)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one entry."""
    cache = tmp_path_factory.mktemp("full") / "cache"
    made(cache.with_name("made"), cache)
    return cache


def entry(cache: Path) -> Path:
    (found,) = (cache / FOLDER).iterdir()
    return found


def never_made(*_: Any) -> Any:
    pytest.fail("it was made again")


def test_material_is_the_same_to_the_byte_without_a_cache_with_a_new_one_and_with_a_full_one(
    tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    assert made(tmp_path / "first", cache) == whole
    assert entry(cache).parent.stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(material, "_edit", never_made)
    assert made(tmp_path / "second", cache) == whole
    larger = made(tmp_path / "larger", cache, replace(PLAN, list=replace(PLAN.list, random=90)))
    assert larger[LIST] != whole[LIST]  # a point of a sweep has its own list, and the same pictures
    assert made(tmp_path / "point", cache, replace(PLAN, parameters={"k": 24})) == whole


def at(place: float) -> Callable[[bytes], bytes]:
    """Another byte so far into an entry."""

    def altered(raw: bytes) -> bytes:
        found = bytearray(raw)
        found[int(place * (len(raw) - 1))] ^= 1
        return bytes(found)

    return altered


SPOILERS: dict[str, Callable[[bytes], bytes]] = {
    **{f"altered at {place:.0%}": at(place) for place in (0, 0.001, 0.3, 0.7, 1)},
    "truncated by a byte": lambda raw: raw[:-1],
    "truncated to its digest": lambda raw: raw[:32],
    "truncated within it": lambda raw: raw[:7],
    "emptied": lambda raw: b"",
    "longer": lambda raw: raw + b"x",
    "nothing, with a digest": lambda raw: sha256(b"").digest(),
    "no MessagePack, with a digest": lambda raw: sha256(b"x").digest() + b"x",
    "no file, with a digest": lambda raw: sha256(b"\x80").digest() + b"\x80",
}


@pytest.mark.parametrize("how", SPOILERS)
def test_an_entry_that_is_wrong_or_not_whole_is_refused_and_made_again(
    how: str, tmp_path: Path, full: Path, whole: dict[str, bytes]
) -> None:
    cache = tmp_path / "cache"
    shutil.copytree(full, cache)
    before = entry(cache).read_bytes()
    entry(cache).write_bytes(SPOILERS[how](before))
    assert made(tmp_path / "again", cache) == whole
    assert entry(cache).read_bytes() == before


def named(given: object = 1, pictures: Sequence[Found] = ()) -> str:
    every = pictures or list(installed())
    return Shared(None, "pictures", material.__name__, given, every).name


def test_an_entry_is_of_its_code_packages_data_pictures_processor_and_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"as it is": named(), "other parameters": named(2)}
    changed = SimpleNamespace(name="pillow", version="0.0.1")
    ways: dict[str, tuple[Any, str, Any]] = {
        "code": (shared, "code_of", lambda *_: "c" * 64),
        "a package": (shared, "distributions", lambda: [*distributions(), changed]),
        "data": (shared, "data", SimpleNamespace(__file__=__file__)),
        "processor": (shared, "machine", lambda: replace(machine(), processor="another")),
    }
    for what, (module, name, other) in ways.items():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, other)
            found[what] = named()
    kept = list(installed())
    picture = tmp_path / kept[0].path.name
    for what, data in (("a picture", b"one"), ("the picture changed", b"two")):
        picture.write_bytes(data)
        found[what] = named(pictures=[replace(kept[0], path=picture), *kept[1:]])
    assert len(set(found.values())) == len(found)
    assert named() == found["as it is"]


def test_the_code_of_an_entry_is_that_of_pictures_and_hashes_and_of_no_design(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever works on a design finds what was kept; whoever works on PDQ does not."""
    seen = list[str]()
    file_of = keeping._file_of

    def noted(name: str) -> Path | None:
        seen.append(name)
        return file_of(name)

    with monkeypatch.context() as patch:
        patch.setattr(keeping, "_file_of", noted)
        keeping.code_of.__wrapped__(material.__name__, ("blindmatch_",))
    for one in ("picture.pdq", "picture.decode"):
        assert f"blindmatch_protocol.{one}" in seen
    assert "blindmatch_simulations.testbed.pictures.crops" in seen
    assert not [one for one in seen if one.startswith("blindmatch_protocol.designs")]


def test_entries_that_were_used_longest_ago_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(number: int, what: str = "pictures") -> None:
        shutil.rmtree(tmp_path / "made", ignore_errors=True)
        (tmp_path / "made").mkdir()
        Shared(tmp_path, what, material.__name__, number, ()).fill(
            tmp_path / "made", lambda into: (into / "x").write_bytes(b"x")
        )

    fill(0, "kinds")
    for number in range(MOST + 3):
        fill(number)
        for at, path in enumerate(sorted((tmp_path / FOLDER).glob("pictures-*"), key=os.path.getmtime)):
            os.utime(path, (at, at))  # in the order of their use, however fast they are made
    names = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert len(names) == MOST + 1
    monkeypatch.setattr(shared, "code_of", lambda *_: "c" * 64)
    fill(0)
    names = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert len(names) == MOST + 1 and any(one.startswith("pictures-cccc") for one in names)


def test_without_room_for_a_cache_an_assessment_goes_on(tmp_path: Path, whole: dict[str, bytes]) -> None:
    cache = tmp_path / "cache"
    cache.write_bytes(b"no folder")
    assert made(tmp_path / "first", cache) == whole


def told(results: Results) -> bytes:
    """All of a result that does not depend on the time."""
    (row,) = results.rows
    assert not isinstance(row, Studied | Measured) or row.status == "measured"
    assert isinstance(row, Measured)
    kept = ("recall", "false_matches", "undeclared_bytes", "wrong_outcomes", "query_up_bytes")
    figures = {name: row.figures[name] for name in kept}
    same = (row.recall_by_edit, row.recall_by_distance, row.tries_until_hidden, figures)
    return encode([*same])


@pytest.mark.slow
@pytest.mark.usefixtures("quick_workers")
def test_a_whole_assessment_has_the_same_figures_with_a_cache_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tiny(run_seconds=600)

    def results(name: str, cache: Path | None) -> bytes:
        out = tmp_path / name
        made = Assessment(out, text, ["hash-upload"], "test", lambda _: no_progress, cache=cache).run()
        held = (out / "rows" / "hash-upload.jsonl").read_text().splitlines()
        rows = [line for line in map(json.loads, held) if "edit" in line]
        pictures = [{key: one for key, one in row.items() if not key.endswith("_ms")} for row in rows]
        assert len(pictures) == 9
        return told(made) + json.dumps(pictures).encode()

    without = results("without", None)
    cache = tmp_path / "cache"
    assert results("first", cache) == without
    assert {path.name.partition("-")[0] for path in (cache / FOLDER).iterdir()} == {"pictures"}
    monkeypatch.setattr(material, "_edit", never_made)
    assert results("second", cache) == without
