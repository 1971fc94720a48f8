"""Tables of the threat model: what the messenger, and each design beyond it, discloses to whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from blindmatch_client.settings import (
    COMPLAINT_FACTS,
    FRANKING_FACTS,
    MATCH_TIME,
    MESSAGE,
    MESSENGER_FACTS,
    NOTICE_TIME,
    FailureMode,
    list_failure_facts,
)
from blindmatch_client.settings import OUTCOME as OUTCOME_FACT
from blindmatch_protocol.contract import Adversary, AnyDesign, Fact, Info, Party
from blindmatch_protocol.contract.design import coalitions, told
from blindmatch_protocol.messages.franking import FrankingMode

from support.declared import markdown_table, names_told


def of_messenger(info: Info) -> str:
    """What the messenger discloses, whatever the design, as a table; `info` is of any design that asks."""
    given = [
        *((party, "", fact) for party, facts in MESSENGER_FACTS.items() for fact in facts),
        *((Party.CENTRE, f"franking by `{mode}`", FRANKING_FACTS[mode]) for mode in FrankingMode),
        *((party, "without a cover schedule", MATCH_TIME) for party in (Party.CENTRE, Party.PROVIDER)),
        (Party.PROVIDER, "once the centre tells a user", NOTICE_TIME),
        *((party, "once a user complains", fact) for party, told in COMPLAINT_FACTS.items() for fact in told),
        (Party.PROVIDER, "without end-to-end encryption", MESSAGE),
        (Party.PROVIDER, "under the consequence `refuse`", OUTCOME_FACT),
        *_of_failures(info),
    ]
    rows = [
        (str(party), f"`{fact.name}`", str(fact.severity), when, fact.says) for party, when, fact in given
    ]
    return markdown_table(("party", "fact", "severity", "when", "what it says"), rows) + "\n"


def _of_failures(info: Info) -> Iterator[tuple[Party, str, Fact]]:
    """Whoever is asked and the provider, the modes in which each learns a fact once something fails, it."""
    told = {mode: list_failure_facts(mode, info) for mode in FailureMode}
    for party, fact in dict.fromkeys((p, f) for one in told.values() for p in one for f in one[p]):
        modes = ", ".join(f"`{mode}`" for mode in told if fact in told[mode].get(party, ()))
        yield party, f"once something fails, in mode {modes}", fact


def of_designs(designs: Iterable[AnyDesign]) -> str:
    """What each design discloses beyond that: who learns which facts, and what those say. A coalition is
    left out that learns what one of its members does."""
    rows = list[tuple[str, ...]]()
    said = dict[str, dict[str, str]]()
    for design in designs:
        name = design.info.name
        shown = {frozenset[Party](): ["nothing"] * len(Adversary)}
        for parties in (frozenset({Party.DEVICE}), *coalitions(design)):
            cells = [names_told(design, parties, adversary) for adversary in Adversary]
            if not any(part <= parties and each == cells for part, each in shown.items()):
                shown[parties] = cells
                rows.append((f"[`{name}`](../designs/{name}.md)", " with ".join(sorted(parties)), *cells))
            for kind in Adversary:
                for fact in told(design, parties, kind):
                    said.setdefault(fact.name, {}).setdefault(fact.says, name)
    facts = [
        (f"`{name}`", first if len(words) > 1 else "", says)
        for name, words in sorted(said.items())
        for says, first in words.items()
    ]
    who = markdown_table(("design", "who", "semi-honest", "malicious"), rows)
    return who + "\n\n" + markdown_table(("fact", "first of", "what it says"), facts) + "\n"
