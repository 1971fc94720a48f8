"""What designs with a VOPRF have in common: requests that never differ, nothing learnt from who cheats."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from blindmatch_protocol import contract
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import UNBOUND, Match, NoMatch, Party
from blindmatch_protocol.crypto.oprf import Mode, SecretKey
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.memory import Held, counting, held
from support.voprf_world import (
    BAD_ELEMENTS,
    DESIGNS,
    LISTED,
    MATCHER,
    VALUES,
    Picture,
    answers,
    ask,
    concluded,
    label,
    run,
    world,
)

OWN = LISTED[0].tobytes()
ZEROS = bytes(32)
ITEM = Picture(OWN)


@pytest.fixture(params=DESIGNS, scope="module")
def place(request: pytest.FixtureRequest) -> Held:
    return world(request.param)


def test_an_empty_list_and_a_list_of_one_can_be_published(place: Held) -> None:
    for count in (0, 1):
        few = held(place.design, LISTED[:count], 1, VALUES[place.design.info.name])
        assert isinstance(run(few, ITEM), Match if count else NoMatch)


# --- what the matcher sees -----------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_a_request_has_one_size_and_takes_as_much_randomness_whatever_the_item_is(
    place: Held, full: bool
) -> None:
    place = world(place.design.info.name, full)
    seen = set()
    for item in (ITEM, Picture(ZEROS), Picture(OWN, 49), Picture(OWN, weak=(1, 2, 3))):
        rng, taken = counting("size")
        started = place.design.start(place.design.enrol(rng), place.setup, item, UNBOUND, rng)
        body = started.step.bodies[MATCHER]  # type: ignore[union-attr]
        seen.add((len(body.encode()), len(body.blinded), tuple(taken)))
    assert len(seen) == 1
    assert seen.pop()[0] <= 8 * 1024


def test_a_picture_of_low_quality_sends_a_cover_request_that_does_not_depend_on_its_hash(place: Held) -> None:
    requests = {ask(place, Picture(hash_, 49))[1].encode() for hash_ in (OWN, ZEROS)}
    assert len(requests) == 1
    assert run(place, Picture(OWN, 49)) == NoMatch()


def test_two_requests_for_one_picture_have_nothing_in_common(place: Held) -> None:
    first, second = (ask(place, ITEM, seed)[1].blinded for seed in ("one", "two"))
    assert not {row.tobytes() for row in first} & {row.tobytes() for row in second}


def test_the_simulator_needs_only_the_declared_facts(place: Held) -> None:
    leak = next(leak for leak in place.design.leakage() if leak.parties == {Party.MATCHER})
    facts = {fact.name: fact.project(ITEM, place.setup) for fact in leak.facts}
    simulated = place.design.simulate(MATCHER, facts, None, seeded("simulator"))
    assert simulated is not None
    assert [len(body.encode()) for body in simulated] == [len(ask(place, ITEM)[1].encode())]
    assert isinstance(answers(place, *simulated)[0], place.design.round.reply)


def test_nothing_secret_is_shown(place: Held) -> None:
    driver, request = ask(place, ITEM)
    key = place.states[MATCHER].key.reveal()
    shown = repr((place.states[MATCHER], place.setup, request, driver._inner))
    assert not any(secret in shown for secret in (key.hex(), str(key), OWN.hex(), "array"))


# --- the matcher against bad requests ------------------------------------------------------------


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_bad_element_is_refused_and_does_not_touch_the_others(place: Held, name: str) -> None:
    good = [ask(place, Picture(LISTED[row].tobytes()), f"device {row}") for row in range(2)]
    rows = good[0][1].blinded.copy()
    rows[1] = np.frombuffer(BAD_ELEMENTS[name], np.uint8)
    replies = answers(place, good[0][1], place.design.round.request(1, rows), good[1][1])
    assert isinstance(replies[1], ProtocolError)
    assert f"{place.design.info.name}/request: field blinded: row 1" in str(replies[1])
    for (driver, _), reply in zip(good, (replies[0], replies[2]), strict=True):
        assert isinstance(concluded(driver, reply), Match)


def test_too_many_or_too_few_elements_another_epoch_and_another_kind_are_refused(place: Held) -> None:
    rows = ask(place, Picture(ZEROS))[1].blinded
    request = place.design.round.request
    few, many, other, kind = answers(
        place,
        request(1, rows[:-1]),
        request(1, np.concatenate([rows, rows])),
        request(2, rows),
        label(0, place),
    )
    for refused, count in ((few, len(rows) - 1), (many, 2 * len(rows))):
        assert f"must have {len(rows)} rows, not {count}" in str(refused)
    assert isinstance(other, EpochMismatchError) and isinstance(kind, ProtocolError)


def test_answers_and_outcomes_are_the_same_with_and_without_an_executor(place: Held) -> None:
    bodies = [ask(place, Picture(LISTED[row].tobytes()), f"device {row}")[1] for row in range(5)]
    with ThreadPoolExecutor(2) as pool:
        assert answers(place, *bodies, pool=pool) == answers(place, *bodies)
        assert answers(place, bodies[0], pool=pool) == answers(place, bodies[0])
        spread = replace(place, setup=place.design.with_executor(place.setup, pool))
        assert ask(spread, ITEM)[1] == ask(place, ITEM)[1]
        assert run(spread, ITEM) == run(place, ITEM) == Match(label(0, place))
    assert place.setup.executor is None


def test_no_body_gives_no_reply_and_no_other_role_answers(place: Held) -> None:
    assert answers(place) == []
    state = place.states[MATCHER]
    with pytest.raises(DesignError, match="has no role relay"):
        place.design.answer("relay", state, [], seeded("m"), None)  # type: ignore[arg-type]
    with pytest.raises(DesignError, match="has no role relay"):
        place.design.key_limits("relay", state)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutated_request_is_refused_or_answered_but_never_an_accident(
    place: Held, data: st.DataObject
) -> None:
    request = ask(place, ITEM)[1]
    try:
        body = type(request).decode(mutated(request.encode(), data))
    except ProtocolError:
        return
    assert isinstance(answers(place, body)[0], (place.design.round.reply, ProtocolError))


def mutated(raw: bytes, data: st.DataObject) -> bytes:
    start = data.draw(st.integers(0, len(raw)))
    stop = data.draw(st.integers(start, min(len(raw), start + 40)))
    return raw[:start] + data.draw(st.binary(max_size=40)) + raw[stop:]


# --- the device against bad replies --------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutated_reply_is_refused(place: Held, data: st.DataObject) -> None:
    driver, request = ask(place, ITEM)
    raw = answers(place, request)[0].encode()
    altered = mutated(raw, data)
    if altered == raw:
        return
    with pytest.raises(ProtocolError):
        driver.receive({MATCHER: place.design.round.reply.decode(altered)})


@pytest.mark.parametrize("name", BAD_ELEMENTS)
def test_a_bad_element_in_a_reply_is_refused(place: Held, name: str) -> None:
    driver, request = ask(place, ITEM)
    reply = answers(place, request)[0]
    rows = reply.evaluated.copy()
    rows[2] = np.frombuffer(BAD_ELEMENTS[name], np.uint8)
    with pytest.raises(ProtocolError, match=f"{place.design.info.name}/reply: field elements: row 2"):
        driver.receive({MATCHER: replace(reply, evaluated=rows)})


@pytest.mark.parametrize("cheated", [slice(0, 1), slice(-1, None), slice(None)], ids=["first", "last", "all"])
def test_another_key_for_some_elements_only_is_refused_whole_and_nothing_is_learnt(
    place: Held, cheated: slice
) -> None:
    other = replace(place.states[MATCHER], key=SecretKey(Mode.VOPRF, (7).to_bytes(32, "little")))
    for item in (ITEM, Picture(ZEROS), Picture(ZEROS, 10)):
        driver, request = ask(place, item)
        honest = answers(place, request)[0]
        asked = [contract.Request(request)]
        (wrong,) = place.design.answer(MATCHER, other, asked, seeded("m"), None).replies
        rows = honest.evaluated.copy()
        rows[cheated] = wrong.evaluated[cheated]  # type: ignore[union-attr]
        for proof in (honest.proof, wrong.proof):  # type: ignore[union-attr]
            again, _ = ask(place, item)
            with pytest.raises(ProtocolError, match="/reply: field proof: does not hold"):
                again.receive({MATCHER: replace(honest, evaluated=rows, proof=proof)})
        assert isinstance(concluded(driver, honest), Match if item is ITEM else NoMatch)


def test_a_replayed_reply_another_epoch_and_fewer_elements_are_refused(place: Held) -> None:
    old = answers(place, ask(place, ITEM, "one")[1])[0]
    reply = answers(place, ask(place, ITEM, "two")[1])[0]
    count = place.setup.count
    for bad, rule in (
        (old, "proof"),
        (replace(reply, epoch=2), "epoch 1 is in force here, not 2"),
        (replace(reply, evaluated=reply.evaluated[:-1]), f"must have {count} rows, not {count - 1}"),
    ):
        with pytest.raises(ProtocolError, match=rule) as refused:
            ask(place, ITEM, "two")[0].receive({MATCHER: bad})
        assert isinstance(refused.value, EpochMismatchError) == (bad.epoch == 2)
