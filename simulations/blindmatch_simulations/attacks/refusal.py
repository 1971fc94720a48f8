"""Somebody sends edits of a listed picture from a device that refuses what matches, until one goes through.

The refusal is all they need: it comes at once, for every edit, and no server ever hears of those that were
refused. Nothing is reported.
"""

from __future__ import annotations

from typing import Final

from blindmatch_client.consequence import Consequence
from blindmatch_protocol.contract import Party

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena, AttackError
from blindmatch_simulations.attacks.budget import distortion
from blindmatch_simulations.attacks.figure import Figure
from blindmatch_simulations.attacks.loopback import drawn, loopback
from blindmatch_simulations.deployment.device_settings import Options
from blindmatch_simulations.deployment.operators import centre_list
from blindmatch_simulations.pictures.edits import BY_NAME

EDITS: Final = ("identical", "jpeg-50", "resize-0.5", "caption", "crop-5%", "rotate-2", "flip")
"""The mildest first."""


def run(arena: Arena) -> Figure:
    """Count the edits that are told apart: the refused ones, and the first that is sent."""
    with loopback(arena, [drawn(1)]) as held:
        held.device("bob")
        mallory = held.device("mallory", options=Options(consequence=Consequence.REFUSE))
        before, refused, sent = len(mallory.recorder.records()), 0, 0
        for at, name in enumerate(EDITS, 1):
            arena.progress(at, len(EDITS))
            edited = BY_NAME[name].apply(drawn(1))
            if mallory.device.send_picture("bob", edited).delivered:
                arena.spending.distortion = distortion(name, [(drawn(1), edited)])
                sent = 1
                break
            refused += 1
            if len(mallory.recorder.records()) != before:
                raise AttackError("something left the device for a picture that was refused")
        if centre_list(held.deployment).reports:
            raise AttackError("a device that refuses reports")
    parts = {"edits refused": float(refused), "edits sent": float(sent)}
    return Figure("refusals before an edit is sent", float(refused), bool(sent), refused + sent, None, parts)


ATTACK: Final = Adversary(
    name="refusal-oracle",
    means=Means(frozenset({Party.DEVICE}), has="a device as it is sold, and a listed picture"),
    claim=Claim("each refusal tells the sender which edit still matches", "docs/designs/device-list.md"),
    budget=f"{len(EDITS)} edits of the standard suite",
    move=run,
    weakness=AS_BUILT,
    against=frozenset({"device-list"}),
)
