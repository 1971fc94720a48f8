"""Evidence by key, as views take it down, and sentences whose numbers each name one.

A sentence is written with the keys of its numbers in braces,

    "Of {found} of 100 known files sent …"

and a digit outside braces is refused, but for the names of options and the 100 of "of 100": so no number is
shown that does not open what it stands on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from blindmatch_simulations.evaluation.assess.judging import DISTURBED, NOTHING
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.report.view.schema import Evidence, Sentence, Shown, State

_KEY: Final = re.compile(r"\{([^{}]+)\}")
_FREE: Final = re.compile(r"\b[0-3][a-d]\b|\b[Oo]f 100\b")
"""Words with digits that are no figures: the eleven options, and the denominator that all views share."""


class SentenceError(ValueError):
    """A sentence shows a number that has no evidence."""


class Ledger:
    """Collects evidence while views are made."""

    def __init__(self) -> None:
        self._held: dict[str, Evidence] = {}

    def add(self, key: str, evidence: Evidence) -> str:
        """Take evidence down and return its key.

        Raises:
            ValueError: The key names other evidence already.
        """
        if self._held.setdefault(key, evidence) != evidence:
            raise ValueError(f"{key}: names two different figures")
        return key

    def add_figure(self, key: str, title: str, figure: Figure, source: str, interval: str = "") -> str:
        """Take down a figure of a results file, or why there is none."""
        return self.add(key, evidence_of(title, figure, source, interval))

    def held(self) -> dict[str, Evidence]:
        """Return all that was taken down, by key."""
        return dict(sorted(self._held.items()))

    def __getitem__(self, key: str) -> Evidence:
        return self._held[key]

    def sentence(self, words: str, shown: Mapping[str, tuple[str, Callable[[Evidence], str]]]) -> Sentence:
        """Make a sentence of words with names in braces; `shown` has each name's key and how it is written.

        Raises:
            SentenceError: A digit stands outside braces, or a name has no evidence.
        """
        parts: list[str | Shown] = []
        for at, part in enumerate(_KEY.split(words)):
            if at % 2 == 0:
                if re.search(r"\d", _FREE.sub("", part)):
                    raise SentenceError(f"a number without evidence: {part!r}")
                if part:
                    parts.append(part)
                continue
            if part not in shown or shown[part][0] not in self._held:
                raise SentenceError(f"no evidence for {{{part}}}")
            key, write = shown[part]
            parts.append(Shown(write(self._held[key]), key))
        return tuple(parts)


def evidence_of(title: str, figure: Figure, source: str, interval: str = "") -> Evidence:
    """Return the evidence that a figure of a results file is, or why there is none."""
    state = State.MEASURED
    if figure.value is None:
        state = State.NOT_APPLICABLE if figure.why.startswith(NOTHING) else State.NOT_MEASURED
    return Evidence(
        title=title,
        state=state,
        value=figure.value,
        low=figure.low,
        high=figure.high,
        interval=interval,
        unit=figure.unit,
        n=figure.n,
        disturbed=figure.why.startswith(DISTURBED),
        why=figure.why,
        source=(source,),
    )
