"""A relay hands a device a message in the clear, as a deployment without end-to-end encryption would.

If the device showed it, whoever runs the relay could write in anybody's name; and it would be a step towards
having devices answer in the clear, too.
"""

from __future__ import annotations

from typing import Any, Final

from blindmatch_client.egress import Call
from blindmatch_client.receiving import Receiver
from blindmatch_protocol.clear_message import ClearMessage
from blindmatch_protocol.content import compose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_simulations.attacks.adversary import Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena, attack
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.loopback import loopback

FORGED: Final = "never written by alice"
WAIT_MS: Final = 200


@attack(
    "downgrade",
    Means(frozenset({Party.PROVIDER}), has="every delivery"),
    Claim("each side refuses the other kind", "docs/designs/provider-scan.md"),
    budget="one message",
    weakness=replacing(
        (Receiver, "_content", lambda self, account, delivery: ClearMessage.decode(delivery.clear).content)
    ),
    against={"oprf-psi"},
)
def downgrade(arena: Arena) -> Figure:
    """Count the messages in the clear that a device shows."""
    body = ClearMessage(compose(FORGED, (), 1, arena.rng("content"))).encode()

    def in_clear(call: Call[Any, Any], request: Any, reply: Any) -> Any:
        if not isinstance(reply, pb.Delivery):
            return reply
        return pb.Delivery(sequence=reply.sequence, sender=reply.sender, accepted_at_ms=1, clear=body)

    with loopback(arena) as held:
        bob, alice = held.device("bob", in_clear), held.device("alice")
        alice.device.send_text("bob", "hello")
        shown = [message.text == FORGED for message in bob.device.receive(WAIT_MS)]
        arena.progress(1, 1)
    return counted("messages shown", {"in the clear": (sum(shown), len(shown))})
