"""A round of which some roles do not answer: enough without them where the design declares a quorum."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from blindmatch_client.egress import Call
from blindmatch_client.errors import MisbehavedError, ServiceError
from blindmatch_client.matching.detector import MatchingExchange
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Party, Role
from blindmatch_protocol.designs import split_psi
from blindmatch_protocol.group import multiply_base, random_scalars
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

ELEMENTS = multiply_base(random_scalars(1, seeded("element")))
REPLY = split_psi.Reply(1, ELEMENTS, bytes(64)).encode()


class Answering:
    """An egress where some parties cannot be reached, and some answer nonsense."""

    def __init__(
        self, down: set[str], lying: frozenset[str] = frozenset(), broken: frozenset[str] = frozenset()
    ) -> None:
        self.down = down
        self.lying = lying
        self.broken = broken

    def unary(self, call: Call, asked: Any) -> pb.Envelope:
        if call.party in self.down:
            raise ServiceError(Party(call.party), "cannot be reached")
        if call.party in self.broken:
            raise MisbehavedError(Party(call.party), "not an Envelope")
        reply = pb.Envelope(design=asked.design, version=asked.version, epoch=asked.epoch, role=asked.role)
        reply.body = b"?" if call.party in self.lying else REPLY
        return reply


def asked(design: AnyDesign, egress: Answering) -> set[Role]:
    """Whose replies came."""
    body = split_psi.Request(1, ELEMENTS)
    exchange = MatchingExchange(egress, design, 1, 0)  # type: ignore[arg-type]
    return set(exchange(dict.fromkeys(design.info.roles, body)))


def test_any_two_of_three_are_enough_and_one_is_not() -> None:
    design = split_psi.ANY_TWO_PSI
    roles = set(design.info.roles)
    assert asked(design, Answering(set())) == roles
    for role in roles:
        assert asked(design, Answering({role})) == roles - {role}
    for pair in combinations(sorted(roles), 2):
        with pytest.raises(ServiceError, match=pair[0]):
            asked(design, Answering(set(pair)))


def test_without_a_quorum_every_role_must_answer_and_who_does_not_is_named() -> None:
    for role in split_psi.DESIGN.info.roles:
        with pytest.raises(ServiceError, match=role):
            asked(split_psi.DESIGN, Answering({role}))


def test_a_role_that_answers_nonsense_is_not_passed_over() -> None:
    with pytest.raises(ProtocolError, match="party_c"):
        asked(split_psi.ANY_TWO_PSI, Answering(set(), frozenset({"party_c"})))


def test_a_party_that_breaks_the_wire_interface_is_not_passed_over_either() -> None:
    for down in (set[str](), {"party_a"}):
        with pytest.raises(MisbehavedError, match="party_c"):
            asked(split_psi.ANY_TWO_PSI, Answering(down, broken=frozenset({"party_c"})))
