"""Facts that follow from what is sent, and so must be declared to whoever gets it.

    query_time  a request for every picture says that, and when, an account sent one
    enrolment   what a role holds of an account says which one a picture is of
    epoch       a field that is the epoch of the device's set-up, in two epochs, says which one it holds

A fact counts by its name or by the last part of it (``my.epoch``).
"""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.contract import Adversary, Party

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.conformance.leakage.facts import declared
from blindmatch_simulations.conformance.settings import lowered
from blindmatch_simulations.inprocess.deployed import Deployed, opened, publish, run_session
from blindmatch_simulations.inprocess.fields import fields_of
from blindmatch_simulations.inprocess.verdict import BrokenError, NotApplicableError, Passed

QUERY_TIME: Final = "query_time"
ENROLMENT: Final = "enrolment"
EPOCH: Final = "epoch"
EPOCHS: Final = (11, 300_007)
"""Epochs that no other field is likely to be."""


def check_declarations(bench: Bench) -> Passed:
    """Every party that gets a request is declared to learn what any request says."""
    if not bench.design.info.roles:
        raise NotApplicableError("the design asks nobody")
    follows = {party: _follows(bench, party) for party in sorted(bench.design.info.parties)}
    for party, facts in follows.items():
        for adversary in Adversary:
            names = {
                fact.name.rpartition(".")[2] for fact in declared(bench.design, frozenset({party}), adversary)
            }
            for fact in facts:
                if fact not in names:
                    raise BrokenError(
                        "leakage", f"{fact} is not declared to a {adversary} {party}: {SAYS[fact]}"
                    )
    words = "; ".join(f"{party}: {', '.join(facts)}" for party, facts in follows.items())
    return Passed(f"what follows from a request is declared ({words})")


SAYS: Final = {
    QUERY_TIME: "it gets a request for a picture",
    ENROLMENT: "it holds what the account enrolled with",
    EPOCH: "a field of its requests is the epoch of the device's set-up",
}


def _follows(bench: Bench, party: Party) -> list[str]:
    """Names of the facts that follow from the requests a party gets."""
    bodies = [_numbers(bench, party, epoch) for epoch in EPOCHS]
    if not all(bodies):
        return []
    told = all(any(value == epoch for _, value in found) for epoch, found in zip(EPOCHS, bodies, strict=True))
    holds = any(bench.design.info.roles[role] == party for role in bench.design.enrolments)
    return [QUERY_TIME, *([EPOCH] if told else []), *([ENROLMENT] if holds else [])]


def _numbers(bench: Bench, party: Party, epoch: int) -> set[tuple[str, int]]:
    """Fields, as numbers, of what the party gets for a picture of an epoch; and one that says it got it."""
    deployed, roles = _of_epoch(bench, epoch), bench.design.info.seen_by(party)
    ran = run_session(deployed, bench.pool.of("other")[0].item, bench.rng(f"declarations/{epoch}"))
    found: set[tuple[str, int]] = set()
    for asked in (part for step in ran.rounds for part in step if part.role in roles):
        found.add(("", -1))
        for path, value in fields_of(asked.body):
            found |= {(path, number) for number in _read(value)}
    return found


def _read(value: object) -> list[int]:
    """A field as a number; one of bytes in both orders."""
    if isinstance(value, bytes):
        return [int.from_bytes(value, "big"), int.from_bytes(value, "little")]
    return [value] if isinstance(value, int) else []


def _of_epoch(bench: Bench, epoch: int) -> Deployed:
    entries = bench.pool.entries
    return opened(publish(bench.design, entries, bench.rng("declarations"), epoch, lowered(bench)))
