"""Updates of oprf-psi: what is added matches, what is removed does not, and a delta fits one place only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import contract
from blindmatch_protocol.contract import (
    UNBOUND,
    Match,
    NoMatch,
    Outcome,
    Party,
    Role,
    Session,
    SetParameters,
    batches_of,
)
from blindmatch_protocol.designs.deltas import MOST_DELTAS
from blindmatch_protocol.designs.oprf_psi import DESIGN, delta
from blindmatch_protocol.errors import DesignError, EpochMismatchError, SetFileError
from blindmatch_protocol.oprf import evaluate
from blindmatch_protocol.randomness import seeded
from support.memory import MemoryWorkspace, random_hashes

MATCHER = Role("matcher")
HASHES = random_hashes(200)
NOTHING = slice(0, 0)


@dataclass
class Picture:
    """An item of which only hash and quality are asked."""

    hash: bytes
    quality: int = 100
    coefficients: Any = None
    luminance: Any = None
    pixels: Any = None


def part(rows: slice, first_id: int | None = None) -> Any:
    hashes = HASHES[rows]
    start = rows.start if first_id is None else first_id
    ids = np.arange(len(hashes), dtype=np.uint64) + np.uint64(start)
    return batches_of(hashes, ids, np.zeros((len(hashes), 16), np.uint8))


def published(epoch: int = 1, seed: str = "key") -> dict[str, bytes]:
    out = MemoryWorkspace()
    DESIGN.publish(part(slice(0, 50)), SetParameters(epoch, {}), seeded(seed), None, out)
    return {name: file.getvalue() for name, file in out.created.items()}


def updated(files: Mapping[str, bytes], adds: Any, removes: Sequence[int] = ()) -> dict[str, bytes]:
    out = MemoryWorkspace()
    named = DESIGN.update(files, adds, removes, out, seeded("update"))
    made = {name: file.getvalue() for name, file in out.created.items()}
    assert {*named.setup, *named.roles[MATCHER]} == made.keys()
    return made


def setup_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name != "matcher.bin"}


def outcome(files: Mapping[str, bytes], row: int) -> Outcome:
    rng = seeded("device")
    state = DESIGN.open_role(MATCHER, files)

    def exchange(bodies: Mapping[Role, Any]) -> dict[Role, Any]:
        return {
            MATCHER: DESIGN.answer(MATCHER, state, [contract.Request(bodies[MATCHER])], rng, None).replies[0]
        }

    session = Session(DESIGN, DESIGN.open_setup(setup_files(files)), DESIGN.enrol(rng), rng)
    return session.run(Picture(HASHES[row].tobytes()), exchange).outcome


def matched_id(files: Mapping[str, bytes], row: int) -> int | None:
    found = outcome(files, row)
    assert isinstance(found, (Match, NoMatch))
    return found.label.entry_id if isinstance(found, Match) else None


def test_what_is_added_matches_and_what_is_removed_no_longer_does() -> None:
    second = updated(published(), part(slice(50, 60)), [3, 4])
    third = updated(second, part(slice(60, 62)), [5, 55])
    assert [matched_id(second, row) for row in (0, 3, 4, 5, 50, 55, 60)] == [0, None, None, 5, 50, 55, None]
    assert [matched_id(third, row) for row in (0, 3, 4, 5, 50, 55, 60)] == [0, None, None, None, 50, None, 60]
    setup = DESIGN.open_setup(setup_files(third), 3)
    assert (setup.epoch, setup.entries, setup.deltas) == (3, 58, ((10, 2), (2, 2)))


def test_a_removed_hash_can_come_back_under_another_id_or_the_same() -> None:
    same = updated(published(), part(slice(7, 8), 900), [7])
    assert matched_id(same, 7) == 900
    gone = updated(published(), part(NOTHING), [7])
    assert matched_id(gone, 7) is None
    assert matched_id(updated(gone, part(slice(7, 8))), 7) == 7


def test_only_additions_that_may_be_there_are_evaluated_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    again: list[int] = []

    def counted(key: Any, inputs: Sequence[bytes], executor: Any) -> Any:
        again.append(len(inputs))
        return evaluate(key, inputs, executor)

    monkeypatch.setattr(delta, "evaluate", counted)
    second = updated(published(), part(slice(50, 150)))
    third = updated(second, part(slice(5, 8), 900), [5, 6, 7])
    assert again == [0, 3]
    with pytest.raises(DesignError, match="addition 1 "):
        updated(third, part(slice(148, 150), 700), [148])
    assert again == [0, 3, 2]


def test_an_update_is_the_same_on_threads_and_says_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    out, adds = MemoryWorkspace(), part(slice(50, 150))
    with ThreadPoolExecutor(2) as threads:
        DESIGN.update(
            published(), adds, [3], out, seeded("update"), threads, lambda *counts: told.append(counts)
        )
    made = {name: file.getvalue() for name, file in out.created.items()}
    assert made == updated(published(), adds, [3])
    assert told[0] == (100, 100)


def test_an_update_may_only_add_or_only_remove_but_must_do_something() -> None:
    assert matched_id(updated(published(), part(slice(50, 51))), 50) == 50
    assert matched_id(updated(published(), part(NOTHING), [0]), 0) is None
    with pytest.raises(DesignError, match="must add or remove"):
        updated(published(), part(NOTHING))


def test_a_delta_takes_bytes_in_proportion_to_the_change() -> None:
    sizes = [
        len(updated(published(), part(slice(50, 50 + n)))["delta-0000000002.bin"]) for n in (1, 50, 100, 150)
    ]
    assert sizes[0] < 1200
    assert abs((sizes[3] - sizes[2]) - (sizes[2] - sizes[1])) < 1500 and sizes[3] < 150 * 106 + 1200


def test_an_update_is_deterministic_and_leaves_the_earlier_files_as_they_are() -> None:
    files = published()
    made = updated(files, part(slice(50, 60)), [1])
    assert made == updated(files, part(slice(50, 60)), [1])
    assert made["set.bin"] == files["set.bin"] and made["matcher.bin"] != files["matcher.bin"]


@pytest.mark.parametrize(
    ("adds", "removes", "reason"),
    [
        (slice(49, 52), [], r"addition 0 \(counted from 0\) is in the set already"),
        (slice(48, 52), [49], r"addition 0 \(counted from 0\) is in the set already"),
        (slice(49, 52), [3, 3], "named twice"),
        (slice(50, 52), [-1], "64 bits"),
        (slice(50, 52), [2**64], "64 bits"),
    ],
)
def test_an_update_that_makes_no_sense_is_refused(adds: slice, removes: list[int], reason: str) -> None:
    with pytest.raises(DesignError, match=reason):
        updated(published(), part(adds), removes)


def test_after_the_last_delta_a_full_set_is_due() -> None:
    files = published()
    for row in range(MOST_DELTAS):
        assert not DESIGN.open_setup(setup_files(files)).full_set_due
        files = updated(files, part(slice(50 + row, 51 + row)))
    assert DESIGN.open_setup(setup_files(files)).full_set_due
    assert all(matched_id(files, row) == row for row in (0, 50, 50 + MOST_DELTAS - 1))
    with pytest.raises(DesignError, match=f"{MOST_DELTAS} deltas have piled up: publish a full set"):
        updated(files, part(slice(100, 101)))


def test_a_set_of_kind_filter_cannot_be_updated() -> None:
    out = MemoryWorkspace()
    DESIGN.publish(part(slice(0, 5)), SetParameters(1, {"filter": 1}), seeded("key"), None, out)
    with pytest.raises(DesignError, match="filter cannot be updated"):
        updated({name: file.getvalue() for name, file in out.created.items()}, part(slice(5, 6)))


# --- deltas in the wrong place -------------------------------------------------------------------


def chain() -> tuple[dict[str, bytes], dict[str, bytes], dict[str, bytes]]:
    first = published()
    second = updated(first, part(slice(50, 52)), [1])
    return first, second, updated(second, part(slice(52, 54)))


SECOND, THIRD = "delta-0000000002.bin", "delta-0000000003.bin"


def test_a_delta_applied_twice_is_refused() -> None:
    _, second, _ = chain()
    with pytest.raises(SetFileError, match=r"0003\.bin: holds the delta of epoch 2: applied twice"):
        DESIGN.open_setup({**setup_files(second), THIRD: second[SECOND]})


def test_a_delta_without_the_one_before_it_is_refused() -> None:
    first, _, third = chain()
    with pytest.raises(SetFileError, match="continues epoch 2, not epoch 1: out of order"):
        DESIGN.open_setup({"set.bin": first["set.bin"], THIRD: third[THIRD]})


def test_swapped_deltas_are_refused() -> None:
    _, second, third = chain()
    with pytest.raises(SetFileError, match="out of order"):
        DESIGN.open_setup({"set.bin": second["set.bin"], SECOND: third[THIRD], THIRD: second[SECOND]})


def test_a_delta_of_another_set_is_refused() -> None:
    _, second, third = chain()
    other = updated(published(seed="other"), part(slice(50, 52)), [1])
    with pytest.raises(SetFileError, match="made for another set of epoch 1"):
        DESIGN.open_setup({"set.bin": second["set.bin"], SECOND: other[SECOND]})
    sibling = updated(published(), part(slice(50, 52)), [2])
    with pytest.raises(SetFileError, match="made for another set of epoch 2"):
        DESIGN.open_setup({**setup_files(sibling), THIRD: third[THIRD]})
    later = published(epoch=2)
    with pytest.raises(SetFileError, match="continues epoch 1, not epoch 2"):
        DESIGN.open_setup({"set.bin": later["set.bin"], SECOND: second[SECOND]})


def test_a_setup_that_lacks_its_newest_delta_is_of_another_epoch() -> None:
    first, second, _ = chain()
    with pytest.raises(SetFileError, match=r"set\.bin: for epoch 1, not epoch 2"):
        DESIGN.open_setup(setup_files(first), 2)
    with pytest.raises(SetFileError, match="for epoch 1, not epoch 2"):
        DESIGN.open_role(MATCHER, {**first, "matcher.bin": second["matcher.bin"]})


def test_a_device_that_still_has_the_epoch_before_is_told_so() -> None:
    first, second, _ = chain()
    setup, state = DESIGN.open_setup(setup_files(first)), DESIGN.open_role(MATCHER, second)
    started = DESIGN.start(
        DESIGN.enrol(seeded("d")), setup, Picture(HASHES[0].tobytes()), UNBOUND, seeded("d")
    )
    body = started.step.bodies[MATCHER]  # type: ignore[union-attr]
    reply = DESIGN.answer(MATCHER, state, [contract.Request(body)], seeded("m"), None).replies[0]
    assert isinstance(reply, EpochMismatchError)


def test_every_flipped_byte_of_a_delta_is_refused_when_verified() -> None:
    files = setup_files(updated(published(), part(slice(50, 52)), [1]))
    for at in range(len(files[SECOND])):
        altered = bytearray(files[SECOND])
        altered[at] ^= 0x10
        with pytest.raises(SetFileError):
            DESIGN.open_setup({**files, SECOND: bytes(altered)}).verify()


def test_what_a_delta_reveals_is_declared() -> None:
    setup = DESIGN.open_setup(setup_files(updated(published(), part(slice(50, 52)), [1])))
    facts = {f.name: f for leak in DESIGN.leakage() if leak.parties == {Party.DEVICE} for f in leak.facts}
    assert facts["delta_sizes"].project(Picture(bytes(32)), setup) == ((2, 1),)
