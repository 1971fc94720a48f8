"""An attack of your own, played against every design whose replies are bound to a key in the set-up.

The matcher answers a picture with its reply to an earlier one. A device that takes such a reply, and finds
nothing in it, would be told that a listed picture is not listed.
"""

from blindmatch_protocol import contract as bm
from blindmatch_protocol.crypto import dleq
from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import attack
from blindmatch_simulations.evaluation.attacks.figure import counted
from blindmatch_simulations.testbed.inprocess.steps import deliver, stops
from blindmatch_simulations.testbed.pictures.pool import HashOnly


@attack(
    "earlier-reply",
    Means(frozenset({bm.Party.MATCHER}), has="its replies to earlier pictures"),
    Claim("a reply to another picture is refused"),
    budget="one reply to each of 8 pictures",
    # With this planted the attack must succeed. An attack without a weakness is declared to succeed.
    weakness=replacing((dleq, "verify_proof", lambda *_, **__: None)),
    needs=(needs.BOUND,),
    exposes="that an outcome is the picture's own",
    left=Left.REFUSED,
)
def earlier_reply(arena):
    """Count the replies to an earlier picture that are taken."""
    listed = arena.hashes(8, "listed")
    deployed = arena.deployed(listed, "set")
    earlier = stops(deployed, HashOnly(listed[0].tobytes()), arena.rng("earlier"))
    taken = []
    for row in arena.each(arena.hashes(8, "others")):
        session = stops(deployed, HashOnly(row.tobytes()), arena.rng("later"))
        for before, stop in zip(earlier, session, strict=False):
            for role, reply in before.replies.items():
                step = deliver(deployed, stop, role, reply.encode(), arena.rng("receive"))
                taken.append(step is not None)
    return counted("replies taken", {"of an earlier picture": (sum(taken), len(taken))})


ATTACKS = [earlier_reply]
