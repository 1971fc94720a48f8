"""Carried designs: what is sealed, for whom it opens, what is declared; which designs cannot be carried."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Message, most_bytes
from blindmatch_protocol.codec.errors import DesignError, ProtocolError, SetFileError, UnopenedError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import Adversary, AnyDesign, ListKnowledge, Party, Request, Role
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.crypto import hpke
from blindmatch_protocol.designs import (
    carried_oprf_psi,
    carried_split_psi,
    carried_token_psi,
    oprf_psi,
    split_psi,
    token_psi,
)
from blindmatch_protocol.designs.carried import PREFIX, Carried, SealedReply, carried
from blindmatch_protocol.picture import pdq
from blindmatch_simulations.evaluation.conformance import Options, Verdict, check_design
from blindmatch_simulations.evaluation.conformance.declarations import check_egress
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.testbed.deployment.registry import (
    CARRIED,
    RegistryError,
    load_design,
    loader_of,
    portable_reference,
)
from blindmatch_simulations.testbed.inprocess.deployed import (
    Deployed,
    entry_id,
    opened,
    publish,
    run_session,
    update,
)
from blindmatch_simulations.testbed.inprocess.steps import sent, stops
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from blindmatch_simulations.testbed.pictures.pool import picture
from msgspec.structs import replace

ROOT = Path(__file__).parents[2]
ROWS = {
    "carried-oprf-psi": (carried_oprf_psi.DESIGN, oprf_psi.DESIGN),
    "carried-token-psi": (carried_token_psi.DESIGN, token_psi.DESIGN),
    "carried-split-psi": (carried_split_psi.DESIGN, split_psi.DESIGN),
}
PROVIDER = frozenset({Party.PROVIDER})
ITEM = picture(1)


def deployed(design: AnyDesign, epoch: int = 1, purpose: str = "carried") -> Deployed:
    return opened(publish(design, listed(), seeded(purpose), epoch))


def listed() -> Any:
    return pdq.rows([picture(number).hash for number in range(1, 9)])


def first(made: Deployed, purpose: str = "ask") -> Mapping[Role, Message]:
    return sent(made, ITEM, seeded(purpose))


@pytest.mark.parametrize("name", ROWS)
def test_a_carried_design_finds_what_its_own_does_in_a_few_bytes_more(name: str) -> None:
    design, inner = ROWS[name]
    mine = deployed(design)
    theirs = deployed(inner)
    assert type(run_session(mine, ITEM, seeded("a")).outcome) is bm.Match
    assert type(run_session(mine, picture(99), seeded("a")).outcome) is bm.NoMatch
    (stop,) = stops(mine, ITEM, seeded("b"))
    (plain,) = stops(theirs, ITEM, seeded("b"))
    for role in design.info.roles:
        more = len(stop.bodies[role].encode()) - len(plain.bodies[role].encode())
        assert (more, len(stop.replies[role].encode()) - len(plain.replies[role].encode())) == (53, 37)


@pytest.mark.parametrize("name", ROWS)
def test_no_role_alone_is_told_whose_a_request_is(name: str) -> None:
    design, inner = ROWS[name]
    for party in design.info.roles.values():
        for how in Adversary:
            facts = {one.name: one for one in told(design, frozenset({party}), how)}
            before = {one.name for one in told(inner, frozenset({party}), how)}
            assert facts.keys() == before and not facts.keys() & {"account", "address", "match_time"}
            assert "somebody" in facts["query_time"].says
            joined = {one.name for one in told(design, frozenset({party}) | PROVIDER, how)}
            assert "account" in joined
            assert "match_time" in {one.name for one in told(design, frozenset({party, Party.CENTRE}), how)}


def test_the_carrier_is_told_what_the_set_up_says_and_cheating_what_it_asks() -> None:
    semi, bad = (
        {one.name for one in told(carried_oprf_psi.DESIGN, PROVIDER, how)}
        for how in (Adversary.SEMI_HONEST, Adversary.MALICIOUS)
    )
    assert semi == {"query_time", "set_size", "delta_sizes"} and bad == semi | {"any_hash"}
    assert carried_oprf_psi.DESIGN.list_knowledge(PROVIDER) is ListKnowledge.SIZE


def test_a_request_opens_for_its_role_and_epoch_alone() -> None:
    made = deployed(carried_split_psi.DESIGN)
    later = deployed(carried_split_psi.DESIGN, 2)
    stolen = replace(later.states["party_a"], key=made.states["party_a"].key)  # type: ignore[index]
    body = first(made)["party_a"]  # type: ignore[index]
    design = made.design
    assert design.unsealed("party_a", made.states["party_a"], body).encode()[0] == 0x58  # type: ignore
    for role, state in (
        ("party_b", made.states),
        ("party_a", later.states),
        ("party_a", {"party_a": stolen}),
    ):
        with pytest.raises(ProtocolError, match="must be sealed to"):
            design.unsealed(role, state[role], body)  # type: ignore


def test_two_replies_to_one_request_share_no_key_stream() -> None:
    made = deployed(carried_oprf_psi.DESIGN)
    design = made.design
    role = Role("matcher")
    state = made.states[Role("matcher")]
    asked = Request(first(made)[role])
    one, other = design.answer(role, state, [asked, asked], seeded("answers"), None).replies
    assert isinstance(one, SealedReply) and isinstance(other, SealedReply)
    assert one.sealed[:16] != other.sealed[:16]
    alike = [a == b for a, b in zip(one.sealed[16:], other.sealed[16:], strict=True)]
    assert sum(alike) < 12  # their plaintexts have 41 bytes in common
    opened_by = design.unsealed(role, state, asked.body)
    inner = oprf_psi.DESIGN.answer(role, state.inner, [Request(opened_by)] * 2, seeded("in"), None).replies
    assert isinstance(inner[0], Message) and isinstance(inner[1], Message)
    assert inner[0].encode()[:40] == inner[1].encode()[:40] and inner[0] != inner[1]


def test_a_reply_of_another_session_or_altered_is_unopened_and_blames_nobody() -> None:
    made = deployed(carried_oprf_psi.DESIGN)
    (stop,) = stops(made, ITEM, seeded("one"))
    (foreign,) = stops(made, ITEM, seeded("two"))
    role = Role("matcher")
    flipped = bytearray(stop.replies[role].encode())
    flipped[-1] ^= 1
    for reply in (foreign.replies[role], SealedReply.decode(bytes(flipped))):
        with pytest.raises(UnopenedError):
            made.design.receive(stop.session, made.setup, {role: reply}, seeded("r"))
    assert not made.design.info.distrusts


def test_an_update_seals_to_new_keys() -> None:
    build = publish(carried_token_psi.DESIGN, listed(), seeded("p"))
    later = opened(update(build, listed()[:0], [entry_id(2)], seeded("u")))
    body = first(opened(build))[Role("matcher")]
    with pytest.raises(ProtocolError, match="for epoch 2"):
        later.design.unsealed(Role("matcher"), later.states[Role("matcher")], body)
    assert type(run_session(later, picture(3), seeded("a")).outcome) is bm.NoMatch
    assert type(run_session(later, picture(1), seeded("a")).outcome) is bm.Match


def test_a_role_file_that_is_not_the_set_ups_is_refused() -> None:
    one, other = (publish(carried_oprf_psi.DESIGN, listed(), seeded(name)) for name in "ab")
    own = f"{PREFIX}role-matcher.bin"
    with pytest.raises(SetFileError, match="not the key of"):
        opened(replace(one, files={**one.files, own: other.files[own]}))


def test_accounts_are_counted_at_the_carrier_and_the_carrier_at_the_role() -> None:
    made = deployed(carried_token_psi.DESIGN)
    role = Role("matcher")
    at_role = made.design.key_limits(role, made.states[role])
    at_carrier = made.design.carrier_limits(role, made.setup)
    assert at_role is not None and at_carrier is not None
    assert (at_role.per_account, at_role.in_all) == (None, 1 << 24)
    assert (at_carrier.per_account, at_carrier.cost, at_carrier.key) == (1 << 20, 160, at_role.key)


class Forgetful(token_psi.TokenPsi):
    """A plug-in whose accounts a carrier would not count."""

    def carrier_limits(self, role: Role, setup: Any) -> None:
        return None


def test_a_design_whose_accounts_nobody_would_count_is_refused() -> None:
    with pytest.raises(SetFileError, match="accounts are limited, and not at a carrier"):
        deployed(carried(Forgetful()))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("he-hamming", "accounts enrol at its roles, each body is computed with one account's keys"),
        ("device-list", "devices ask nobody"),
        ("third-party", "forwarded already"),
        ("enclave", "the provider plays a role"),
        ("provider-scan", "the provider plays a role"),
        ("carried-oprf-psi", "forwarded already"),
    ],
)
def test_what_cannot_be_carried_says_why(name: str, why: str) -> None:
    with pytest.raises(RegistryError, match=f"{name} cannot be carried: .*{why}"):
        load_design(f"{CARRIED}{name}")
    with pytest.raises(DesignError, match="cannot be carried"):
        carried(load_design(name))


def test_any_plug_in_is_carried_by_naming_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CARRIED == PREFIX
    reference = f"{CARRIED}{(ROOT / 'examples' / 'exact_upload.py').resolve()}:DESIGN"
    design = load_design(reference)
    assert design.info.name == "carried-exact-upload" and design is load_design(reference)
    assert loader_of(design)() is design and load_design("carried-hash-upload").info.forwarded
    monkeypatch.chdir(ROOT / "examples")
    assert portable_reference("carried-exact_upload.py:DESIGN") == reference
    report = check_design(design, Options(only=["outcomes", "hostile requests", "list knowledge", "replays"]))
    assert {one.verdict for one in report.results} == {Verdict.PASSED}


class Secretive(Carried):
    """Says that its carrier, who serves the set-up, stores nothing of the list."""

    def list_knowledge(self, parties: frozenset[Party]) -> ListKnowledge:
        return self.inner.list_knowledge(parties)


class OneNonce(Carried):
    """Seals every reply to a request under one key, as `hpke.seal_reply` would."""

    def answer(self, role: Role, state: Any, requests: Any, rng: Randomness, executor: Any) -> Any:
        nonces = iter([bytes(hpke.ANSWER_NONCE_BYTES)] * len(requests))
        drawn = Randomness(lambda count: next(nonces, None) or rng.take(count))
        return super().answer(role, state, requests, drawn, executor)


class SaysQuality(oprf_psi.OprfPsi):
    """Says the picture's quality where the epoch should be; a seal hides it from everybody but the role."""

    def start(self, state: Any, setup: Any, item: Any, binding: Any, rng: Randomness) -> Any:
        begun = super().start(state, setup, item, binding, rng)
        bodies = {
            r: replace(b, epoch=setup.epoch + (item.quality < 50)) for r, b in begun.step.bodies.items()
        }
        return bm.Started(begun.state, bm.Send(begun.step.session, bodies))

    def answer(self, role: Role, state: Any, requests: Any, rng: Randomness, executor: Any) -> Any:
        right = [Request(replace(one.body, epoch=state.epoch)) for one in requests]
        return super().answer(role, state, right, rng, executor)


def cheating(kind: type[Carried]) -> AnyDesign:
    """The row with a class of its own."""
    made = carried(oprf_psi.OprfPsi())
    made.__class__ = type("Cheat", (kind, type(made)), {})
    return made


@pytest.mark.parametrize(
    ("design", "check"),
    [
        (cheating(Secretive), "list knowledge"),
        (cheating(OneNonce), "replays"),
        (carried(SaysQuality()), "egress"),
        pytest.param(carried(SaysQuality()), "games", marks=pytest.mark.slow),
    ],
    ids=["carrier's files", "one key stream", "bytes inside the seal", "games inside the seal"],
)
def test_conformance_looks_inside_seals_and_at_what_the_carrier_has(design: AnyDesign, check: str) -> None:
    (result,) = check_design(design, Options(only=[check], runs=(24, 24))).results
    assert result.verdict is Verdict.FAILED, result.reason
    (honest,) = check_design(carried(oprf_psi.DESIGN), Options(only=[check], runs=(24, 24))).results
    assert honest.verdict is Verdict.PASSED, honest.reason


def test_a_body_longer_than_any_of_the_design_is_refused_unopened() -> None:
    made = deployed(carried_oprf_psi.DESIGN)
    role = Role("matcher")
    long = bytes(most_bytes(*oprf_psi.DESIGN.requests[Role("matcher")]) + 1)
    body = made.design.requests[role][0](long + bytes(hpke.OVERHEAD))  # type: ignore[call-arg]
    with pytest.raises(ProtocolError, match="must be sealed to matcher for epoch 1"):
        made.answer(role, body, seeded("long"))


def test_a_device_that_stopped_asking_would_soon_be_named_by_who_stops() -> None:
    """Of n accounts, each off by itself in a period with probability p, as many as 1 + Bin(n - 1, p) are off
    as often as the one; it is guessed among them with the mean of one over that."""
    named = [(1 - (1 - p) ** 1000) / (1000 * p) for p in (0.01, 0.01**2, 0.01**3)]
    assert [round(one, 2) for one in named] == [0.1, 0.95, 1.0]


def test_the_audit_reads_what_was_sealed_to_a_role() -> None:
    with pytest.raises(BrokenError, match="undeclared bytes to matcher"):
        check_egress(Fixtures(carried(SaysQuality()), runs=(8, 8)))
    assert "compared" in check_egress(Fixtures(carried_oprf_psi.DESIGN, runs=(8, 8))).figures
