"""How designs can be abused: what played attacks exposed, by actor, and what opens a list.

In:   rows of attacks; rows of the run with their declared facts and the capacity of their lists.
Out:  for each actor what was exposed, on which designs, who would notice and which file remains; a
      sentence on the worst of a design; the share of a list that modified phones open, by number of them.

An attack that concerns several designs alike is played against one of them; the others are named apart, as
designs on which it was not played.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from blindmatch_protocol.contract import Party, Severity, Topic
from msgspec import UNSET, UnsetType

from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.observed import FactSeen
from blindmatch_simulations.evaluation.assess.results import Measured
from blindmatch_simulations.evaluation.attacks.adversary import Actor, Left
from blindmatch_simulations.evaluation.attacks.needs import SAME
from blindmatch_simulations.evaluation.attacks.run import AttackRow, NotPlayed, Trace
from blindmatch_simulations.evaluation.studies.best_order import ALL_KINDS, FAR
from blindmatch_simulations.evaluation.studies.capacity_records import ANY, PHONES, How, OpenedShare
from blindmatch_simulations.measure.results import Status
from blindmatch_simulations.report.view.ledger import Ledger
from blindmatch_simulations.report.view.schema import Abuser, Evidence, Opening, Played, State

NO_FILE: Final = "no file remains"
NONE_PLAYED: Final = "none is declared by the design itself, and no attack on it was played in this run"
NONE_EXPOSED: Final = (
    "none is declared by the design itself, and the attacks that were played on it exposed nothing beyond "
    "what encryption alone allows"
)
NOBODY: Final = Left.NOTHING.notices
ONE_LIST: Final = "that everybody has one list"
"""What attacks on the log expose; a design without a list, or whose provider reads messages, has none to
split."""
BY_ASKING: Final = ("extraction", "pooled-extraction", "guessed-pairs", "first-questions")
"""Attacks that take a list by asking about guesses."""
OF_DESIGN: Final = "design"
STATES: Final = {str(How.MEASURED): State.MEASURED}
"""How a share was found decides how it is known; formulas and estimates are calculated."""


def abusers(rows: Sequence[AttackRow | NotPlayed], designs: Sequence[Measured]) -> tuple[Abuser, ...]:
    """Return the actors, those first whose attacks exposed most kinds of things."""
    played = [row for row in rows if isinstance(row, AttackRow) and not isinstance(row.trace, UnsetType)]
    listless = {row.id for row in designs if row.design.relation == "nothing" or not row.design.end_to_end}
    made = [_abuser(actor, played, _alike(rows, played, listless)) for actor in Actor]
    return tuple(sorted(made, key=lambda one: len(one.exposed), reverse=True))


def _alike(
    rows: Sequence[AttackRow | NotPlayed], played: Iterable[AttackRow], listless: Container[str]
) -> dict[str, list[str]]:
    """Return designs on which an attack was not played since it goes as on another, by attack."""
    splits = {row.id for row in played if _trace_of(row).exposes == ONE_LIST}
    alike: dict[str, list[str]] = {}
    for row in rows:
        design = design_of(row)
        if not isinstance(row, NotPlayed) or not row.why.startswith(SAME) or not design:
            continue
        if row.id not in splits or design not in listless:
            alike.setdefault(row.id, []).append(design)
    return alike


def design_of(row: AttackRow | NotPlayed) -> str:
    """Return the design that a row of an attack is about; nothing if it names none."""
    return str(row.parameters.get("design", ""))


def name_of(row: AttackRow | NotPlayed) -> str:
    """Return an attack's name in words."""
    names: dict[str, str] = committed("plain")["attacks"]
    return names.get(row.id, row.id)


def attacks_failed(rows: Iterable[AttackRow | NotPlayed]) -> tuple[str, ...]:
    """Return attacks that crashed on a design: nothing is known of them there."""
    crashed = (row for row in rows if isinstance(row, NotPlayed) and row.status == Status.FAILED)
    return tuple(f"{name_of(row)}, on {design_of(row) or 'a design that is not named'}" for row in crashed)


def _trace_of(row: AttackRow) -> Trace:
    assert not isinstance(row.trace, UnsetType)
    return row.trace


@dataclass
class _Found:
    """Attacks that exposed one thing, and designs; dictionaries keep the order and each name once."""

    attacks: dict[str, None] = field(default_factory=dict)
    designs: dict[str, None] = field(default_factory=dict)
    alike: dict[str, None] = field(default_factory=dict)


def _abuser(actor: Actor, played: Iterable[AttackRow], alike: dict[str, list[str]]) -> Abuser:
    exposed: dict[tuple[str, str, str], _Found] = {}
    as_encrypted: dict[str, None] = {}
    withstood: dict[str, None] = {}
    for row in played:
        trace = _trace_of(row)
        if actor not in trace.actors:
            continue
        if not row.succeeded:
            withstood[name_of(row)] = None
            continue
        if not trace.beyond_e2ee:
            as_encrypted[name_of(row)] = None
            continue
        proof = NO_FILE if trace.proof is None else f"{trace.proof.file}, held by {trace.proof.to}"
        found = exposed.setdefault((trace.exposes, trace.notices, proof), _Found())
        found.attacks[name_of(row)] = None
        found.designs[design_of(row)] = None
        found.alike |= dict.fromkeys(alike.get(row.id, ()))
    things = [
        Played(
            exposes,
            tuple(found.attacks),
            tuple(found.designs),
            tuple(design for design in found.alike if design not in found.designs),
            notices,
            proof,
        )
        for (exposes, notices, proof), found in exposed.items()
    ]
    things.sort(key=lambda thing: (thing.notices != NOBODY, -len(thing.designs), -len(thing.alike)))
    succeeded = {attack for thing in things for attack in thing.attacks} | set(as_encrypted)
    return Abuser(
        str(actor),
        tuple(things),
        tuple(as_encrypted),
        tuple(name for name in withstood if name not in succeeded),
    )


def worst_of(row: Measured, attacks: Sequence[AttackRow | NotPlayed]) -> str:
    """Say the worst misuse that a design declares of itself, but for reading messages; if it declares none,
    what a played attack of others than users exposed; by whom, and who would notice."""
    declared = [
        (fact, " with ".join(leak.parties))
        for leak in row.design.declared
        for fact in leak.facts
        if fact.abuse and fact.topic not in (None, Topic.READ) and leak.source == OF_DESIGN
    ]
    if declared:
        fact, by = min(declared, key=lambda one: (*_rank(one[0]), len(one[1])))
        return f"{by}: {fact.abuse}; who would notice: {fact.noticed_by or NOBODY} (declared)"
    played = [one for one in attacks if isinstance(one, AttackRow) and design_of(one) == row.id]
    exposed = [one for one in played if _is_exposed_by(one)]
    if exposed:
        worst = min(exposed, key=lambda one: (_trace_of(one).notices != NOBODY, -len(_trace_of(one).actors)))
        trace = _trace_of(worst)
        by = " with ".join(worst.adversary.parties)
        return f"{by}: {trace.exposes}; who would notice: {trace.notices} (played)"
    return NONE_PLAYED if not played else NONE_EXPOSED


def _is_exposed_by(attack: AttackRow) -> bool:
    """Did an attack expose more than encryption alone allows, to others than a design's users?"""
    if isinstance(attack.trace, UnsetType):
        return False
    return attack.succeeded and attack.trace.beyond_e2ee and Party.DEVICE not in attack.adversary.parties


def _rank(fact: FactSeen) -> tuple[int, bool]:
    """Order facts: the most severe first, of these one that nobody would notice."""
    return list(Severity).index(fact.severity), bool(fact.noticed_by) and fact.noticed_by != NOBODY


def opened_by_asking(rows: Iterable[AttackRow | NotPlayed]) -> tuple[str, ...]:
    """Return the designs of whose list a played attack opened a part by asking."""
    opened = (row for row in rows if isinstance(row, AttackRow) and row.id in BY_ASKING and row.succeeded)
    return tuple(dict.fromkeys(map(design_of, opened)))


def openings(rows: Iterable[Measured], ledger: Ledger) -> tuple[Opening, ...]:
    """Return what modified phones open of each list in a year, of entries that resemble nothing they have."""
    made = []
    for row in rows:
        capacity = row.capacity
        if capacity is UNSET:
            continue
        keys = {}
        for phones in PHONES:
            found = capacity.find(phones, ALL_KINDS, FAR) or capacity.find(phones, ANY, ANY)
            if found is not None:
                keys[str(phones)] = ledger.add(f"opened/{row.id}/{phones}", _opened(row, phones, found))
        made.append(Opening(row.id, keys, capacity.says))
    return tuple(made)


def _opened(row: Measured, phones: int, found: OpenedShare) -> Evidence:
    details: dict[str, Any] = {
        "why": found.why or found.how,
        "n": found.n,
        "low": found.low,
        "high": found.high,
    }
    return Evidence(
        title=f"List opened in a year by modified phones, {phones:,} of them",
        state=STATES.get(found.how, State.CALCULATED) if found.share is not None else State.NOT_MEASURED,
        value=found.share,
        unit="share of the list",
        interval="95 % interval" if found.low is not None else "",
        source=(f"results.json: rows, {row.id}, capacity",),
        **details,
    )
