"""A modified device sends a listed picture without having it matched; nobody can tell."""

from __future__ import annotations

from typing import Any, Final

from blindmatch_client.egress import Call
from blindmatch_client.egress.methods import EXCHANGE, EXCHANGE_LARGE
from blindmatch_client.errors import ServiceUnavailableError
from blindmatch_client.failure import FailureMode
from blindmatch_protocol.contract import Party

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.loopback import drawn, loopback
from blindmatch_simulations.deployment.operators import centre_list

PICTURES: Final = 3
WAIT_MS: Final = 200


def _no_answer(call: Call[Any, Any], request: Any, reply: Any) -> Any:
    """What mallory's device does with the matcher's replies: it looks at none."""
    if call.method in (EXCHANGE, EXCHANGE_LARGE):
        raise ServiceUnavailableError(Party.MATCHER, "is not listened to")
    return reply


def run(arena: Arena) -> Figure:
    """Count the listed pictures that arrive without a report."""
    listed = [drawn(number) for number in range(PICTURES)]
    with loopback(arena, listed) as held:
        bob = held.device("bob")
        mallory = held.device("mallory", _no_answer, mode=FailureMode.SEND_UNMATCHED)
        for picture in arena.each(listed):
            mallory.device.send_picture("bob", picture)
        arrived = [one for message in bob.device.receive(WAIT_MS) for one in message.pictures]
        reports = len(centre_list(held.deployment).reports)
    return counted("pictures unmatched", {"delivered": (len(arrived) - reports, PICTURES)})


ATTACK: Final = Adversary(
    name="unmatched",
    means=Means(frozenset({Party.DEVICE}), has="a modified device"),
    claim=Claim("whoever changes it sends what they like unmatched, and nobody can tell"),
    budget=f"{PICTURES} listed pictures",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"oprf-psi", "token-psi", "split-psi", "prefix-bucket"}),
)
