"""token-psi: near outcomes, nothing learnt from a cheating matcher, requests that never differ."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from blindmatch_protocol import contract
from blindmatch_protocol.contract import UNBOUND, Label, Match, NoMatch, Party
from blindmatch_protocol.designs.token_psi import DESIGN, Reply, Request
from blindmatch_protocol.designs.token_psi.matching import opened_labels
from blindmatch_protocol.designs.token_psi.tokens import band_bits
from blindmatch_protocol.errors import DesignError, EpochMismatchError, ProtocolError
from blindmatch_protocol.oprf import Evaluation as Evaluated
from blindmatch_protocol.oprf import Mode, SecretKey, finalize
from blindmatch_protocol.randomness import seeded
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory import Held, counting, held, random_hashes
from support.token_world import (
    BAD_ELEMENTS,
    LISTED,
    MATCHER,
    SMALL,
    Picture,
    answers,
    ask,
    broken,
    concluded,
    flipped,
    label,
    run,
    world,
)

# --- outcomes ------------------------------------------------------------------------------------


def test_a_listed_hash_matches_with_its_label_and_an_unlisted_one_does_not() -> None:
    place = world(full=True)
    for row in range(3):
        assert run(place, Picture(LISTED[row].tobytes())) == Match(label(row, place))
    assert run(place, Picture(random_hashes(1, seed=9).tobytes())) == NoMatch()


def test_bands_agree_through_probes_of_weak_bits() -> None:
    place, hash_ = world(), LISTED[0].tobytes()
    weak = tuple(int(band[5]) for band in band_bits(24, 4))
    assert run(place, Picture(flipped(hash_, *weak), weak=weak)) == Match(label(0, place))
    assert run(place, Picture(flipped(hash_, *weak))) == NoMatch()


def test_two_bands_are_enough_and_a_lone_one_looks_like_a_miss() -> None:
    place, hash_ = world(), LISTED[0].tobytes()
    assert run(place, Picture(broken(hash_, 0, 2))) == Match(label(0, place))
    assert run(place, Picture(broken(hash_, 0, 1, 2))) == NoMatch()
    assert opened(place, Picture(broken(hash_, 0, 1, 2))) == []


def opened(place: Held, item: Picture) -> list[Label]:
    """All labels a picture's tokens open, whatever their distance."""
    started = DESIGN.start(DESIGN.enrol(seeded("x")), place.setup, item, UNBOUND, seeded("x"))
    session = started.step.session  # type: ignore[union-attr]
    reply = answers(place, started.step.bodies[MATCHER])[0]  # type: ignore[union-attr]
    outputs = finalize(session.blinding, Evaluated(reply.evaluated, reply.proof), place.setup.public_key)
    return opened_labels(place.setup, outputs)


def test_with_three_bands_needed_two_are_a_miss() -> None:
    place = held(DESIGN, LISTED[:4], 1, {**SMALL, "needed": 3})
    hash_ = LISTED[0].tobytes()
    assert run(place, Picture(broken(hash_, 3))) == Match(label(0, place))
    assert run(place, Picture(broken(hash_, 2, 3))) == NoMatch()


def test_an_entry_beyond_the_distance_opens_and_is_no_match() -> None:
    place, members = world(), band_bits(24, 4)
    far = flipped(LISTED[0].tobytes(), *members[0].tolist(), *members[1].tolist())  # 48 bits
    assert opened(place, Picture(far)) == [label(0, place)]
    assert run(place, Picture(far)) == NoMatch()
    within = flipped(LISTED[0].tobytes(), *members[0].tolist(), *members[1, :7].tolist())  # 31 bits
    assert run(place, Picture(within)) == Match(label(0, place))


def test_members_of_a_family_are_told_apart_by_distance() -> None:
    hashes = LISTED[:6].copy()
    hashes[4] = np.frombuffer(flipped(LISTED[1].tobytes(), 0, 1, 2), np.uint8)
    place = held(DESIGN, hashes, 1, SMALL)
    for row in (1, 4):
        found = run(place, Picture(hashes[row].tobytes()))
        assert isinstance(found, Match) and found.label.entry_id == row + 1
    assert {entry.entry_id for entry in opened(place, Picture(hashes[1].tobytes()))} == {2, 5}


def test_entries_of_different_families_that_share_tokens_still_match() -> None:
    hashes, members = LISTED[:6].copy(), band_bits(24, 4)
    bits = np.unpackbits(hashes, axis=1)
    bits[3, members[0]] = bits[2, members[0]]
    bits[3, members[1]] = bits[2, members[1]]
    hashes = np.packbits(bits, axis=1)
    place = held(DESIGN, hashes, 1, SMALL)
    for row in (2, 3):
        found = run(place, Picture(hashes[row].tobytes()))
        assert isinstance(found, Match) and found.label.entry_id == row + 1


def test_a_hash_that_is_listed_twice_opens_both_labels() -> None:
    place = held(DESIGN, np.repeat(LISTED[:1], 2, axis=0), 1, SMALL)
    assert {entry.entry_id for entry in opened(place, Picture(LISTED[0].tobytes()))} == {1, 2}


def test_an_empty_list_and_a_list_of_one_can_be_published() -> None:
    for count in (0, 1):
        place = held(DESIGN, LISTED[:count], 1, SMALL)
        assert isinstance(run(place, Picture(LISTED[0].tobytes())), Match if count else NoMatch)


def test_parameters_that_do_not_go_together_are_refused_before_any_work() -> None:
    with pytest.raises(DesignError, match="k times bands"):
        held(DESIGN, LISTED, 1, {"k": 32, "bands": 10})


# --- what the matcher sees -----------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_a_request_has_one_size_and_takes_as_much_randomness_whatever_the_item_is(full: bool) -> None:
    place, seen = world(full), set()
    listed, poor = LISTED[0].tobytes(), Picture(LISTED[0].tobytes(), 49)
    for item in (Picture(listed), Picture(bytes(32)), poor, Picture(listed, weak=(1, 2, 3))):
        rng, taken = counting("size")
        started = DESIGN.start(DESIGN.enrol(rng), place.setup, item, UNBOUND, rng)
        body = started.step.bodies[MATCHER]  # type: ignore[union-attr]
        seen.add((len(body.encode()), len(body.blinded), tuple(taken)))
    assert len(seen) == 1
    assert seen.pop()[0] <= 6 * 1024


def test_a_picture_of_low_quality_sends_a_cover_request_that_does_not_depend_on_its_hash() -> None:
    requests = {ask(world(), Picture(hash_, 49))[1].encode() for hash_ in (LISTED[0].tobytes(), bytes(32))}
    assert len(requests) == 1
    assert run(world(), Picture(LISTED[0].tobytes(), 49)) == NoMatch()


def test_two_requests_for_one_picture_have_nothing_in_common() -> None:
    item = Picture(LISTED[0].tobytes())
    first, second = (ask(world(), item, seed)[1].blinded for seed in ("one", "two"))
    assert not {row.tobytes() for row in first} & {row.tobytes() for row in second}


def test_the_simulator_needs_only_the_declared_facts() -> None:
    place, item = world(), Picture(LISTED[0].tobytes())
    leak = next(leak for leak in DESIGN.leakage() if leak.parties == {Party.MATCHER})
    facts = {fact.name: fact.project(item, place.setup) for fact in leak.facts}
    simulated = DESIGN.simulate(MATCHER, facts, None, seeded("simulator"))
    assert simulated is not None
    assert [len(body.encode()) for body in simulated] == [len(ask(place, item)[1].encode())]
    assert isinstance(answers(place, *simulated)[0], Reply)


# --- the matcher against bad requests ------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_bad_element_is_refused_and_does_not_touch_the_others(name: str) -> None:
    place = world()
    good = [ask(place, Picture(LISTED[row].tobytes()), f"device {row}") for row in range(2)]
    rows = good[0][1].blinded.copy()
    rows[1] = np.frombuffer(BAD_ELEMENTS[name], np.uint8)
    replies = answers(place, good[0][1], Request(1, rows), good[1][1])
    assert isinstance(replies[1], ProtocolError)
    assert "token-psi/request: field blinded: row 1" in str(replies[1])
    for (driver, _), reply in zip(good, (replies[0], replies[2]), strict=True):
        assert isinstance(concluded(driver, reply), Match)


def test_too_many_or_too_few_tokens_another_epoch_and_another_kind_are_refused() -> None:
    place = world()
    rows = ask(place, Picture(bytes(32)))[1].blinded
    few, many, other, kind = answers(
        place,
        Request(1, rows[:7]),
        Request(1, np.concatenate([rows, rows])),
        Request(2, rows),
        label(0, place),
    )
    assert "must have 8 rows, not 7" in str(few) and "must have 8 rows, not 16" in str(many)
    assert isinstance(other, EpochMismatchError) and isinstance(kind, ProtocolError)


def test_answers_are_the_same_with_and_without_an_executor() -> None:
    place = world()
    bodies = [ask(place, Picture(LISTED[row].tobytes()), f"device {row}")[1] for row in range(3)]
    with ThreadPoolExecutor(2) as pool:
        assert answers(place, *bodies, pool=pool) == answers(place, *bodies)
        assert answers(place, bodies[0], pool=pool) == answers(place, bodies[0])


def test_a_device_asks_and_reads_the_same_with_and_without_an_executor() -> None:
    alone, item = world(full=True), Picture(LISTED[0].tobytes())
    with ThreadPoolExecutor(2) as pool:
        spread = replace(alone, setup=DESIGN.with_executor(alone.setup, pool))
        assert ask(spread, item)[1] == ask(alone, item)[1]
        assert run(spread, item) == run(alone, item) == Match(label(0, alone))
    assert alone.setup.executor is None


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_mutated_request_is_refused_or_answered_but_never_an_accident(data: st.DataObject) -> None:
    request = ask(world(), Picture(LISTED[0].tobytes()))[1]
    try:
        body = Request.decode(mutated(request.encode(), data))
    except ProtocolError:
        return
    assert isinstance(answers(world(), body)[0], (Reply, ProtocolError))


def mutated(raw: bytes, data: st.DataObject) -> bytes:
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 40)))
    return raw[:start] + data.draw(st.binary(max_size=40)) + raw[stop:]


# --- the device against bad replies --------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_mutated_reply_is_refused(data: st.DataObject) -> None:
    driver, request = ask(world(), Picture(LISTED[0].tobytes()))
    raw = answers(world(), request)[0].encode()
    altered = mutated(raw, data)
    if altered == raw:
        return
    with pytest.raises(ProtocolError):
        driver.receive({MATCHER: Reply.decode(altered)})


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_bad_element_in_a_reply_is_refused(name: str) -> None:
    driver, request = ask(world(), Picture(LISTED[0].tobytes()))
    reply = answers(world(), request)[0]
    rows = reply.evaluated.copy()
    rows[2] = np.frombuffer(BAD_ELEMENTS[name], np.uint8)
    with pytest.raises(ProtocolError, match="token-psi/reply: field elements: row 2"):
        driver.receive({MATCHER: Reply(reply.epoch, rows, reply.proof)})


@pytest.mark.parametrize("cheated", [[0], [7], list(range(8))])
def test_another_key_for_some_tokens_only_is_refused_whole(cheated: list[int]) -> None:
    place = world()
    driver, request = ask(place, Picture(LISTED[0].tobytes()))
    other = replace(place.states[MATCHER], key=SecretKey(Mode.VOPRF, (7).to_bytes(32, "little")))
    honest = answers(place, request)[0]
    wrong = DESIGN.answer(MATCHER, other, [contract.Request(request)], seeded("m"), None).replies[0]
    assert isinstance(wrong, Reply)
    rows = honest.evaluated.copy()
    rows[cheated] = wrong.evaluated[cheated]
    for proof in (honest.proof, wrong.proof):
        again, _ = ask(place, Picture(LISTED[0].tobytes()))
        with pytest.raises(ProtocolError, match="token-psi/reply: field proof: does not hold"):
            again.receive({MATCHER: Reply(1, rows, proof)})
    assert isinstance(concluded(driver, honest), Match)


def test_a_replayed_reply_another_epoch_and_fewer_elements_are_refused() -> None:
    place, item = world(), Picture(LISTED[0].tobytes())
    old = answers(place, ask(place, item, "one")[1])[0]
    reply = answers(place, ask(place, item, "two")[1])[0]
    for bad, rule in (
        (old, "proof"),
        (Reply(2, reply.evaluated, reply.proof), "epoch 1 is in force here, not 2"),
        (Reply(1, reply.evaluated[:7], reply.proof), "must have 8 rows, not 7"),
    ):
        with pytest.raises(ProtocolError, match=rule):
            ask(place, item, "two")[0].receive({MATCHER: bad})
