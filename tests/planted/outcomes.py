"""Matches of the right hash that a centre refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from blindmatch_protocol import contract as bm
from msgspec.structs import replace

from planted import Planted
from planted.mutations.hooks import Psi, Upload, variant


def altered(how: Callable[[bm.Label], bm.Label]) -> type[Psi]:
    """Matches with other labels."""

    def ended(self: Any, outcome: bm.Outcome, session: Any) -> bm.Outcome:
        return bm.Match(how(outcome.label)) if isinstance(outcome, bm.Match) else outcome

    return variant(Psi, ended=ended)


class ToldAnother(Upload):
    """The server learns of an entry with another number."""

    def answered(self, state: Any, requests: Any, answer: bm.Answer) -> bm.Answer:
        told = [
            bm.Verdict(replace(one.label, entry_id=1)) if one is not None and one.label is not None else one
            for one in answer.verdicts
        ]
        return bm.Answer(answer.replies, told)


CHEATS = (
    Planted(
        "another id", altered(lambda one: replace(one, entry_id=one.entry_id ^ 1)), "outcomes", "outcome"
    ),
    Planted("a salt of its own", altered(lambda one: replace(one, salt=bytes(16))), "outcomes", "outcome"),
    Planted("an epoch that is over", altered(lambda one: replace(one, last_epoch=0)), "outcomes", "outcome"),
    Planted("a server is told another id", ToldAnother, "outcomes", "verdict"),
)
