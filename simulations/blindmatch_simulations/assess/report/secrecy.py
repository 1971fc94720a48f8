"""Towards whom a list is secret, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from blindmatch_simulations.assess.judging import LIST_GAMES
from blindmatch_simulations.assess.report import outside
from blindmatch_simulations.assess.report.markup import mark, number, paragraph, section, table, text
from blindmatch_simulations.assess.report.summary import measured
from blindmatch_simulations.assess.results import Measured, Results

LISTS: Final = ("iwf_list", "iwf_list_2024", "ncmec_list")
CONSTANT: Final = 1000
"""Set-up bytes up to which a set-up holds no list, whatever its length."""


def secrecy_view(results: Results) -> str:
    """The view."""
    words = (
        "Whoever plays a role that holds the list, or the key that the set was made with, can test any "
        "guess: towards "
        "that party the list is not secret in any design here. Towards devices it is, up to the facts below "
        "and the tries "
        "that the rate limit allows. Whether a device tells two lists apart that agree on these facts was "
        "played: no distinguisher in this suite exceeded the bound shown, others may."
    )
    head = (
        "design",
        "facts to a device",
        "facts about the list to the roles",
        "two lists told apart",
        "set-up bytes an entry",
        "whole list in reach of pooled tries",
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
    return _facts(one, True), _facts(one, False), text(_played(one)), each, text(_pooled(one))


def _played(one: Measured) -> str:
    """What the games over lists came to; who holds the list anyway is in their reason."""
    found = next((check for check in one.checks if check.check in LIST_GAMES), None)
    return f"{found.verdict}: {found.reason}" if found else f"not measured: {one.checks_why or 'not played'}"


def _each(setup: float | None, entries: int) -> str:
    """Set-up bytes by entry, or in all where they do not grow with the list."""
    if setup is None:
        return "not measured"
    return (
        number(setup / max(1, entries))
        if setup > CONSTANT
        else f"{number(setup)} in all, however long the list"
    )


def _facts(one: Measured, device: bool) -> str:
    """Facts that are about the list: all of a device's, and a role's that name entries."""
    found = {
        fact.name: fact.says
        for leak in one.design.declared
        if leak.source == "design" and (leak.parties == ("device",)) is device
        for fact in leak.facts
        if device or "entr" in fact.name or "list" in fact.says.lower()
    }
    lines = "".join(f"<li><b>{text(name)}</b>: {text(says)}</li>" for name, says in found.items())
    if lines:
        return f"<ul>{lines}</ul>"
    if device:
        return "none declared"
    holders = ", ".join(sorted(set(one.design.roles.values())))
    return (
        text(f"not declared as facts: {holders} holds the list or its key")
        if holders
        else "nobody has a list"
    )


def _pooled(one: Measured) -> str:
    """With tokens: N (E / 2^(k+1))^2 entries after E evaluations, so E = 2^(k+1) reveals all N."""
    values = one.design.parameters
    tries = one.figures["oracle_tries"].value or 0
    if not {"k", "bands", "probes"} <= values.keys():
        return (
            "each try tests one guess, so that reading the list takes guessing it"
            if tries
            else "a device learns no outcome"
        )
    whole = 2 ** (values["k"] + 1)
    limits = [values.get(name, 0) for name in ("account_evaluations", "all_evaluations")]
    reach = _limited(whole, *limits) if all(limits) else _unlimited(whole, values, tries)
    return f"about {number(whole)} evaluations under one key would open it all: {reach} (declared formula)"


def _limited(whole: int, account: int, everyone: int) -> str:
    """What the limits of a key, counted by the matcher, leave."""
    one, pooled = (min(1.0, (limit / whole) ** 2) for limit in (account, everyone))
    return (
        f"the key's limits, {number(account)} an account and {number(everyone)} in all, leave "
        f"{number(100 * one)} % of the list to one account and {number(100 * pooled)} % to all together"
    )


def _unlimited(whole: int, values: Mapping[str, int], tries: float) -> str:
    each = values["bands"] * values["probes"]
    days = whole / (tries * each) if tries else 0
    return f"{each} a picture, {number(days)} days of one account at the rate limit; the key has no limit"


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
