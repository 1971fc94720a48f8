"""A scan of a folder: right counts, bounds that hold, numbers alone handed on, nothing lost on the way."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import time
from hashlib import sha256
from io import BytesIO
from itertools import combinations
from math import comb
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from blindmatch_protocol.picture import compiled, pdq
from blindmatch_protocol.picture.pdq import distance
from blindmatch_server.storage.errors import StateError
from blindmatch_simulations.evaluation.corpus import counting, hashing, pairs, scan
from blindmatch_simulations.evaluation.corpus.cache import NAME, Cache, Print
from blindmatch_simulations.evaluation.corpus.hashing import files_below, prints
from blindmatch_simulations.measure.intervals import bounded_mean, clopper_pearson
from blindmatch_simulations.measure.phases import silent
from blindmatch_simulations.testbed.pictures.crops import MILD, crops
from blindmatch_simulations.testbed.pictures.pool import SIDE, picture, random_hashes
from msgspec.structs import replace
from PIL import Image
from support.command import BAD_STATE, COMMAND, REFUSED, in_process, refused
from support.schemas import of_list_scans, of_merged_scans, of_scans


def png(number: int) -> bytes:
    file = BytesIO()
    Image.fromarray(picture(number).pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 pictures in two folders, two copies, one edited copy, a faint one, a broken one, and a text."""
    made = tmp_path_factory.mktemp("private-pictures")
    (made / "deeper").mkdir()
    for number in range(150):
        (made / ("deeper" if number % 2 else "") / f"holiday-{number}.png").write_bytes(png(number))
    (made / "copy-without-suffix").write_bytes(png(0))
    (made / "copy.PNG").write_bytes(png(1))
    Image.fromarray(picture(2).pixels).save(made / "edited.jpg", quality=40)
    Image.new("RGB", (SIDE, SIDE), "grey").save(made / "faint.png")
    (made / "broken\x1b[31m.jpg").write_bytes(b"\xff\xd8\xff and no picture")
    (made / "notes.txt").write_text("no picture is meant")
    (made / "link.png").symlink_to(made / "copy.PNG")
    return made


@pytest.fixture(scope="module")
def scanned(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[scan.Scan, list[str], Path]:
    state = tmp_path_factory.mktemp("state") / "new"
    made, broken = scan.scanned(folder, state, 1, silent)
    return made, broken, state


def planted() -> pairs.Prints:
    """Random fingerprints, more than a block of them, with every case of a near pair, in order."""
    made = np.concatenate([random_hashes(1200, 1), random_hashes(1200, 2)], axis=1)
    made[1] = made[0] ^ flips(20)  # another picture: a false match
    made[1, 32:] = made[5, 32:]
    made[3] = made[2] ^ flips(20)  # the same one, edited
    made[6, :32] = made[5, :32]  # one hash, two pictures
    made[8, :32] = ~made[7, :32]  # as far apart as can be
    return np.unique(made, axis=0)


def flips(count: int) -> Any:
    bits = np.zeros(512, np.uint8)
    bits[: 2 * count : 2] = 1
    return np.packbits(bits)


def tallied(made: pairs.Prints) -> pairs.Tally:
    tally = pairs.Tally.empty(len(made))
    for number in range(pairs.blocks_of(len(made))):
        tally = tally.add(pairs.block_of(made, number))
    return tally


def test_blocks_count_what_all_pairs_at_once_give() -> None:
    made = planted()
    tally = tallied(made)
    upper = np.triu_indices(len(made), 1)
    apart = np.bitwise_count(made[:, None, :32] ^ made[None, :, :32]).sum(axis=2, dtype=np.int64)
    second = np.bitwise_count(made[:, None, 32:] ^ made[None, :, 32:]).sum(axis=2, dtype=np.int64)
    assert tally.blocks == 2
    assert (tally.histogram == np.bincount(apart[upper], minlength=257)).all()
    same = (apart <= pairs.REACH) & (second <= 56)
    assert (tally.same == np.bincount(apart[upper][same[upper]], minlength=65)).all()
    assert tally.histogram[[0, 20, 256]].tolist() == [1, 2, 1] and tally.same[[0, 20]].tolist() == [0, 1]
    listed = pairs.listed(made)
    far = np.where(same | ~listed[None, :] | (apart > 64), 255, apart)
    assert (tally.nearest[~listed] == far.min(axis=1)[~listed]).all()
    np.fill_diagonal(apart, 255)
    every = np.where(~listed[None, :] | (apart > 64), 255, apart)
    assert (tally.nearest_all[~listed] == every.min(axis=1)[~listed]).all()
    assert int(tally.repeats.sum()) == sum(bool(same[:at, at].any()) for at in range(len(made)))


@pytest.mark.parametrize("count", [2, 3, 63, 64, 65, 129, 1023, 1024, 1025, 4100])
def test_machine_code_finds_the_pairs_that_numpy_finds(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("llvmlite.binding", reason="the extra `fast` is not installed")
    if compiled.loaded() is None:
        pytest.skip("this processor has no AVX2")
    rng = np.random.default_rng(count)
    made = rng.integers(0, 256, (count, 64), dtype=np.uint8)
    for at in range(0, count - 1, 3):  # near, opposite, of one hash, edited
        made[at + 1, :32] = rng.choice([made[at, :32] ^ flips(at % 70)[:32], ~made[at, :32], made[at, :32]])
        made[at + 1, 32:] = rng.choice([made[at + 1, 32:], made[at, 32:]])
    made = np.unique(made, axis=0)
    whole = dict[bool, list[pairs.Block]]()
    for quick in (False, True):
        monkeypatch.setattr(compiled, "_saved_ns", 1 << 62 if quick else -(1 << 62))
        whole[quick] = [pairs.block_of(made, number) for number in range(pairs.blocks_of(len(made)))]
    for plain, quick_one in zip(whole[False], whole[True], strict=True):
        for name in pairs.Block.__struct_fields__:
            assert np.array_equal(getattr(plain, name), getattr(quick_one, name)), name
    assert sum(int(one.histogram.sum()) for one in whole[True]) == len(made) * (len(made) - 1) // 2


def test_different_pictures_of_one_hash_fall_into_both_halves_and_are_seen() -> None:
    made = np.concatenate([random_hashes(1000, 1), random_hashes(1000, 2)], axis=1)
    made[500:, :32] = made[:500, :32]
    tally = tallied(np.unique(made, axis=0))
    assert tally.histogram[0] == 500 and not tally.same[0]
    seen = int((tally.nearest == 0).sum())
    assert seen == int((tally.nearest_all == 0).sum()) and 200 < seen < 300


def test_halves_depend_on_both_hashes_alone_and_are_even() -> None:
    made = planted()
    order = np.random.default_rng(1).permutation(len(made))
    assert (pairs.listed(made[order]) == pairs.listed(made)[order]).all()
    assert 500 < pairs.listed(made).sum() < 700


@pytest.mark.parametrize("p", [0.001, 0.05, 0.3, 0.5, 0.93])
def test_the_bound_of_a_mean_holds_as_often_as_it_says(p: float) -> None:
    bounds = [bounded_mean(hits / 40, 40) for hits in range(41)]
    chances = [comb(40, hits) * p**hits * (1 - p) ** (40 - hits) for hits in range(41)]
    assert sum(one for one, (low, high) in zip(chances, bounds, strict=True) if low <= p <= high) >= 0.95


def test_where_nothing_was_seen_the_bound_is_the_exact_one() -> None:
    assert bounded_mean(0.0, 1000)[1] == pytest.approx(clopper_pearson(0, 1000)[1], rel=1e-6)
    assert bounded_mean(0.3, 0) == (0.0, 1.0) and bounded_mean(1.0, 10)[1] == 1.0
    with pytest.raises(ValueError, match="mean"):
        bounded_mean(1.5, 10)


def test_an_interval_is_over_pictures_however_many_pairs_there_are(
    scanned: tuple[scan.Scan, list[str], Path],
) -> None:
    made, _, _ = scanned
    part = made.counts
    bound = made.bounds[31]
    assert bound.pair.n == (part.listed + part.items) // 2 and bound.pair.pairs == sum(part.once)
    assert bound.item.n == part.items and bound.item.pairs == part.items * part.listed
    assert bound.pair.high is not None and bound.pair.high > 100 * clopper_pearson(0, sum(part.histogram))[1]


def test_a_scan_counts_each_file_once_and_sets_copies_apart(
    scanned: tuple[scan.Scan, list[str], Path],
) -> None:
    made, broken, _ = scanned
    part = made.counts
    assert (part.files, part.broken, part.poor, part.repeated, part.pictures) == (155, 1, 1, 2, 151)
    assert sum(part.same) == 1 and part.listed + part.items == 150
    assert broken == ["broken\x1b[31m.jpg"]
    assert [one.distance for one in made.bounds] == list(range(65))


def test_what_is_handed_on_has_no_name_and_no_hash(
    folder: Path, scanned: tuple[scan.Scan, list[str], Path]
) -> None:
    made, _, state = scanned
    handed = msgspec.json.encode(made)
    kept = (state / NAME).read_bytes()
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".txt"]
    for path in files:
        assert path.stem.encode() not in handed + kept and str(folder).encode() not in handed + kept
        if "broken" in path.name:
            continue
        found = hashing.fingerprint_of(path.read_bytes())
        for secret in (found.hash, found.second):
            forms = (secret.hex().encode(), base64.b64encode(secret)[:40], secret)
            assert not any(form in handed for form in forms)
    assert oct((state / NAME).stat().st_mode)[-3:] == "600"


def test_a_second_scan_hashes_nothing_again_and_a_changed_picture_is(
    folder: Path, scanned: tuple[scan.Scan, list[str], Path], tmp_path: Path
) -> None:
    made, _, state = scanned
    again, broken = scan.scanned(folder, state, 1, silent)
    assert again.took["hashed"] == 0 and again.counts == made.counts and len(broken) == 1
    (tmp_path / "a.png").write_bytes(png(1))
    assert scan.scanned(tmp_path, tmp_path / "s", 1, silent)[0].took["hashed"] == 1
    (tmp_path / "a.png").write_bytes(png(2))
    os.utime(tmp_path / "a.png", ns=(1, 1))
    assert scan.scanned(tmp_path, tmp_path / "s", 1, silent)[0].took["hashed"] == 1


def test_an_interrupted_scan_goes_on_where_it_was(
    folder: Path, scanned: tuple[scan.Scan, list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(100))
    fingerprints = hashing.fingerprints

    def interrupted(paths: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return fingerprints(paths)

    monkeypatch.setattr(hashing, "CHUNK", 16)
    monkeypatch.setattr(hashing, "_AHEAD", 0)
    monkeypatch.setattr(hashing, "fingerprints", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan.scanned(folder, tmp_path / "s", 1, silent)
    made, _ = scan.scanned(folder, tmp_path / "s", 1, silent)
    assert made.took["hashed"] == 155 - 2 * 16
    assert made.counts == scanned[0].counts


def test_an_interrupted_count_of_pairs_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planted()
    asked = list[int]()
    block_of = counting.block_of

    def interrupted(one: pairs.Prints, number: int) -> pairs.Block:
        asked.append(number)
        if asked == [0, 1]:
            raise KeyboardInterrupt
        return block_of(one, number)

    monkeypatch.setattr(counting, "block_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        counting.counted(made, tmp_path, 1, lambda *_: None)
    tally = counting.counted(made, tmp_path, 1, lambda *_: None)
    whole = tallied(made)
    assert asked == [0, 1, 1] and (tally.histogram == whole.histogram).all()
    assert (tally.nearest == whole.nearest).all() and (tally.repeats == whole.repeats).all()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and no more", b"\x80\x04pickle"])
def test_counts_that_are_damaged_or_of_other_pictures_are_counted_again(
    tmp_path: Path, damage: bytes
) -> None:
    made = planted()[:50]
    (tmp_path / counting.KEPT).write_bytes(damage)
    whole = counting.counted(made, tmp_path, 1, lambda *_: None)
    other = counting.counted(planted()[50:90], tmp_path, 1, lambda *_: None)
    assert whole.histogram.sum() == 50 * 49 // 2 and other.histogram.sum() == 40 * 39 // 2


def test_counts_kept_of_other_halves_are_counted_again(tmp_path: Path) -> None:
    made = planted()[:50]
    false = replace(pairs.Tally.empty(50), nearest=np.zeros(50, np.uint8), blocks=1)
    counting._keep(tmp_path / counting.KEPT, sha256(made.tobytes()).digest(), false)
    assert counting.counted(made, tmp_path, 1, lambda *_: None).nearest.any()


def test_a_state_of_another_version_in_use_or_no_state_is_refused(tmp_path: Path) -> None:
    kept = Cache(tmp_path)
    with pytest.raises(StateError, match="in use"):
        Cache(tmp_path)
    kept._do("PRAGMA user_version = 9")
    kept.close()
    with pytest.raises(StateError, match="version 9"):
        Cache(tmp_path)
    (tmp_path / NAME).write_bytes(b"not a database, but long enough to be looked at" * 99)
    with pytest.raises(StateError, match="not a database"):
        Cache(tmp_path)


def test_a_full_disk_is_an_error_and_loses_nothing(tmp_path: Path) -> None:
    kept = Cache(tmp_path)
    found = Print(bytes(32), bytes(32), 50)
    kept.put([(bytes(16), found)])
    kept._do("PRAGMA max_page_count = 5")
    with pytest.raises(StateError, match="full"):
        kept.put([(number.to_bytes(16), found) for number in range(2000)])
    kept.close()
    held = Cache(tmp_path)
    assert held._do("SELECT count(*) FROM prints") == [(1,)]


def test_a_file_that_is_too_large_or_not_readable_is_no_picture(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "tiny.png").write_bytes(b"")
    (tmp_path / os.fsdecode(b"caf\xe9.gif")).write_bytes(b"GIF89a")
    names = [file.name for file in files_below(tmp_path)]
    assert len(names) == 3 and "pipe.png" not in names
    kept = Cache(tmp_path / "s")
    assert [found for _, found in prints(tmp_path, kept, 1, lambda *_: None)] == [None] * 3


def test_both_hashes_of_the_small_plane_are_pdq_s_own() -> None:
    made = hashing.fingerprint_of(png(3))
    assert made.hash == pdq.fingerprint(pdq.luminance(picture(3).pixels)).hash


def test_the_second_hash_knows_edited_pictures_again_and_no_others() -> None:
    chosen = crops(3, 11)
    originals = [hashing.fingerprint_of(one.data) for one in chosen]
    edited = [
        (at, hashing.fingerprint_of(edit.apply(one.data))) for at, one in enumerate(chosen) for edit in MILD
    ]
    near = [(at, one) for at, one in edited if distance(one.hash, originals[at].hash) <= pairs.REACH]
    same = [distance(one.second, originals[at].second) <= 56 for at, one in near]
    assert len(near) > 50 and sum(same) > 0.97 * len(near)
    other = [distance(a.second, b.second) for a, b in combinations(originals, 2)]
    assert min(other) > 56


def scan_of(made: pairs.Prints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> scan.Scan:
    taken = scan.Taken(files=len(made), good=bytearray(made.tobytes()))
    monkeypatch.setattr(scan, "_taken", lambda *_: (taken, 0))
    tmp_path.mkdir(exist_ok=True)
    return scan.scanned(tmp_path, tmp_path, 1, silent)[0]


def test_edited_copies_do_not_move_the_bound_and_the_one_with_none_set_apart_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two pictures near each other, one has a hundred edited copies: each picture is in the bound once."""
    made = np.concatenate([random_hashes(300, 1), random_hashes(300, 2)], axis=1)
    made[0, 0] = 0x10
    made[0, 1:3] = 0  # copies come behind it in order
    made[1, :32] = made[0, :32] ^ flips(8)[:32]
    copies = np.repeat(made[:1], 100, axis=0)
    copies[:, 1:3] = np.arange(1, 101).astype(">u2").view(np.uint8).reshape(-1, 2)
    alone = scan_of(made, tmp_path / "1", monkeypatch)
    more = scan_of(np.concatenate([made, copies]), tmp_path / "2", monkeypatch)
    assert alone.bounds[31].pair.value == 1 / (300 * 299 / 2)
    assert [(one.item, one.pair) for one in more.bounds] == [(one.item, one.pair) for one in alone.bounds]
    part = more.counts
    ends = more.bounds[31]
    assert sum(part.same) > 100 * 99 / 2 - 1
    assert ends.pair_all.n == part.pictures // 2 and ends.pair_all.value is not None
    assert ends.pair_all.value == sum(part.histogram[:32]) / sum(part.histogram) > 0.05
    assert ends.item_all.value is not None and ends.item_all.value > 20 / 400


SCHEMAS = {
    "scan-v2": of_scans,
    "list-scan-v1": of_list_scans,
    "merged-scans-v1": of_merged_scans,
}


def test_the_schema_is_the_committed_one() -> None:
    for name, made in SCHEMAS.items():
        path = Path(scan.__file__).with_name(f"{name}.schema.json")
        assert json.loads(path.read_text("utf-8")) == made()


def test_what_one_picture_cannot_measure_is_said_in_words(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    picture = next(path for path in sorted(folder.rglob("*.png")))
    shutil.copy(picture, tmp_path / "one")
    ran = in_process(tmp_path, "corpus", "scan", tmp_path / "one", "--state", tmp_path / "s", "--workers", 1)
    assert "pairs not measured" in " ".join(ran.out.split())
    assert ran.out.startswith("1 file: 1 different picture, 0 copies, ")


def test_the_command_names_broken_files_to_its_user_alone(folder: Path, tmp_path: Path) -> None:
    ran = in_process(
        tmp_path, "corpus", "scan", folder, "--state", tmp_path / "s", "--workers", 1, "--json", "-"
    )
    assert ran.code == 0 and "broken" not in json.dumps(ran.json["counts"]).replace('"broken": 1', "")
    assert "no acceptable picture: broken?[31m.jpg" in ran.err and "\x1b" not in ran.out
    refused(in_process(tmp_path, "corpus", "scan", tmp_path / "none"), BAD_STATE, "none: No such file")
    (tmp_path / "empty").mkdir()
    assert (
        in_process(tmp_path, "corpus", "scan", tmp_path / "empty", "--state", tmp_path / "t").code == REFUSED
    )


@pytest.mark.slow
def test_a_scan_that_is_killed_goes_on_and_comes_to_the_same(
    folder: Path, scanned: tuple[scan.Scan, list[str], Path], tmp_path: Path
) -> None:
    state = tmp_path / "s"
    command = [*COMMAND, "corpus", "scan", str(folder), "--state", str(state), "--workers", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 240
    while time.monotonic() < until and not (state / NAME).exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    made, _ = scan.scanned(folder, state, 2, silent)
    assert made.counts == scanned[0].counts


@pytest.mark.slow
def test_a_worker_that_is_killed_is_an_error_and_the_scan_goes_on(
    folder: Path, scanned: tuple[scan.Scan, list[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = list[int]()
    workers = hashing.Workers

    class Mortal(workers):  # type: ignore[misc, valid-type]
        def submit(self, *arguments: Any) -> Any:
            found = super().submit(*arguments)
            # both run: while the pool starts one, the death of another is an error in its own thread
            if not killed and len(self.pids) == 2:
                killed.append(self.pids[0])
                os.kill(self.pids[0], signal.SIGKILL)
            return found

    monkeypatch.setattr("blindmatch_simulations.measure.cluster.Workers", Mortal)
    with pytest.raises(StateError, match="run it again to go on"):
        scan.scanned(folder, tmp_path, 2, silent)
    made, _ = scan.scanned(folder, tmp_path, 2, silent)
    assert killed and made.counts == scanned[0].counts
