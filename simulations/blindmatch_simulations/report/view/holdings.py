"""What each party holds of an innocent picture: one tile for each, from what the design declares.

In:   a design's row of the results file.
Out:  tiles, the messenger's provider first, then whoever answers, then the centre.

Nothing here is written for a design by name. The declared facts of the semi-honest parties decide: which of
picture, hash and account a fact shows, and, where it shows the hash, whether it is all of the hash, a part of
it, or the numbers that it is made of. So a plug-in's design has tiles as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from blindmatch_protocol.contract import Adversary, Learner, Party, Severity, Shows
from blindmatch_protocol.designs.partial_hash import EVERY_FORM
from blindmatch_protocol.designs.prefix_bucket.design import PREFIX

from blindmatch_simulations.evaluation.assess.observed import Declared, Described, FactSeen
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.report.view.schema import Holds, Tile
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

OF_DESIGN: Final = "design"
SEALED: Final = "sealed"
FINER: Final = EVERY_FORM.says
"""What a fact says that gives away the numbers of which a hash is made."""
PARTIAL: Final = frozenset({PREFIX.says})
"""What facts say that give away a part of the hash. Any other fact that shows the hash shows all of it."""
OF_REPORTS: Final = frozenset({"match_time", "notice_time", "complaint_time", "complaint", "report"})
"""Facts of the messenger that concern a picture that matched."""
LOOKED: Final = "tightness"
"""The check that looks for more than is declared."""


def tiles_of(row: Measured) -> tuple[Tile, ...]:
    """Return what provider, servers and centre hold of a picture that matches nothing."""
    design = row.design
    parties = [Party.PROVIDER, *_answering(design), Party.CENTRE]
    looked = any(check.check == LOOKED and check.verdict == Verdict.PASSED for check in row.checks)
    checked = looked and not row.audit.undeclared_bytes
    return tuple(_tile(design, party, checked) for party in dict.fromkeys(parties))


def _answering(design: Described) -> list[str]:
    """Return who takes part besides device, provider and centre: by role, then by what the design
    declares."""
    declared = [
        one.parties[0] for one in design.declared if one.source == OF_DESIGN and len(one.parties) == 1
    ]
    known = {*map(str, (Party.DEVICE, Party.PROVIDER, Party.CENTRE))}
    return [party for party in sorted({*design.roles.values(), *declared}) if party not in known]


def _tile(design: Described, party: str, checked: bool) -> Tile:
    facts = list(facts_of_innocents(design, party))
    holds = _most_telling(design, party, facts)
    says = tuple(dict.fromkeys(fact.says for fact in facts))
    return Tile(str(party), holds, says, checked)


def facts_of_innocents(design: Described, party: str) -> Iterable[FactSeen]:
    """Yield what a semi-honest party learns alone of pictures that match nothing."""
    for leak in design.declared:
        if leak.parties == (str(party),) and leak.adversary == Adversary.SEMI_HONEST:
            yield from _of_innocents(design, leak)


def _of_innocents(design: Described, leak: Declared) -> Iterable[FactSeen]:
    is_asked = _takes_part(design, leak.parties[0])
    for fact in leak.facts:
        if leak.source != OF_DESIGN and (fact.name in OF_REPORTS or not is_asked):
            continue
        yield fact


def _takes_part(design: Described, party: str) -> bool:
    """Is the party asked about pictures, or does it carry messages? The messenger declares more parties."""
    vouches = party == Party.CENTRE and Learner.CENTRE in design.learns
    return party == Party.PROVIDER or party in design.roles.values() or vouches


def _most_telling(design: Described, party: str, facts: list[FactSeen]) -> Holds:
    shown = {thing for fact in facts for thing in fact.shows}
    hashes = {fact.says for fact in facts if Shows.HASH in fact.shows}
    is_asked = party in design.roles.values()
    if Shows.PICTURE in shown:
        return Holds.PICTURE
    if FINER in hashes:
        return Holds.FINER_LIKENESS
    if hashes - PARTIAL:
        return Holds.LIKENESS
    if design.content == SEALED and is_asked:
        return Holds.SEALED
    if hashes:
        return Holds.PART
    if party == Party.PROVIDER:
        return Holds.CIPHERTEXT
    if party == Party.CENTRE and not is_asked:
        return Holds.VOUCHER if Learner.CENTRE in design.learns else Holds.NOTHING
    if Shows.ACCOUNT in shown:
        return Holds.ACCOUNT
    return Holds.SOMEBODY if any(fact.severity == Severity.TIMES for fact in facts) else Holds.NOTHING
