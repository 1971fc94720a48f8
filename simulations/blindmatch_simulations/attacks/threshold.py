"""Games with a threshold: an account would be looked at once so many of its matches are there.

    split-accounts  somebody with several accounts stays one below it with each
    pushed-over     somebody sends another account listed pictures and reports it for them, to lift it over

The testbed's centre has no threshold: each report counts. What is counted is what one would be applied to,
reports that pass by account.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final

from blindmatch_protocol.contract import Party
from blindmatch_server.authority import Identity, Kind

from blindmatch_simulations.attacks import framing
from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means
from blindmatch_simulations.attacks.arena import Arena, AttackError
from blindmatch_simulations.attacks.figure import Figure, counted
from blindmatch_simulations.attacks.framing import BOB, MALLORY, PASSED, PICTURE, Forgery, Reports, passed
from blindmatch_simulations.attacks.loopback import Loopback, drawn, loopback

THRESHOLD: Final = 3
ACCOUNTS: Final = 3


def split_accounts(arena: Arena) -> Figure:
    """Count the matches of accounts that do not come to the threshold."""
    each = THRESHOLD - 1
    with loopback(arena, [drawn(number) for number in range(each)]) as held:
        held.device(BOB)
        for at in arena.each(range(ACCOUNTS)):
            sender = held.device(f"{MALLORY}-{at}").device
            for number in range(each):
                sender.send_picture(BOB, drawn(number))
        counts = _counts(held)
    if sum(counts.values()) != ACCOUNTS * each:
        raise AttackError("a device's report of a listed picture did not pass")
    below = sum(count for count in counts.values() if count < THRESHOLD)
    return counted("matches below a threshold", {f"of {THRESHOLD}": (below, ACCOUNTS * each)})


def pushed_over(arena: Arena) -> Figure:
    """Count the matches that pass against the account that the pictures were sent to."""
    with loopback(arena, [drawn(PICTURE)]) as held:
        made, mallory = Reports(arena, held), held.of(MALLORY).watched.device
        for _ in range(THRESHOLD):
            mallory.send_picture(BOB, drawn(PICTURE))
        held.of(BOB).watched.device.receive(0)
        own = _counts(held)[BOB]
        submitter = Identity(Kind.DEVICE, MALLORY)
        forged = [Forgery(BOB, submitter, made.report(submitter, BOB, MALLORY)) for _ in range(THRESHOLD)]
        times, tries = passed(arena, held, forged)[BOB]
    return counted("matches against another", {"sent and reported": (times + own, tries)})


def _counts(held: Loopback) -> Counter[str]:
    """Reports that passed, by account."""
    return Counter(row.reporter for row in held.checked().reports if row.checks == PASSED)


PUSHED_OVER: Final = Adversary(
    name="pushed-over",
    means=Means(frozenset({Party.DEVICE}), has="listed pictures, and their labels"),
    claim=Claim("what others send an account does not count against it"),
    budget=f"{THRESHOLD} pictures, and as many reports",
    move=pushed_over,
    weakness=framing.ATTACK.weakness,
    against=frozenset({"oprf-psi"}),
)
SPLIT_ACCOUNTS: Final = replace(
    PUSHED_OVER,
    name="split-accounts",
    means=Means(frozenset({Party.DEVICE}), has=f"{ACCOUNTS} accounts"),
    claim=Claim("whoever has several accounts stays below any threshold of matches with each"),
    budget=f"{ACCOUNTS} accounts, {THRESHOLD - 1} listed pictures each",
    move=split_accounts,
    weakness=AS_BUILT,
)
