"""A VOPRF key in shares: what all or enough parties give, what fewer do not, and who is named."""

from __future__ import annotations

from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec.errors import DesignError, EpochMismatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import ListKnowledge, Match, NoMatch, Party, Ready, Role, Session
from blindmatch_protocol.crypto.oprf import Mode, SecretKey, evaluate, generate_key_pair
from blindmatch_protocol.designs import oprf_psi, split_psi, split_token_psi
from blindmatch_protocol.designs.deltas import SET_FILE, SHARE_KEYS_KIND
from blindmatch_protocol.designs.voprf import KeyLayout, PublicKeys, VoprfDesign
from blindmatch_protocol.designs.voprf.layout import ANY_TWO, HALVES
from blindmatch_simulations.testbed.inprocess.deployed import (
    Build,
    Deployed,
    opened,
    publish,
    run_session,
    update,
)
from msgspec.structs import replace
from support.memory import asked, random_hashes, replied
from support.set_files import opened as set_file
from support.set_files import resealed
from support.voprf_world import Picture

LISTED = random_hashes(12)
OTHERS = random_hashes(3, seed=9)
MINUS_ONE = group.one_row((group.ORDER - 1).to_bytes(32, "little"))
A, B, C = (Role(f"party_{letter}") for letter in "abc")
SPLIT = (split_psi.DESIGN, split_token_psi.DESIGN)
ALL = (*SPLIT, split_psi.ANY_TWO_PSI)
ALL_OF_THREE = KeyLayout((A, B, C), 3)
LAYOUTS = (HALVES, ALL_OF_THREE, ANY_TWO)


def named(value: Any) -> str:
    return value.info.name if isinstance(value, VoprfDesign) else f"{value.needed}-of-{len(value.roles)}"


@cache
def build(design: VoprfDesign[Any], seed: str = "key") -> Build:
    small = {"bands": 4, "probes": 2} if "token" in design.info.name else {}
    return publish(design, LISTED, seeded(seed), values=small)


@cache
def world(design: VoprfDesign[Any]) -> Deployed:
    return opened(build(design))


def answered(place: Deployed, own: bytes) -> tuple[Session, dict[Role, Any]]:
    session, bodies = asked(place, Picture(own))
    return session, replied(place, bodies)


def outcome(place: Deployed, own: bytes) -> Any:
    return run_session(place, Picture(own), seeded("device")).outcome


@pytest.mark.parametrize("layout", LAYOUTS, ids=named)
class TestLayout:
    def test_enough_shares_make_up_the_key_and_its_replies(self, layout: KeyLayout) -> None:
        key = generate_key_pair(Mode.VOPRF, seeded("key"))
        shares = layout.split(key, seeded("shares"))
        points = group.hash_to_group(np.frombuffer(seeded("points").take(64 * 5), np.uint8).reshape(5, 64))
        whole = group.multiply(key.rows(), points)
        for some in combinations(layout.roles, layout.needed):
            few = {role: shares[role] for role in some}
            assert layout.joined(few).reveal() == key.reveal()
            parts = {role: group.multiply(share.rows(), points) for role, share in few.items()}
            assert layout.combined(parts).tobytes() == whole.tobytes()
        assert layout.fits(PublicKeys(key.public, {r: s.public for r, s in shares.items()}))

    def test_shares_that_are_not_of_the_key_do_not_fit(self, layout: KeyLayout) -> None:
        key, other = (generate_key_pair(Mode.VOPRF, seeded(name)) for name in ("key", "other"))
        shares = layout.split(key, seeded("shares"))
        for role in layout.roles:
            wrong = {**shares, role: other}
            assert not layout.fits(PublicKeys(key.public, {r: s.public for r, s in wrong.items()}))

    def test_a_share_alone_gives_other_outputs_and_is_another_each_time(self, layout: KeyLayout) -> None:
        key = generate_key_pair(Mode.VOPRF, seeded("key"))
        first, second = (layout.split(key, seeded(name)) for name in ("one", "two"))
        right = evaluate(key, [b"input"]).tobytes()
        for role in layout.roles:
            assert evaluate(first[role], [b"input"]).tobytes() != right
            assert first[role].reveal() != second[role].reveal()


@pytest.mark.parametrize("design", ALL, ids=named)
class TestDesign:
    def test_a_listed_hash_matches_and_another_does_not(self, design: VoprfDesign[Any]) -> None:
        place = world(design)
        for row in (0, 7):
            found = outcome(place, LISTED[row].tobytes())
            assert isinstance(found, Match) and found.label.entry_hash == LISTED[row].tobytes()
        assert outcome(place, OTHERS[0].tobytes()) == NoMatch()

    def test_a_share_that_is_not_proved_is_refused_and_its_party_named(
        self, design: VoprfDesign[Any]
    ) -> None:
        place = world(design)
        session, replies = answered(place, LISTED[0].tobytes())
        for role in design.layout.roles:
            others = [one for name, one in replies.items() if name != role]
            with pytest.raises(ProtocolError, match=f"of {role}.*proof"):
                Session.receive(fresh(session), {**replies, role: others[0]})

    def test_shares_that_are_wrong_so_that_their_errors_cancel_are_refused(
        self, design: VoprfDesign[Any]
    ) -> None:
        session, replies = answered(world(design), LISTED[0].tobytes())
        a, b = (replies[role] for role in (A, B))
        error = group.multiply_base(group.random_scalars(1, seeded("error")))
        more = replace(a, evaluated=group.add(a.evaluated, error))
        less = replace(b, evaluated=group.add(b.evaluated, group.multiply(MINUS_ONE, error)))
        with pytest.raises(ProtocolError, match="proof"):
            session.receive({**replies, A: more, B: less})

    def test_replies_to_another_picture_of_an_earlier_share_or_of_no_element_are_refused(
        self, design: VoprfDesign[Any]
    ) -> None:
        place = world(design)
        after = opened(update(build(design), OTHERS[:1], [], seeded("update")))
        session, replies = answered(after, LISTED[0].tobytes())
        _, others = answered(after, LISTED[1].tobytes())
        states = {**after.states, A: replace(place.states[A], epoch=after.states[A].epoch)}
        _, earlier = answered(replace(after, states=states), LISTED[0].tobytes())
        none = np.zeros_like(replies[A].evaluated)
        for wrong in (others[A], earlier[A], replace(replies[A], evaluated=none)):
            with pytest.raises(ProtocolError, match="of party_a"):
                fresh(session).receive({**replies, A: wrong})
        assert isinstance(fresh(session).receive(replies), Ready)

    def test_halves_under_each_other_s_name_are_another_statement_and_no_party_s(
        self, design: VoprfDesign[Any]
    ) -> None:
        made = build(design)
        kind = (SHARE_KEYS_KIND, 0)
        file = set_file(design, SET_FILE, made.files[SET_FILE])
        keys = bytes(file.section(*kind))
        swapped = {**made.files, SET_FILE: resealed(file, {kind: keys[32:64] + keys[:32] + keys[64:]})}
        if design.layout is HALVES:  # any order of summands fits
            assert design.stated(design.open_setup(swapped)) != design.stated(world(design).setup)
        with pytest.raises(SetFileError, match=r"another set|do not make up"):
            design.open_role(A, swapped)

    def test_a_reply_of_another_epoch_is_named(self, design: VoprfDesign[Any]) -> None:
        session, replies = answered(world(design), LISTED[0].tobytes())
        reply: Any = replies[B]
        late = type(reply)(2, reply.evaluated, reply.proof)
        with pytest.raises(EpochMismatchError, match="of party_b"):
            session.receive({**replies, B: late})

    def test_too_few_replies_are_refused_and_say_who_is_missing(self, design: VoprfDesign[Any]) -> None:
        session, replies = answered(world(design), LISTED[0].tobytes())
        enough = design.layout.needed
        for some in combinations(replies, enough - 1):
            missing = " and ".join(sorted(set(replies) - set(some)))
            with pytest.raises(ProtocolError, match=f"not {missing}"):
                fresh(session).receive({role: replies[role] for role in some})

    def test_no_party_alone_knows_the_list_and_enough_together_do(self, design: VoprfDesign[Any]) -> None:
        parties = [design.info.roles[role] for role in design.layout.roles]
        for one in parties:
            for with_one in ({one}, {one, Party.DEVICE, Party.PROVIDER}):
                assert design.list_knowledge(frozenset(with_one)) == ListKnowledge.SIZE
        for some in combinations(parties, design.layout.needed):
            assert design.list_knowledge(frozenset(some)) >= ListKnowledge.TESTABLE

    def test_a_party_with_the_file_of_another_is_refused(self, design: VoprfDesign[Any]) -> None:
        made = build(design)
        swapped = {**made.files, "party_a.bin": made.files["party_b.bin"]}
        with pytest.raises(SetFileError, match="not the one of"):
            design.open_role(A, swapped)

    def test_a_set_whose_shares_are_not_of_its_key_is_refused(self, design: VoprfDesign[Any]) -> None:
        file, other = (
            set_file(design, SET_FILE, build(design, seed).files[SET_FILE]) for seed in ("key", "other")
        )
        kind = (SHARE_KEYS_KIND, 0)
        spoilt = resealed(file, {kind: bytes(other.section(*kind))})
        with pytest.raises(SetFileError, match="do not make up"):
            design.open_setup({SET_FILE: spoilt})

    def test_an_update_keeps_the_key_and_gives_every_party_a_new_share(
        self, design: VoprfDesign[Any]
    ) -> None:
        before = build(design)
        after = opened(update(before, OTHERS[:1], [], seeded("update")))
        old = world(design)
        assert after.setup.public_key == old.setup.public_key
        for role in design.layout.roles:
            assert after.states[role].key.reveal() != old.states[role].key.reveal()
        assert isinstance(outcome(after, OTHERS[0].tobytes()), Match)
        assert isinstance(outcome(after, LISTED[3].tobytes()), Match)
        with pytest.raises(SetFileError, match="for epoch 2, not epoch 1"):
            design.open_role(A, {**after.build.files, "party_a.bin": before.files["party_a.bin"]})


def fresh(session: Session) -> Session:
    """The same session, at the same step."""
    other = Session.__new__(Session)
    other.__dict__.update(session.__dict__)
    return other


def test_any_two_of_three_are_enough() -> None:
    place = world(split_psi.ANY_TWO_PSI)
    for pair in combinations((A, B, C), 2):
        session, replies = answered(place, LISTED[1].tobytes())
        assert isinstance(session.receive({role: replies[role] for role in pair}), Ready)
        assert isinstance(session.conclude(), Match)


def test_outputs_and_set_are_those_of_the_whole_key() -> None:
    place = world(split_psi.DESIGN)
    key = split_psi.DESIGN.layout.joined({role: state.key for role, state in place.states.items()})
    right = evaluate(key, [oprf_psi.design.INPUT_TAG + LISTED[0].tobytes()])
    session, replies = answered(place, LISTED[0].tobytes())
    step = session.receive(replies)
    assert isinstance(step, Ready) and step.session.outputs.tobytes() == right.tobytes()


def test_limits_are_on_the_whole_key_at_every_party_and_over_updates() -> None:
    design = split_token_psi.DESIGN
    place = world(design)
    after = opened(update(build(design), OTHERS[:1], [], seeded("update")))
    limits = [design.key_limits(role, one.states[role]) for role in (A, B) for one in (place, after)]
    assert len({limit.key for limit in limits if limit}) == 1 and all(limits)


def test_a_design_with_one_holder_refuses_keys_of_shares() -> None:
    made = publish(oprf_psi.DESIGN, LISTED, seeded("key"))
    file = set_file(oprf_psi.DESIGN, SET_FILE, made.files[SET_FILE])
    shares = bytes(file.section(0x100)) * 2
    spoilt = resealed(file, {}, (SHARE_KEYS_KIND, shares))
    setup = oprf_psi.DESIGN.open_setup({SET_FILE: spoilt})
    with pytest.raises(SetFileError, match="does not belong"):
        oprf_psi.DESIGN.check_setup(setup)


def test_nobody_else_is_a_role() -> None:
    with pytest.raises(DesignError, match="no role matcher"):
        split_psi.DESIGN.open_role(Role("matcher"), build(split_psi.DESIGN).files)


def test_a_key_in_shares_is_never_shown() -> None:
    state = world(split_psi.DESIGN).states[A]
    assert state.key.reveal().hex() not in repr(state) + repr(SecretKey(Mode.VOPRF, state.key.reveal()))
