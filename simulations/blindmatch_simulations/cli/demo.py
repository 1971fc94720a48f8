"""`blindmatch demo`: the main job."""

from __future__ import annotations

import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from blindmatch_client.settings import Consequence, CoverSchedule, list_device_facts
from blindmatch_client.trace import Purpose
from blindmatch_protocol.contract import Adversary, Category, Nothing, Party
from blindmatch_protocol.contract.design import told
from blindmatch_protocol.messages.franking import DEFAULT_MODE
from blindmatch_protocol.messages.report import SLOT_SIZES
from msgspec import to_builtins
from rich.table import Table
from rich.text import Text

from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.bars import phases
from blindmatch_simulations.cli.certs import FrankingOption
from blindmatch_simulations.cli.commands import Found
from blindmatch_simulations.cli.console import ERR, DesignOption, table
from blindmatch_simulations.testbed.audit import Undeclared
from blindmatch_simulations.testbed.demo.conversation import SENDER
from blindmatch_simulations.testbed.demo.run import (
    DemoRun,
    crashes,
    failures,
    intact,
    listed_sent,
    missed,
    play_demo,
    refused,
    unasked,
    undeclared,
    undeclared_bytes,
    verified_reports,
)
from blindmatch_simulations.testbed.demo.stories import STORIES, play_story
from blindmatch_simulations.testbed.deployment.devices import Options
from blindmatch_simulations.testbed.deployment.hosting import parties_of
from blindmatch_simulations.testbed.deployment.registry import load_design, portable_reference
from blindmatch_simulations.testbed.inprocess.plugin_bounds import bounded_plugins

RESULT_VERSION = 6
UNKNOWN: Final = (Undeclared.NOT_COMPARABLE, Undeclared.NOT_CHECKED)
"""Ends of an audit that give no number of undeclared bytes."""


def facts_declared(run: DemoRun, party: Party) -> dict[str, str]:
    """Facts declared to `party`, by the messenger and by the design, each with a sentence."""
    messenger = list_device_facts(run.on_schedule, run.design.info, run.consequence, run.franking)
    design = told(run.design, frozenset({party}), Adversary.SEMI_HONEST)
    return {fact.name: fact.says for fact in (*messenger.get(party, ()), *design)}


def demo_result(run: DemoRun, again: str) -> dict[str, Any]:
    """The run as JSON (docs/reference/results.md); `again` is the command that runs it again."""
    return {
        "result_version": RESULT_VERSION,
        "design": run.design.info.name,
        "design_version": run.design.info.version,
        "set_size": run.entries,
        "cover_schedule": run.on_schedule,
        "consequence": str(run.consequence),
        "franking": str(run.franking),
        "setup_bytes": run.setup_bytes,
        "submitters": list(run.submitters),
        "endorsers": list(run.endorsers),
        "epoch_logged": run.logged,
        "witnesses": list(run.witnesses),
        "sent": len(run.sent),
        "delivered": intact(run),
        "refused": refused(run),
        "expected_matches": sum(run.oracle),
        "matches": run.matches,
        "missed": missed(run),
        "listed": _listed_result(run),
        "declared_recall": run.design.info.relation.recall,
        "reports_verified": verified_reports(run),
        "reports_verified_by_outsider": run.by_outsider,
        "reports": [{"state": row.state, "reason": row.reason} for row in run.reports],
        "vouchers": [
            {"account": row.account, "held": row.held, "opened": row.opened} for row in run.vouchers
        ],
        "opened_below_threshold": run.opened_below,
        "reports_audited": sum(audit.reports_opened or 0 for audit in run.audits.values()),
        "undeclared_egress": str(undeclared(run)),
        "undeclared_egress_bytes": None if undeclared(run) in UNKNOWN else undeclared_bytes(run),
        "compared": compared(run),
        "findings": list(_findings(run)),
        "crashes": [to_builtins(one) for one in crashes(run)],
        "again": again,
        "bytes_per_picture_beyond_ciphertext": _beyond_ciphertext(run),
        "parties": {party.server: seen(run, party) for party in parties_of(run.design)},
        "pictures": list(picture_rows(run)),
        "seconds": dict(run.seconds),
        "failures": failures(run),
    }


def _findings(run: DemoRun) -> Iterator[dict[str, Any]]:
    for name, audit in run.audits.items():
        for one in audit.findings:
            row = {"account": name, "party": str(one.party), "item": one.item, "rule": one.rule}
            row |= {"bytes": one.size, "picture": _picture_names(run, name).get(one.item or 0)}
            if one.told is not None:
                told = one.told
                other = one.other_name(_pool_names(run))
                row |= {"field": told.field, "value": told.mine, "other": other, "other_value": told.theirs}
            yield row


def _pool_names(run: DemoRun) -> dict[int, str]:
    """Names of the pictures that sessions are compared with, by their place."""
    return {at: f"{one.name} ({one.edit})" for at, one in enumerate(run.workload.sendings)}


def _picture_names(run: DemoRun, account: str) -> dict[int, str]:
    """Names of an account's pictures by their numbers on its device: those that the demo sent from it."""
    if account != SENDER:
        return {}
    pairs = zip(run.sent, run.workload.sendings, strict=True)
    return {one.item: f"{sending.name} ({sending.edit})" for one, sending in pairs if one.item is not None}


def _beyond_ciphertext(run: DemoRun) -> dict[str, float]:
    """Bytes that left the sender's device for each purpose of matching, a picture."""
    pictures = max(1, len(run.sent))
    sizes = run.audits["alice"].bytes_by
    purposes = (Purpose.MATCHING, Purpose.REPORT, Purpose.VOUCHER, Purpose.COVER)
    return {
        str(purpose): round(sum(size for (_, p), size in sizes.items() if p is purpose) / pictures, 1)
        for purpose in purposes
    }


def seen(run: DemoRun, party: Party) -> dict[str, Any]:
    """What is declared to one party, and what it counted itself in this run."""
    arrived = {
        name: sum(row.bytes_in for row in run.counted[party] if row.account == name) for name in run.audits
    }
    calls = Counter[str]()
    for row in run.counted[party]:
        if row.account in run.audits:
            calls[row.method] += row.calls
    ciphertext = sum(audit.ciphertext for audit in run.audits.values()) if party == Party.PROVIDER else 0
    purposes = {
        str(purpose): sum(audit.bytes_by.get((party, purpose), 0) for audit in run.audits.values())
        for purpose in Purpose
    }
    return {
        "declared_facts": facts_declared(run, party),
        "calls_observed": dict(calls),
        "bytes_in": sum(arrived.values()),
        "bytes_in_by_account": arrived,
        "end_to_end_ciphertext_bytes": ciphertext,
        "bytes_by_purpose": {purpose: size for purpose, size in purposes.items() if size},
    }


def picture_rows(run: DemoRun) -> Iterator[dict[str, Any]]:
    for sending, sent, expected in zip(run.workload.sendings, run.sent, run.oracle, strict=True):
        yield {
            "picture": sending.name,
            "edit": sending.edit,
            "listed": sending.listed,
            "expected": expected,
            "outcome": str(sent.outcome),
            "delivered": sent.delivered,
            "reported": sent.reported,
        }


def _chain_table(run: DemoRun) -> Table:
    """From who wants a picture listed to the report of it: who vouches for each step."""
    rows = [
        ("submitted by", ", ".join(run.submitters)),
        ("endorsed by", ", ".join(run.endorsers)),
        ("logged", f"leaf {run.logged} of the epochs' log"),
        ("witnessed by", ", ".join(run.witnesses)),
        ("matched", str(run.matches)),
        ("reported and verified", str(verified_reports(run))),
    ]
    if run.opened_below is not None:
        rows.insert(-1, ("opened one match below the threshold", str(run.opened_below)))
    return table("from a list to a report", ("step", "by whom, or how many"), rows)


def _sent_table(run: DemoRun) -> Table:
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in picture_rows(run):
        listed = "on the list" if row["listed"] else "not on it"
        edit = "as it is" if row["edit"] == "identical" else row["edit"]
        kinds.setdefault((listed, edit), []).append(row)
    order = sorted(kinds, key=lambda kind: (kind[0] != "on the list", kind[1] != "as it is", kind[1]))
    rows = [(listed, edit, *_counts(kinds[listed, edit])) for listed, edit in order]
    every = [row for kind in kinds.values() for row in kind]
    verified = verified_reports(run)
    rows.append(("all", "", *_counts(every)))
    title = (
        f"{run.design.info.name}: sent, matched, reported "
        f"({matches_words(run)}; {verified} reports verified by the centre, {run.by_outsider} by outsiders)"
    )
    return table(title, ("picture", "edit", "sent", "delivered", "should match", "device learnt"), rows)


EDIT_WORDS: Final = {
    "jpeg-75": "JPEG of quality 75",
    "resize-0.75": "a resize to three quarters",
    "brighter": "brightening",
    "caption": "a caption",
    "webp-75": "WebP of quality 75",
    "contrast": "more contrast",
}
"""Edits of the demo's listed pictures, in words."""


def _listed_result(run: DemoRun) -> dict[str, Any]:
    found = listed_sent(run)
    return {
        "sent": found.sent,
        "found": found.found,
        "missed": found.missed,
        "hidden_by": dict(found.hidden_by),
        "unasked": found.unasked,
    }


def listed_words(run: DemoRun) -> str:
    """Return how many listed pictures were sent, found and missed, and what hid those that an edit hides.

    A match is what a design's own relation calls one. That every match was found says nothing of listed
    pictures which an edit moved out of that relation, so these are counted here.
    """
    found = listed_sent(run)
    relation = run.design.info.relation
    if isinstance(relation, Category):
        return f"{found.sent} listed sent; the design looks for a category and uses no list"
    words = f"{found.sent} listed sent, {found.found} found, {found.missed} missed"
    asked = f"{found.unasked} of them never asked about, since their matching failed"
    if isinstance(relation, Nothing):
        return f"{words}: the design looks for none"
    if not found.missed:
        return words
    if run.design.vouchers:
        reasons = [asked] if found.unasked else []
        reasons += (
            ["hidden by an edit, or in a voucher that stays shut"] if found.missed > found.unasked else []
        )
        return f"{words}: {', '.join(reasons)}"
    alone = found.missed == 1
    reasons = [
        f"{EDIT_WORDS.get(edit, f'the edit {edit}')} hides {'it' if alone else count}"
        for edit, count in sorted(found.hidden_by.items())
    ]
    reasons += [asked] if found.unasked else []
    rest = found.missed - sum(found.hidden_by.values()) - found.unasked
    reasons += [f"the design misses {'it' if alone else rest}"] if rest else []
    return f"{words}: {', '.join(reasons)}"


def matches_words(run: DemoRun) -> str:
    """Matches found, and what a near design missed, with the recall that it declares."""
    words = f"{run.matches} matches, {sum(run.oracle)} expected"
    recall = run.design.info.relation.recall
    if not missed(run) or recall == 1:
        return words
    return f"{words}, {missed(run)} missed at a declared recall of {recall:.1%}"


def _counts(rows: list[dict[str, Any]]) -> tuple[object, ...]:
    learnt = Counter(row["outcome"] for row in rows)
    words = ", ".join(f"{count} {outcome}" for outcome, count in learnt.items())
    delivered = sum(row["delivered"] for row in rows)
    return len(rows), delivered, sum(row["expected"] for row in rows), words


def compared(run: DemoRun) -> dict[str, Any]:
    """By party: sessions with it, how many could be compared, with how many pictures, and why not all."""
    every = [one for audit in run.audits.values() for one in audit.comparisons]
    rows = {}
    for party in dict.fromkeys(one.party for one in every):
        sessions = [one for one in every if one.party == party]
        good = [one.decoys for one in sessions if one.comparable]
        rows[party.server] = {
            "sessions": len(sessions),
            "compared": len(good),
            "least_pictures": min(good, default=0),
            "reasons": sorted({one.reason for one in sessions if one.reason}),
        }
    return rows


def undeclared_words(run: DemoRun) -> str:
    """The audit's result in words: a zero only if something was compared."""
    parts = [_words(name, row) for name, row in compared(run).items()]
    if undeclared(run) is Undeclared.NOT_CHECKED:
        parts.insert(0, "undeclared bytes: not checked, the design crashed")
    elif undeclared(run) is not Undeclared.NOT_COMPARABLE:
        parts.insert(0, f"undeclared bytes: {undeclared_bytes(run)}")
    return "; ".join(parts)


def _words(name: str, row: dict[str, Any]) -> str:
    if not row["compared"]:
        return f"not comparable at the {name}: {', '.join(row['reasons'])}"
    least = row["least_pictures"]
    sessions = f"{row['compared']} of {row['sessions']} sessions"
    return f"at the {name} {sessions} compared with {least} or more other pictures"


def _observed_table(run: DemoRun) -> Table:
    rows = []
    for party in parties_of(run.design):
        saw = seen(run, party)
        purposes = "\n".join(f"{purpose} {size:,}" for purpose, size in saw["bytes_by_purpose"].items())
        calls = sum(saw["calls_observed"].values())
        cipher = saw["end_to_end_ciphertext_bytes"]
        rows.append((party.server, calls, saw["bytes_in"], cipher, purposes or "-"))
    columns = ("party", "calls", "bytes in", "of it E2EE", "by purpose")
    title = f"what each party was seen to get ({undeclared_words(run)})"
    return table(title, columns, rows, whole=columns[2:])


RIGHT: Final = {
    Consequence.REPORT: "all messages arrived; what the design matches was reported, and nothing else",
    Consequence.WARN: "all messages arrived, nothing was reported",
    Consequence.REFUSE: "all messages but those with a match were sent and arrived; nothing was reported",
}

ConsequenceOption = Annotated[Consequence, typer.Option(help="What follows on the devices from a match.")]


@bounded_plugins()
def run_demo(
    set_size: Annotated[int, typer.Option(min=1, max=20_000_000, help="Random hashes on the list.")] = 20_000,
    design: DesignOption = "token-psi",
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Keep the deployment in this new folder [default: a temporary one]."),
    ] = None,
    cover_period: Annotated[
        int,
        typer.Option(min=0, help="Seconds between the slots in which reports leave, with cover; 0: at once."),
    ] = 0,
    consequence: ConsequenceOption = Consequence.REPORT,
    franking: FrankingOption = DEFAULT_MODE,
) -> Found:
    """Run the main job: a list is published, Alice sends Bob pictures, matches and only those are reported.

    Log, witnesses, relay, matcher and centre run as processes of their own on loopback with mutual TLS. At
    the end what left the devices is audited. Exit code 0 only if the result is right.
    """
    cover = CoverSchedule(cover_period, SLOT_SIZES[-1]) if cover_period else None
    load_design(design)  # an unknown one is refused before any work is shown
    options = Options(cover=cover, consequence=consequence)
    made = tempfile.TemporaryDirectory(prefix="blindmatch-") if home is None else nullcontext(home)
    with made as folder, phases(ERR) as begin:
        run = play_demo(Path(folder), design, set_size, begin, options, franking)
    asked = ["--set-size", str(set_size), "--design", portable_reference(design)]
    asked += ["--cover-period", str(cover_period)] if cover_period else []
    asked += ["--consequence", str(consequence)] if consequence is not Consequence.REPORT else []
    asked += ["--franking", str(franking)] if franking is not DEFAULT_MODE else []
    again = shlex.join(["blindmatch", "demo", *asked])
    code = exit_codes.WRONG if failures(run) else exit_codes.OK
    return Found(demo_result(run, again), list(_shown(run, again)), code)


def run_story(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(STORIES)} (docs/how-to/story.md).")],
    out: Annotated[Path, typer.Option(help="A new folder for the deployment and the files that remain.")],
) -> Found:
    """Play one of three stories on loopback: what it is seen to do, by simulated dates, and what remains.

    What people decide is given; every sentence is filled in with what the run shows.
    """
    if name not in STORIES:
        raise typer.BadParameter(f"there is no story {name!r}; there are {', '.join(STORIES)}")
    story = play_story(name, out.resolve())
    said = [f"{one.date} (day {one.day}, simulated): {one.says}" for one in story.told]
    remain = [f"{one.file}, {one.shows}: {shlex.join(('blindmatch', *one.command))}" for one in story.kept]
    told = to_builtins(story.told)
    kept = to_builtins(story.kept)
    return Found({"version": 1, "story": name, "simulated": True, "told": told, "kept": kept}, said + remain)


def _shown(run: DemoRun, again: str) -> Iterator[Table | Text]:
    declared = [(party.server, ", ".join(facts_declared(run, party))) for party in parties_of(run.design)]
    yield _chain_table(run)
    yield _sent_table(run)
    yield Text(listed_words(run))
    yield table("what is declared to each party, in this run or not", ("party", "facts"), declared)
    yield _observed_table(run)
    wrong = [f"wrong: {words}" for words in failures(run)]
    told = [f"alice was told: {notice}" for notice in unasked(run)]
    ended = [line for one in crashes(run) for line in (one.words, *(f"  at {frame}" for frame in one.trace))]
    found = [
        f"audit of {name}: {one.words(_picture_names(run, name), _pool_names(run))}"
        for name, audit in run.audits.items()
        for one in audit.findings[:10]
    ]
    yield from (Text(line, style="red") for line in (*ended, *wrong, *told, *found))
    if wrong:
        yield Text(f"again: {again}")
    if not wrong:
        yield Text(f"right: {RIGHT[run.consequence]}", style="green")
