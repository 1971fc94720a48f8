"""oprf-psi: exact outcomes, nothing learnt from a cheating matcher, requests that never differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import contract, group, labels, store
from blindmatch_protocol.codec import Message, Rows
from blindmatch_protocol.contract import (
    UNBOUND,
    Label,
    Match,
    NoMatch,
    Outcome,
    Party,
    Ready,
    Role,
    Session,
    SetParameters,
    batches_of,
)
from blindmatch_protocol.contract.outcome import UNCONFIRMED_ID
from blindmatch_protocol.designs.oprf_psi import DESIGN, Reply, Request, build
from blindmatch_protocol.designs.oprf_psi.build import INPUT_TAG, SCRATCH
from blindmatch_protocol.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.oprf import Mode, SecretKey, evaluate
from blindmatch_protocol.randomness import seeded
from blindmatch_protocol.setfile import SetFile, SetFileWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory import Held, MemoryWorkspace, counting, held, random_hashes

MATCHER = Role("matcher")
VECTORS = Path(__file__).parent.parent / "vectors"
COUNT = 60
LISTED = random_hashes(COUNT)
BAD_ELEMENTS = {
    "identity": bytes(32),
    "all ones": b"\xff" * 32,
    "negative": (1).to_bytes(32, "little"),
    "top bit": bytes(31) + b"\x80",
}


@dataclass
class Picture:
    """An item of which only hash and quality are asked."""

    hash: bytes
    quality: int = 100
    coefficients: Any = None
    luminance: Any = None
    pixels: Any = None


@cache
def world(evaluations: int = 1, epoch: int = 1) -> Held:
    return held(DESIGN, LISTED, epoch, {"evaluations": evaluations})


def session(place: Held, seed: str = "device") -> Session:
    rng = seeded(seed)
    return Session(DESIGN, place.setup, DESIGN.enrol(rng), rng)


def ask(place: Held, item: Picture, seed: str = "device") -> tuple[Session, Request]:
    driver = session(place, seed)
    bodies = driver.start(item)
    assert isinstance(bodies, Mapping)
    request = bodies[MATCHER]
    assert isinstance(request, Request)
    return driver, request


def answers(place: Held, *bodies: Message, pool: ThreadPoolExecutor | None = None) -> list[Any]:
    requests = [contract.Request(body) for body in bodies]
    return list(DESIGN.answer(MATCHER, place.states[MATCHER], requests, seeded("matcher"), pool).replies)


def run(place: Held, item: Picture) -> Outcome:
    driver, request = ask(place, item)
    return concluded(driver, answers(place, request)[0])


def concluded(driver: Session, reply: Message) -> Outcome:
    assert isinstance(driver.receive({MATCHER: reply}), Ready)
    return driver.conclude()


def near(hash_: bytes, bit: int) -> bytes:
    return (int.from_bytes(hash_, "big") ^ 1 << bit).to_bytes(32, "big")


# --- outcomes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("evaluations", [1, 3])
def test_outcomes_are_those_of_the_declared_relation(evaluations: int) -> None:
    place = world(evaluations)
    asked = [row.tobytes() for row in LISTED[:8]] + [row.tobytes() for row in random_hashes(8, seed=2)]
    asked += [near(LISTED[row].tobytes(), 31 * row) for row in range(8)]
    for hash_ in asked:
        for quality in (49, 50, 100):
            item = Picture(hash_, quality)
            matched = isinstance(run(place, item), Match)
            assert matched == bool(DESIGN.info.relation.holds(item, LISTED).any())


def test_a_match_holds_the_label_of_the_entry() -> None:
    place = world()
    expected = Label(LISTED[5].tobytes(), 6, place.salts[5].tobytes(), first_epoch=1)
    assert run(place, Picture(LISTED[5].tobytes())) == Match(expected)


def test_an_empty_list_and_a_list_of_one_can_be_published() -> None:
    for count in (0, 1):
        place = held(DESIGN, LISTED[:count])
        assert isinstance(run(place, Picture(LISTED[0].tobytes())), Match if count else NoMatch)


def test_a_label_of_another_hash_is_no_match() -> None:
    """A set whose label under this hash's key holds another hash: what the equal-hash check is for."""
    place = world()
    state = place.states[MATCHER]
    output = evaluate(state.key, [INPUT_TAG + LISTED[0].tobytes()])
    keys = labels.derive(output, 1)
    other = batches_of(LISTED[1:2], np.array([9], np.uint64), place.salts[1:2]).held
    record = labels.seal(keys.label_keys, other, 1, labels.unsigned(1, 0))

    class Forged:
        def unseal(self, label_key: bytes, number: int) -> Label | None:
            found = labels.unseal(label_key, record.tobytes(), 1)
            assert found is not None
            return found

    layer = replace(place.setup.layers[0], labels=Forged())
    forged = Held(DESIGN, replace(place.setup, layers=(layer,)), place.states, LISTED, place.salts)
    assert run(forged, Picture(LISTED[0].tobytes())) == NoMatch()


@pytest.mark.parametrize("count", [0, 1, COUNT])
def test_a_set_of_kind_filter_has_the_same_outcomes_and_declares_its_matches_unconfirmed(count: int) -> None:
    place = held(DESIGN, LISTED[:count], 1, {"filter": 1})
    assert place.setup.unconfirmed and place.setup.entries == count
    for hash_ in (*(row.tobytes() for row in LISTED[:count]), bytes(32), near(LISTED[0].tobytes(), 9)):
        for quality in (49, 100):
            item = Picture(hash_, quality)
            matched = DESIGN.info.relation.holds(item, LISTED[:count]).any()
            expected = Match(Label(hash_, UNCONFIRMED_ID, bytes(16))) if matched else NoMatch()
            assert run(place, item) == expected


def test_requests_do_not_show_the_kind_of_set() -> None:
    place = held(DESIGN, LISTED, 1, {"filter": 1})
    item = Picture(LISTED[0].tobytes())
    assert ask(place, item)[1] == ask(world(), item)[1]


# --- what the matcher sees -----------------------------------------------------------------------


@pytest.mark.parametrize("evaluations", [1, 3])
def test_a_request_has_one_size_and_takes_as_much_randomness_whatever_the_item_is(evaluations: int) -> None:
    place, seen = world(evaluations), set()
    for item in (Picture(LISTED[0].tobytes()), Picture(bytes(32)), Picture(LISTED[0].tobytes(), 49)):
        rng, taken = counting("size")
        started = DESIGN.start(DESIGN.enrol(rng), place.setup, item, UNBOUND, rng)
        body = started.step.bodies[MATCHER]  # type: ignore[union-attr]
        seen.add((len(body.encode()), tuple(taken)))
    assert len(seen) == 1


def test_a_picture_of_low_quality_sends_a_cover_request_that_does_not_depend_on_its_hash() -> None:
    requests = {ask(world(), Picture(hash_, 49))[1].encode() for hash_ in (LISTED[0].tobytes(), bytes(32))}
    assert len(requests) == 1
    assert run(world(), Picture(LISTED[0].tobytes(), 49)) == NoMatch()


def test_two_requests_for_one_picture_have_nothing_in_common() -> None:
    item = Picture(LISTED[0].tobytes())
    first, second = (ask(world(3), item, seed)[1].blinded for seed in ("one", "two"))
    assert not {row.tobytes() for row in first} & {row.tobytes() for row in second}


@pytest.mark.parametrize("evaluations", [1, 3])
def test_the_simulator_needs_only_the_declared_facts(evaluations: int) -> None:
    place, item = world(evaluations), Picture(LISTED[0].tobytes())
    leak = next(leak for leak in DESIGN.leakage() if leak.parties == {Party.MATCHER})
    facts = {fact.name: fact.project(item, place.setup) for fact in leak.facts}
    simulated = DESIGN.simulate(MATCHER, facts, None, seeded("simulator"))
    assert simulated is not None
    real = ask(place, item)[1]
    assert [len(body.encode()) for body in simulated] == [len(real.encode())]
    assert isinstance(answers(place, *simulated)[0], Reply)


# --- the matcher against bad requests ------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_bad_element_is_refused_and_does_not_touch_the_others(name: str) -> None:
    place = world(3)
    good = [ask(place, Picture(LISTED[row].tobytes()), f"device {row}") for row in range(2)]
    rows = good[0][1].blinded.copy()
    rows[1] = np.frombuffer(BAD_ELEMENTS[name], np.uint8)
    bad = Request(1, rows)
    replies = answers(place, good[0][1], bad, good[1][1])
    assert isinstance(replies[1], ProtocolError) and "oprf-psi/request: field blinded: row 1" in str(
        replies[1]
    )
    for (driver, _), reply in zip(good, (replies[0], replies[2]), strict=True):
        assert isinstance(concluded(driver, reply), Match)


def test_too_many_or_too_few_elements_and_another_epoch_are_refused() -> None:
    place = world(3)
    rows = ask(place, Picture(bytes(32)))[1].blinded
    few, many, other = answers(
        place, Request(1, rows[:2]), Request(1, np.concatenate([rows, rows])), Request(2, rows)
    )
    assert "must have 3 rows, not 2" in str(few) and "must have 3 rows, not 6" in str(many)
    assert isinstance(other, EpochMismatchError)


def test_a_message_of_another_kind_is_refused() -> None:
    assert isinstance(answers(world(), Label(bytes(32), 0, bytes(16)))[0], ProtocolError)


def test_answers_are_the_same_with_and_without_an_executor() -> None:
    place = world(3)
    bodies = [ask(place, Picture(LISTED[row].tobytes()), f"device {row}")[1] for row in range(5)]
    with ThreadPoolExecutor(2) as pool:
        assert answers(place, *bodies, pool=pool) == answers(place, *bodies)
        assert answers(place, bodies[0], pool=pool) == answers(place, bodies[0])


def test_no_body_gives_no_reply() -> None:
    assert answers(world()) == []


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutated_request_is_refused_or_answered_but_never_an_accident(data: st.DataObject) -> None:
    request = ask(world(3), Picture(LISTED[0].tobytes()))[1]
    try:
        body = Request.decode(mutated(request.encode(), data))
    except ProtocolError:
        return
    assert isinstance(answers(world(3), body)[0], (Reply, ProtocolError))


def mutated(raw: bytes, data: st.DataObject) -> bytes:
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 40)))
    return raw[:start] + data.draw(st.binary(max_size=40)) + raw[stop:]


# --- the device against bad replies --------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutated_reply_is_refused(data: st.DataObject) -> None:
    driver, request = ask(world(3), Picture(LISTED[0].tobytes()))
    raw = answers(world(3), request)[0].encode()
    altered = mutated(raw, data)
    if altered == raw:
        return
    with pytest.raises(ProtocolError):
        driver.receive({MATCHER: Reply.decode(altered)})


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_bad_element_in_a_reply_is_refused(name: str) -> None:
    driver, request = ask(world(3), Picture(LISTED[0].tobytes()))
    reply = answers(world(3), request)[0]
    rows = reply.evaluated.copy()
    rows[2] = np.frombuffer(BAD_ELEMENTS[name], np.uint8)
    with pytest.raises(ProtocolError, match="oprf-psi/reply: field elements: row 2"):
        driver.receive({MATCHER: Reply(reply.epoch, rows, reply.proof)})


def test_a_reply_by_another_key_is_refused_and_nothing_is_learnt() -> None:
    place = world()
    key = SecretKey(Mode.VOPRF, group.random_scalars(1, seeded("other")).tobytes())
    cheat = replace(place.states[MATCHER], key=key)
    for item in (Picture(LISTED[0].tobytes()), Picture(bytes(32)), Picture(bytes(32), 10)):
        driver, request = ask(place, item)
        reply = DESIGN.answer(MATCHER, cheat, [contract.Request(request)], seeded("matcher"), None).replies[0]
        with pytest.raises(ProtocolError, match="oprf-psi/reply: field proof: does not hold"):
            driver.receive({MATCHER: reply})  # type: ignore[dict-item]


def test_a_replayed_or_swapped_reply_is_refused() -> None:
    place, item = world(), Picture(LISTED[0].tobytes())
    first, second = (ask(place, item, seed) for seed in ("one", "two"))
    old = answers(place, first[1])[0]
    with pytest.raises(ProtocolError, match="proof"):
        second[0].receive({MATCHER: old})


def test_a_reply_of_another_epoch_is_refused() -> None:
    driver, request = ask(world(), Picture(LISTED[0].tobytes()))
    reply = answers(world(), request)[0]
    with pytest.raises(EpochMismatchError, match="epoch 1 is in force here, not 2"):
        driver.receive({MATCHER: Reply(2, reply.evaluated, reply.proof)})


def test_fewer_elements_than_asked_for_are_refused() -> None:
    driver, request = ask(world(3), Picture(LISTED[0].tobytes()))
    reply = answers(world(3), request)[0]
    with pytest.raises(ProtocolError, match="must have 3 rows, not 2"):
        driver.receive({MATCHER: Reply(1, reply.evaluated[:2], reply.proof)})


# --- frozen files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["labelled", "filter"])
def test_the_frozen_example_of_version_2_stays_readable(kind: str) -> None:
    expected = json.loads((VECTORS / "oprf-psi-v2.json").read_text())
    names = {"set.bin": f"oprf-psi-v2-{kind}-set.bin", "matcher.bin": f"oprf-psi-v2-{kind}-matcher.bin"}
    files = {name: (VECTORS / stored).read_bytes() for name, stored in names.items()}
    hashes = np.frombuffer(bytes.fromhex("".join(expected["hashes"])), np.uint8).reshape(-1, 32)
    setup, state = DESIGN.open_setup(files, expected["epoch"]), DESIGN.open_role(MATCHER, files)
    DESIGN.check_setup(setup)
    place = Held(DESIGN, setup, {MATCHER: state}, hashes, hashes)
    for number, row in enumerate(hashes):
        found = run(place, Picture(row.tobytes()))
        salt = bytes.fromhex(expected["salts"][number])
        labelled = Label(row.tobytes(), number + 1, salt, expected["epoch"], signatures=bytes(128))
        unconfirmed = Label(row.tobytes(), UNCONFIRMED_ID, bytes(16))
        assert found == Match(labelled if kind == "labelled" else unconfirmed)
    for row in random_hashes(10, seed=77):
        assert run(place, Picture(row.tobytes())) == NoMatch()


@pytest.mark.parametrize("kind", ["labelled", "filter"])
def test_the_frozen_example_of_version_1_is_refused_with_the_reason(kind: str) -> None:
    files = {
        name: (VECTORS / f"oprf-psi-v1-{kind}-{name}").read_bytes() for name in ("set.bin", "matcher.bin")
    }
    with pytest.raises(SetFileError, match=r"set\.bin: set format 1 is earlier"):
        DESIGN.open_setup(files)
    with pytest.raises(SetFileError, match=r"matcher\.bin: set format 1 is earlier"):
        DESIGN.open_role(MATCHER, files)


# --- files ---------------------------------------------------------------------------------------


def published(
    count: int = COUNT, epoch: int = 1, out: MemoryWorkspace | None = None, seed: str = "k"
) -> dict[str, bytes]:
    out = out or MemoryWorkspace()
    salts = np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)
    source = batches_of(LISTED[:count], np.arange(count, dtype=np.uint64), salts)
    DESIGN.publish(source, SetParameters(epoch, {}), seeded(seed), None, out)
    return {name: file.getvalue() for name, file in out.created.items()}


def test_labels_gathered_in_many_blocks_make_the_same_file(monkeypatch: pytest.MonkeyPatch) -> None:
    once = published()
    monkeypatch.setattr(labels, "STRETCH", 16)
    sections = published()
    for block, stretch in ((16, 7), (48, 16), (33, 1)):
        monkeypatch.setattr(build, "_BLOCK", block)
        monkeypatch.setattr(build, "_STRETCH", stretch)
        assert published() == sections != once


def test_the_same_seed_gives_the_same_files_also_over_an_executor_and_a_used_scratch() -> None:
    once = published()
    again = MemoryWorkspace()
    published(out=again)
    again.created.clear()
    assert published(out=again) == once
    again.created.clear()
    again.scratches[SCRATCH][100] ^= 1
    assert published(out=again) == once
    assert published(seed="other")["set.bin"] != once["set.bin"]


def test_a_scratch_of_another_epoch_is_not_taken_up() -> None:
    again = MemoryWorkspace()
    published(out=again)
    again.created.clear()
    assert published(epoch=2, out=again) == published(epoch=2)


def test_every_flipped_byte_of_the_files_is_refused_when_verified() -> None:
    files = published(3)
    for at in range(len(files["set.bin"])):
        altered = bytearray(files["set.bin"])
        altered[at] ^= 0x10
        with pytest.raises(SetFileError):
            DESIGN.open_setup({"set.bin": bytes(altered)}, 1).verify()
    for at in range(len(files["matcher.bin"])):
        altered = bytearray(files["matcher.bin"])
        altered[at] ^= 0x10
        with pytest.raises(SetFileError):
            DESIGN.open_role(MATCHER, {**files, "matcher.bin": bytes(altered)})


def test_an_altered_store_or_label_is_an_error_and_not_a_missed_match() -> None:
    files = published()
    state = DESIGN.open_role(MATCHER, files)
    place = SetFile(files["set.bin"], "set.bin", "oprf-psi", 2)
    for kind in (store.KIND, labels.KIND):
        row, altered = place.row(kind), bytearray(files["set.bin"])
        altered[row.end - 1] ^= 1
        setup = DESIGN.open_setup({"set.bin": bytes(altered)}, 1)
        with pytest.raises(SetFileError, match="altered"):
            run(Held(DESIGN, setup, {MATCHER: state}, LISTED, LISTED), Picture(LISTED[0].tobytes()))


def test_a_set_of_another_epoch_or_a_missing_file_is_refused() -> None:
    files = published(epoch=4)
    with pytest.raises(SetFileError, match=r"set\.bin: for epoch 4, not epoch 5"):
        DESIGN.open_setup(files, 5)
    with pytest.raises(SetFileError, match=r"set\.bin is missing"):
        DESIGN.open_setup({})
    with pytest.raises(SetFileError, match=r"matcher\.bin is missing"):
        DESIGN.open_role(MATCHER, {})


def test_a_matcher_file_beside_another_set_is_refused() -> None:
    mine, other, later = published(), published(seed="other"), published(epoch=2)
    with pytest.raises(SetFileError, match=r"made for another set\.bin"):
        DESIGN.open_role(MATCHER, {**mine, "set.bin": other["set.bin"]})
    with pytest.raises(SetFileError, match="for epoch 2, not epoch 1"):
        DESIGN.open_role(MATCHER, {**mine, "set.bin": later["set.bin"]})


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_public_key_that_is_no_element_is_refused_even_under_a_fitting_digest(name: str) -> None:
    files = published(3)
    old, out = SetFile(files["set.bin"], "set.bin", "oprf-psi", 2), MemoryWorkspace()
    writer = SetFileWriter(out.create("set.bin"), old.identity)
    for kind, index in old.sections:
        content = BAD_ELEMENTS[name] if kind == 0x100 else old.section(kind, index)
        writer.section(kind, [content], old.row(kind, index).items)
    writer.finish(3)
    with pytest.raises(SetFileError, match="public key"):
        DESIGN.open_setup(out.files(("set.bin",)), 1)


def test_the_secret_key_shows_in_no_repr_and_lies_in_the_matcher_file_alone() -> None:
    files = published()
    state = DESIGN.open_role(MATCHER, files)
    secret = state.key.reveal()
    assert secret in files["matcher.bin"] and secret not in files["set.bin"]
    assert secret.hex() not in repr(state) and str(secret) not in repr(state)


def test_a_listed_hash_does_not_lie_in_the_set_file() -> None:
    files = published()
    assert not any(row.tobytes()[:8] in files["set.bin"] for row in LISTED)


def test_a_list_that_holds_a_hash_twice_is_refused_and_the_entries_named() -> None:
    twice = np.concatenate([LISTED[:5], LISTED[2:3]])
    with pytest.raises(DesignError, match=r"entries 2 and 5 .* have the same hash"):
        held(DESIGN, twice)


def test_a_list_that_changes_while_it_is_read_is_refused() -> None:
    class Shrinking:
        def __len__(self) -> int:
            return COUNT + 1

        def batches(self, size: int, start: int = 0) -> Any:
            salts: Rows = np.zeros((COUNT, 16), np.uint8)
            return batches_of(LISTED, np.arange(COUNT, dtype=np.uint64), salts).batches(size, start)

    with pytest.raises(DesignError, match="changed while it was read"):
        DESIGN.publish(Shrinking(), SetParameters(1, {}), seeded("k"), None, MemoryWorkspace())


@pytest.mark.parametrize("values", [{"evaluations": 0}, {"evaluations": 1025}, {"signatures": 9}])
def test_parameters_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(DesignError, match="must be"):
        held(DESIGN, LISTED, 1, values)


def test_progress_reaches_the_total() -> None:
    calls: list[tuple[int, int]] = []
    source = batches_of(LISTED, np.arange(COUNT, dtype=np.uint64), np.zeros((COUNT, 16), np.uint8))
    out = MemoryWorkspace()
    DESIGN.publish(source, SetParameters(1, {}), seeded("k"), None, out, lambda a, b: calls.append((a, b)))
    assert calls[-1] == (COUNT, COUNT)
