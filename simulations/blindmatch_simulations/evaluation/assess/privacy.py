"""What others get to know, in figures: bytes that nobody declared, games, and what stored files show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blindmatch_protocol.contract import ListKnowledge

from blindmatch_simulations.evaluation.assess.observed import Audited, Check, Observed
from blindmatch_simulations.evaluation.studies import hashes as depicted
from blindmatch_simulations.measure.intervals import number, resolution
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

GAMES: Final = ("games", "malicious games")
"""Checks that play for pictures, against all parties with a role."""
LIST_GAMES: Final = ("list games",)
"""The check that plays for lists, against a device."""
NOT_COMPARABLE: Final = "not comparable: no other picture agrees on all that is declared"


def privacy(seen: Observed, checks: Sequence[Check], why: str, nothing: str) -> dict[str, Figure]:
    """Its figures.

    Args:
        why: why not all, if not.
        nothing: why there is nothing to win in a game, if so.
    """
    return {
        "undeclared_bytes": _undeclared(seen.audit),
        "advantage": _advantage(checks, GAMES, why, nothing),
        "list_advantage": _advantage(checks, LIST_GAMES, why, nothing),
        "depicted": _depicted(seen),
    }


def _depicted(seen: Observed) -> Figure:
    """What can be rebuilt of a listed picture from stored files, and whose they are."""
    known = {one.parties: ListKnowledge(one.knowledge) for one in seen.design.list_known}
    have = sorted((who for who, what in known.items() if what >= ListKnowledge.HASHES), key=len)
    if not have:
        return Figure(0.0, "no stored file has a hash")
    holders = [" with ".join(who) for who in have if len(who) == len(have[0])]
    score = depicted.measured()["hash"]
    note = f"by whoever has the files of {' or '.join(holders)}; {score.chance:.2f} with another picture"
    return Figure(score.own, note, n=depicted.PICTURES)


def _undeclared(audit: Audited) -> Figure:
    if not audit.comparable:
        return Figure(None, NOT_COMPARABLE)
    return number(audit.undeclared_bytes, n=audit.pictures)


def _advantage(checks: Sequence[Check], games: Sequence[str], why: str, nothing: str) -> Figure:
    """The largest upper bound over all opponents of the `games` that were played, and what its runs show."""
    every = [check for check in checks if check.check in games]
    played = [check for check in every if check.verdict != Verdict.NOT_CHECKED]
    if any(check.verdict == "failed" for check in played):
        return Figure(1.0, "", n=len(played))
    if nothing:
        return Figure(None, nothing)
    found = [
        (float(one["interval"][1]), int(one["held_out_runs"]))
        for check in played
        for one in check.figures.values()
        if isinstance(one, dict) and "interval" in one
    ]
    if not found:
        words = "; ".join(f"{check.check}: {check.reason}" for check in every) or why
        return Figure(None, words or "the games were not played")
    note = "" if len(played) == len(games) else f"over the semi-honest games alone: {why}"
    high, runs = max(found)
    return Figure(high, note, n=runs, resolution=round(resolution(runs), 4))
