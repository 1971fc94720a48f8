"""What an offender can do to each design, measured or stated."""

from __future__ import annotations

from blindmatch_simulations.assess.judging import NOTHING, key_tries
from blindmatch_simulations.assess.results import Measured, Results
from blindmatch_simulations.report.markup import bullets, number, paragraph, section, table, text
from blindmatch_simulations.report.summary import NOT_COVERED, measured

HEAD = (
    "design",
    "client that never asks (measured)",
    "archive (measured)",
    "edits until hidden (measured)",
    "tries a day (computed from limits)",
)


def offender_view(results: Results) -> str:
    """The view."""
    words = (
        "Three ways around detection that need no skill. Edits are those of this suite alone, in its order; "
        "no tool here searches for an edit that hides a picture."
    )
    rows = [(text(one.design.name), *_cells(one)) for one in measured(results)]
    return section(
        "offender",
        "What an offender can do",
        paragraph(words),
        table("Ways around detection", HEAD, rows),
        "<h3>Not covered</h3>",
        bullets(NOT_COVERED),
    )


def _cells(one: Measured) -> tuple[str, ...]:
    return text(_skipping(one)), text(_archive(one)), text(_edits(one)), text(_tries(one))


def _skipping(one: Measured) -> str:
    found = one.offence
    words = (
        f"{found.delivered} of {found.sent} listed pictures arrived; matching requests counted: "
        f"{found.asked}; attachments counted at the relay: {found.uploads}."
    )
    if not one.design.roles:
        return words + " Nothing is asked in this design anyway."
    if one.design.sends_content:
        return (
            f"{words} Here the picture travels beside an encrypted message, so that a client can leave it "
            "out; "
            "a provider that reads the messages themselves would still see it."
        )
    return (
        words
        + " A party notices only if it holds the two counts of an account against each other; none does."
    )


def _archive(one: Measured) -> str:
    found = one.offence
    refused = "refuses" if found.refused_archive else "does not refuse"
    passed = "arrives" if found.archive_delivered else "does not arrive"
    return (
        f"An attachment that is no picture: the default policy {refused} it; with the policy 'send' it "
        f"{passed}, with {found.archive_asked} matching requests."
    )


def _edits(one: Measured) -> str:
    tried = [count for count in one.tries_until_hidden if count]
    total = len(one.tries_until_hidden)
    if (why := one.figures["evading"].why) and one.figures["evading"].value is None:
        return why if why.startswith(NOTHING) else f"not measured: {why}"
    if not tried:
        return f"none of {total} listed pictures was hidden by an edit of the suite"
    ordered = sorted(tried)
    return (
        f"{len(tried)} of {total} listed pictures were hidden by an edit; for those, the median was try "
        f"{ordered[len(ordered) // 2]} of {len(one.recall_by_edit)} in the suite's order"
    )


def _tries(one: Measured) -> str:
    tries = one.figures["oracle_tries"].value or 0
    if not tries:
        return "0: the device learns no outcome, so it cannot tell which edit helped"
    limit = key_tries(one.key)
    bound = (
        f"; but the limits of a key leave an account {number(limit)} pictures under one key" if limit else ""
    )
    return (
        f"{number(tries)} an account, at the server's rate limit{bound}; each tells the device whether "
        "that edit "
        "still matches"
    )
