"""Towards whom a list is secret, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from blindmatch_protocol.contract import Adversary

from blindmatch_simulations.assess import severity
from blindmatch_simulations.assess.judging import LIST_GAMES, NO_MATCHES
from blindmatch_simulations.assess.observed import FactSeen
from blindmatch_simulations.assess.results import Measured, Results
from blindmatch_simulations.report import outside
from blindmatch_simulations.report.markup import mark, number, paragraph, section, table, text
from blindmatch_simulations.report.summary import measured

LISTS: Final = ("iwf_list", "iwf_list_2024", "ncmec_list")
CONSTANT: Final = 1000
"""Set-up bytes up to which a set-up holds no list, whatever its length."""


def secrecy_view(results: Results) -> str:
    """The view."""
    words = (
        "What a list is to whom, by the designs' own declarations. Whoever holds the list, or the key that "
        "the set was made with, can test any guess; the third column says if a design declares that, the "
        "fourth if conformance saw it. Whether a device tells apart two lists that agree on what is declared "
        "to it was played: no distinguisher in this suite exceeded the bound, others may."
    )
    head = (
        "design",
        "facts to a device",
        "facts about the list to servers",
        "two lists told apart",
        "set-up bytes an entry",
        "tries of accounts",
    )
    rows = [(text(one.design.name), *_cells(one)) for one in measured(results)]
    return section(
        "secrecy",
        "List secrecy and its cost",
        paragraph(words),
        table("List secrecy", head, rows),
        _sizes(results),
    )


def _cells(one: Measured) -> tuple[str, ...]:
    setup = one.figures["setup_bytes"].value
    each = text(_each(setup, one.entries))
    device = _listed(severity.told_to_devices(one.design))
    return device, _listed(_of_list(one)), text(_played(one)), each, text(_tries(one))


def _of_list(one: Measured) -> list[FactSeen]:
    """What servers are declared to learn of the list, and what nobody says the subject of."""
    told = [fact for kind in Adversary for fact in severity.told_to_servers(one.design, str(kind))]
    kinds = (severity.LIST, severity.UNDECLARED)
    return severity.by_severity(fact for fact in told if severity.kind_of(fact.name) in kinds)


def _played(one: Measured) -> str:
    """What the games over lists came to; who holds the list anyway is in their reason."""
    found = next((check for check in one.checks if check.check in LIST_GAMES), None)
    if found and found.verdict != "failed" and one.design.distance is None:
        return NO_MATCHES
    return f"{found.verdict}: {found.reason}" if found else f"not measured: {one.checks_why or 'not played'}"


def _each(setup: float | None, entries: int) -> str:
    """Set-up bytes by entry, or in all where they do not grow with the list."""
    if setup is None:
        return "not measured"
    return (
        number(setup / max(1, entries))
        if setup > CONSTANT
        else f"{number(setup)} in all: too few to hold the list"
    )


def _listed(facts: Sequence[FactSeen]) -> str:
    lines = "".join(f"<li><b>{text(fact.name)}</b>: {text(fact.says)}</li>" for fact in facts)
    return f"<ul>{lines}</ul>" if lines else "none declared"


def _tries(one: Measured) -> str:
    """How much a modified client may ask: by the limits of the design's key, or by the rate limit alone."""
    tries = one.figures["oracle_tries"].value or 0
    if not tries:
        return "0: a device learns no outcome"
    if one.key is None or one.key.in_all is None:
        return f"{number(tries)} pictures a day and account; all accounts together have no limit"
    account = one.key.per_account or one.key.in_all
    return (
        f"{number(account // one.key.cost)} pictures an account under one key, "
        f"{number(one.key.in_all // one.key.cost)} all accounts together"
    )


def _sizes(results: Results) -> str:
    known = outside.volumes()
    rows = []
    for ident in LISTS:
        row = known[ident]
        size = row.get("value") or max(row["values"].values())
        cells = [_setup_at(one, size) for one in measured(results)]
        rows.append((f"{text(row['source'])} ({number(size)} entries) {mark(row['provenance'])}", *cells))
    head = ["list", *(one.design.name for one in measured(results))]
    return table("Set-up bytes a device would fetch for known lists, in proportion to this run", head, rows)


def _setup_at(one: Measured, size: float) -> str:
    setup = one.figures["setup_bytes"].value
    if setup is None:
        return "not measured"
    return (
        number(round(setup / max(1, one.entries) * size / 2**20, 2)) + " MiB"
        if setup > CONSTANT
        else f"{number(setup)} bytes"
    )
