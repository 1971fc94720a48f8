"""slot-psi as a design: its messages, files, limits and declared facts; the core is in `test_slot_psi`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import ListKnowledge, Party
from blindmatch_protocol.designs.carried import Carried, carried
from blindmatch_protocol.designs.slot_psi import retrieval
from blindmatch_protocol.designs.slot_psi.design import DESIGN, SMALL_SIZES
from blindmatch_protocol.designs.slot_psi.design import SMALL as REDUCED
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.slot_psi.session import PARTIES
from blindmatch_protocol.designs.token_psi.tokens import band_bits
from blindmatch_protocol.designs.voprf.layout import MATCHER
from blindmatch_simulations.evaluation.conformance.fixtures import reduced
from blindmatch_simulations.testbed.inprocess.deployed import run_session, update
from support.memory import Held, asked, build, held, random_hashes, replied
from support.slot_world import flipped
from support.voprf_world import Picture

SMALL = {"k": 16, "probes": 8, "slot_bits": 9}
LISTED = random_hashes(24)
OWN = LISTED[3].tobytes()
BITS = band_bits(16, 8)
PARTY_A, PARTY_B = PARTIES


@cache
def place() -> Held:
    return held(DESIGN, LISTED, 1, SMALL)


def test_a_near_copy_matches_and_another_picture_does_not() -> None:
    copy = flipped(OWN, *(int(bits[-1]) for bits in BITS[:3]))
    found = run_session(place(), Picture(copy), seeded("near")).outcome
    assert isinstance(found, bm.Match) and found.label.entry_hash == OWN
    other = random_hashes(1, seed=9)[0].tobytes()
    assert run_session(place(), Picture(other), seeded("other")).outcome == bm.NoMatch()
    assert run_session(place(), Picture(OWN, quality=10), seeded("poor")).outcome == bm.NoMatch()


def test_a_session_that_is_shown_to_others_ends_as_any_with_proofs_of_their_own_kind() -> None:
    rng = seeded("device")
    session = bm.Session(DESIGN, place().setup, DESIGN.enrol(rng), rng)
    step = session.start(Picture(OWN), bm.CERTIFYING)
    names = []
    while isinstance(step, Mapping):
        names += [body.NAME for body in step.values()]
        step = session.receive(replied(place(), step))
    assert names == ["voprf/certify", "slot-psi/certify-pair", "slot-psi/certify-pair"]
    assert isinstance(session.conclude(), bm.Match)


def second_question() -> tuple[bm.Session, Mapping[bm.Role, Any]]:
    """A session that has asked both parties, and what it asks."""
    session, bodies = asked(place(), Picture(OWN))
    found = session.receive(replied(place(), bodies))
    assert isinstance(found, Mapping)
    return session, found


def test_matcher_first_then_both_parties_are_asked_and_nobody_a_third_time() -> None:
    session, bodies = asked(place(), Picture(OWN))
    assert set(bodies) == {MATCHER}
    session, bodies = second_question()
    assert set(bodies) == set(PARTIES)
    assert isinstance(session.receive(replied(place(), bodies)), bm.Ready)


def test_a_second_reply_before_the_first_and_a_silent_party_are_refused() -> None:
    _, bodies = second_question()
    second = replied(place(), bodies)
    session, _ = asked(place(), Picture(OWN))
    with pytest.raises(ProtocolError, match="each role that was asked answers once"):
        session.receive(second)
    session, _ = second_question()
    with pytest.raises(ProtocolError, match="not party_b"):
        session.receive({PARTY_A: second[PARTY_A]})
    rng = seeded("d")
    step = DESIGN.start(DESIGN.enrol(rng), place().setup, Picture(OWN), bm.UNBOUND, rng).step
    assert isinstance(step, bm.Send)
    with pytest.raises(ProtocolError, match="does not take"):
        DESIGN.receive(step.session, place().setup, {MATCHER: second[PARTY_A]}, seeded("r"))


def test_replies_of_another_epoch_or_party_are_refused() -> None:
    session, bodies = second_question()
    good = replied(place(), bodies)
    with pytest.raises(EpochMismatchError):
        session.receive({**good, PARTY_B: with_epoch(good[PARTY_B], 2)})
    session, bodies = second_question()
    with pytest.raises(ProtocolError, match="proof"):
        session.receive({PARTY_A: good[PARTY_B], PARTY_B: good[PARTY_A]})


def with_epoch(reply: Any, epoch: int) -> Any:
    return type(reply)(epoch, reply.evaluated, reply.proof, reply.answer)


def test_a_picture_costs_less_than_27_kb_with_the_parameters_of_a_million_entries() -> None:
    """The default parameters; the record has room for eight entries a slot, as a million entries need."""
    default = Slotting()
    first = 2 * (default.tokens * 32 + 100)
    second = 2 * (32 + retrieval.key_bytes(default.slot_bits) + 64 + 32 + default.record_bytes(10**6) + 100)
    assert first + second < 27_000


def test_limits_are_by_account_for_both_questions_and_none_is_over_all() -> None:
    values = {"account_pictures": 5, "day_pictures": 2, "year_pictures": 4, "key_expires": 99}
    held_ = held(DESIGN, LISTED, 1, SMALL | values)
    limits = {role: DESIGN.key_limits(role, held_.states[role]) for role in DESIGN.info.roles}
    found = {role: (it.cost, it.per_account, it.in_all, it.expires) for role, it in limits.items() if it}
    assert found == {
        MATCHER: (64, 320, None, 99),
        PARTY_A: (1, 5, None, 99),
        PARTY_B: (1, 5, None, 99),
    }
    periods = {role: [(it.seconds, it.evaluations) for it in it.periods] for role, it in limits.items() if it}
    assert periods == {
        MATCHER: [(86_400, 128), (31_536_000, 256)],
        PARTY_A: [(86_400, 2), (31_536_000, 4)],
        PARTY_B: [(86_400, 2), (31_536_000, 4)],
    }
    carried = {role: DESIGN.carrier_limits(role, held_.setup) for role in DESIGN.info.roles}
    assert carried == limits
    # one carrier counts the roles apart
    assert len({it.counted_as for it in limits.values() if it}) == 3
    assert DESIGN.expires(held_.setup) == 99


def test_by_default_an_account_is_limited_by_day_and_year_and_not_in_the_key_s_life() -> None:
    limits = DESIGN.key_limits(PARTY_A, place().states[PARTY_A])
    assert limits is not None and (limits.per_account, limits.in_all, limits.expires) == (None, None, None)
    assert [it.evaluations for it in limits.periods] == [1_000, 20_000]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"slot_bits": 25}, "slot_bits"),
        ({"account_pictures": 1 << 33}, "account_pictures"),
        ({"k": 33}, "k times bands"),
        # 2^6 tokens a slot and band, of which 16 times 8 are needed
        ({"slot_bits": 10}, "slot_bits: must be at most 9 with k 16 and 8 bands"),
        # a guess opens 24 * 2^(2 - 16) = 1.5 / 1,024 entries
        ({"k": 8, "slot_bits": 2, "bands": 2, "probes": 4}, "k: too small for 24 entries"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(values: dict[str, int], rule: str) -> None:
    with pytest.raises(DesignError, match=rule):
        build(DESIGN, LISTED, 1, SMALL | values)


def test_files_of_another_epoch_or_set_are_refused_by_name() -> None:
    one, other = (build(DESIGN, LISTED, 1, SMALL, purpose) for purpose in ("one", "other"))
    for name in ("matcher.bin", "party_a.bin"):
        role = next(role for role in DESIGN.info.roles if name.startswith(role))
        mixed = {**one.files, name: other.files[name]}
        if role != MATCHER:
            mixed["records.bin"] = other.files["records.bin"]
        with pytest.raises(SetFileError, match=f"{name}: made for another set.bin"):
            DESIGN.open_role(role, mixed)
    with pytest.raises(SetFileError, match=r"made for another records\.bin"):
        DESIGN.open_role(PARTY_B, {**one.files, "records.bin": other.files["records.bin"]})
    with pytest.raises(SetFileError, match="for epoch 1, not epoch 2"):
        DESIGN.open_setup(one.files, 2)
    with pytest.raises(SetFileError, match=r"set\.bin is missing"):
        DESIGN.open_setup({})


def test_each_coalition_learns_of_the_list_what_its_keys_tell() -> None:
    matcher, a, b = (Party(role) for role in (MATCHER, PARTY_A, PARTY_B))
    told = {
        (matcher,): ListKnowledge.TESTABLE,
        (a,): ListKnowledge.SIZE,
        (b,): ListKnowledge.SIZE,
        (Party.DEVICE,): ListKnowledge.SIZE,
        (matcher, a): ListKnowledge.TESTABLE,
        (a, b): ListKnowledge.TESTABLE,
        (matcher, a, b): ListKnowledge.HASHES,
        (Party.PROVIDER,): ListKnowledge.NOTHING,
    }
    assert {key: DESIGN.list_knowledge(frozenset(key)) for key in told} == told


def test_what_a_modified_device_opens_is_one_guessed_pair_a_picture() -> None:
    extraction = DESIGN.extraction(place().setup)
    # limits count tokens, of which a picture has 8 * 8
    assert extraction.a_picture == 64
    # 2^(s - 2k) a picture with 9 and 16 bits
    assert extraction.share(64 << 20) == pytest.approx(2.0**20 * 2.0 ** (9 - 32))


def test_an_update_is_refused_since_the_keys_live_as_long_as_the_list() -> None:
    with pytest.raises(DesignError, match="cannot be updated"):
        update(build(DESIGN, LISTED, 1, SMALL), random_hashes(1, seed=8), (), seeded("update"))


def test_labels_have_places_for_signatures_of_relatives_too() -> None:
    """An entry that lost two tokens to another opens with it, zeros in the place of its signatures, too."""
    twin = bytes(flipped(OWN, *(int(bit) for bits in BITS[:6] for bit in bits[:3])))
    listed = np.concatenate([LISTED, np.frombuffer(twin, np.uint8)[None]])
    signed = held(DESIGN, listed, 1, SMALL | {"signatures": 8})
    DESIGN.check_setup(signed.setup)
    found = run_session(signed, Picture(twin), seeded("signed")).outcome
    assert isinstance(found, bm.Match) and found.label.entry_hash == twin
    assert found.label.signatures == bytes(8 * 64)
    unsigned = run_session(place(), Picture(OWN), seeded("unsigned")).outcome
    assert isinstance(unsigned, bm.Match) and unsigned.label.signatures == b""
    widths = [it.setup.slotting.record_bytes(24) for it in (signed, place())]
    assert widths[0] - widths[1] == 2 * 8 * 64


def test_checks_run_the_same_steps_in_sizes_that_devices_refuse() -> None:
    assert reduced(DESIGN) is REDUCED and REDUCED.reduced() is None
    made = build(REDUCED, LISTED)
    setup = REDUCED.open_setup(made.files)
    sizes = setup.slotting.values()
    assert {name: sizes[name] for name in SMALL_SIZES} == SMALL_SIZES
    assert sizes | SMALL_SIZES == Slotting().values() | SMALL_SIZES
    with pytest.raises(SetFileError, match="slot-psi-insecure"):
        DESIGN.open_setup(made.files)


def test_what_is_carried_is_checked_in_the_same_sizes() -> None:
    small = reduced(carried(DESIGN))
    assert small is not None and small.info.name == "carried-slot-psi-insecure"
    assert isinstance(small, Carried) and small.inner is REDUCED
    within = small.inside()
    assert within is not None and within.reduced() is None
    assert reduced(small) is None
