"""A device reports messages that the relay has not taken as the report says; the relay's stamp must show it.

forged        a stamp that was made up, on a message that never was, as sender and recipient can agree on
moved         the stamp of a true message of the device's own, on a picture that it never sent
to another    the same with another recipient
back-dated    a true stamp with an earlier time
replayed      one stamped message, reported again and again
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from blindmatch_proofs.verdict import Passed
from blindmatch_protocol.contract import Party
from blindmatch_server.authority import Identity, Kind
from blindmatch_server.centre import subjects, verify

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.framing import (
    ALICE,
    BOB,
    MALLORY,
    Forgery,
    Reports,
    but_the_first,
    passed,
)
from blindmatch_simulations.attacks.loopback import Loopback, drawn, loopback

PICTURE: Final = 1


def run(arena: Arena) -> Figure:
    """Count the reports that pass every check, by case."""
    with loopback(arena, [drawn(PICTURE)]) as held:
        cases = passed(arena, held, list(_forged(arena, held)))
    return counted("reports that passed", but_the_first(cases, "replayed"))


def _forged(arena: Arena, held: Loopback) -> Iterator[Forgery]:
    made, mallory, rng = Reports(arena, held), Identity(Kind.DEVICE, MALLORY), arena.rng("stamps")
    own = made.content()
    true = made.report(mallory, MALLORY, BOB, own)
    (stamp,) = true.stamp
    for _ in range(3):
        yield Forgery("replayed", mallory, replace(true, report_id=rng.take(16)))
    unsent = made.report(mallory, MALLORY, BOB)
    yield Forgery("forged", mallory, replace(unsent, stamp=(replace(stamp, mac=rng.take(32)),)))
    yield Forgery("moved", mallory, replace(made.report(mallory, MALLORY, BOB), stamp=(stamp,)))
    yield Forgery("to another", mallory, replace(made.report(mallory, MALLORY, ALICE), stamp=(stamp,)))
    dated = made.report(mallory, MALLORY, BOB)
    earlier = replace(dated.stamp[0], accepted_at_ms=dated.stamp[0].accepted_at_ms - 1)
    yield Forgery("back-dated", mallory, replace(dated, stamp=(earlier,)))


ATTACK: Final = Adversary(
    name="unsent-message",
    means=Means(frozenset({Party.DEVICE}), has="a listed picture, its label, an obliging recipient"),
    claim=Claim(
        "report a message that the relay has not taken, or another recipient, id or time than it took"
    ),
    budget="seven reports",
    move=run,
    weakness=replacing(
        (verify, "verify_stamp", lambda *_: Passed()),
        (subjects, "settle", lambda connection, report_id, assessment: assessment),
    ),
    against=frozenset({"oprf-psi", "token-psi"}),
)
