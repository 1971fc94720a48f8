"""Turns the observations of a design into figures with intervals; nothing is taken on a design's word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Final

from blindmatch_protocol.contract import Learner

from blindmatch_simulations.assess.intervals import interval, median_ratio
from blindmatch_simulations.assess.observed import (
    AloneRow,
    Check,
    Described,
    HarnessRow,
    Observed,
    PictureRow,
)
from blindmatch_simulations.assess.results import Figure, Recall

DISTANCES: Final = ((0, 0), (1, 8), (9, 16), (17, 24), (25, 31), (32, 48), (49, 256))
"""Ranges of the distance between an edited picture and its original, both ends included."""

DAY_SECONDS: Final = 86_400
GAMES: Final = ("games", "malicious games")
"""Checks that play for pictures, against all parties with a role."""
LIST_GAMES: Final = ("list games",)
"""The check that plays for lists, against a device."""
NO_LEARNER: Final = "what whoever learns of matches learnt could not be told apart by picture"
NO_ROLES: Final = "it asks nobody, so there is no session that the harness could record"
NO_PROOF: Final = "no log of published epochs is run by this command yet"


def share(hits: int, trials: int, pairs: int | None = None) -> Figure:
    """A counted share with its interval."""
    if not trials:
        return Figure(None, "no picture of this kind in the workload")
    low, high = interval(hits, trials)
    return Figure(hits / trials, "", low, high, trials, pairs)


def timing(values: Sequence[float], middle: bool = True) -> Figure:
    """Median (or mean) of repeated timings, with the lowest and the highest."""
    if not values:
        return Figure(None, "no picture of this kind in the workload")
    value = median(values) if middle else fmean(values)
    return Figure(value, "", min(values), max(values), len(values))


def number(value: float | None, why: str = "the system does not tell", n: int | None = None) -> Figure:
    """One reading."""
    return Figure(None, why) if value is None else Figure(float(value), n=n)


def figures(seen: Observed, checks: Sequence[Check], checks_why: str) -> dict[str, Figure]:
    """All figures of the catalogue."""
    return {
        **_effectiveness(seen.pictures, seen.entries),
        **_costs(seen.pictures, seen.alone, list(seen.design.learns)),
        **_set(seen),
        **_harness(seen.harness),
        **_privacy(seen, checks, checks_why),
        **_security(seen, checks, checks_why),
        "audit_sessions": number(seen.audit.sessions, n=seen.audit.pictures),
        "proof_bytes": Figure(None, NO_PROOF),
    }


def recall_by_edit(rows: Sequence[PictureRow], edits: Iterable[str]) -> tuple[Recall, ...]:
    """Listed pictures found, edit by edit."""
    return tuple(_recall(name, [r for r in rows if r.listed and r.edit == name]) for name in edits)


def recall_by_distance(rows: Sequence[PictureRow]) -> tuple[Recall, ...]:
    """Listed pictures found, by how far the edit moved their hash."""
    return tuple(
        _recall(
            str(low) if low == high else f"{low} to {high}",
            [row for row in rows if row.listed and low <= row.origin_distance <= high],
        )
        for low, high in DISTANCES
    )


def tries_until_hidden(rows: Sequence[PictureRow], edits: Sequence[str]) -> tuple[int, ...]:
    """For each listed picture: the suite's edits tried, in order, until one did not match; 0 if none."""
    found = []
    for name in sorted({row.name for row in rows if row.listed}):
        outcome = {row.edit: row.matched for row in rows if row.listed and row.name == name}
        hidden = (at for at, edit in enumerate(edits, 1) if outcome.get(edit) is False)
        found.append(next(hidden, 0))
    return tuple(found)


def _recall(name: str, rows: Sequence[PictureRow]) -> Recall:
    if any(row.matched is None for row in rows):
        return Recall(name, len(rows), None, Figure(None, NO_LEARNER))
    found = sum(row.matched is True for row in rows)
    return Recall(name, len(rows), found, share(found, len(rows)))


def _effectiveness(rows: Sequence[PictureRow], entries: int) -> dict[str, Figure]:
    listed = [row for row in rows if row.listed]
    others = [row for row in rows if not row.listed]
    plain = [row for row in listed if row.edit == "identical"]
    if any(row.matched is None for row in rows):
        unknown = Figure(None, NO_LEARNER)
        return dict.fromkeys(("recall", "recall_identical", "false_matches", "wrong_outcomes"), unknown)
    return {
        "recall": share(sum(row.matched is True for row in listed), len(listed)),
        "recall_identical": share(sum(row.matched is True for row in plain), len(plain)),
        "false_matches": share(
            sum(row.matched is True for row in others), len(others), len(others) * entries
        ),
        "wrong_outcomes": share(sum(row.matched is not row.expected for row in rows), len(rows)),
    }


def _costs(rows: Sequence[PictureRow], alone: Sequence[AloneRow], learns: Sequence[str]) -> dict[str, Figure]:
    reported = [row.report_bytes for row in rows if row.report_bytes]
    if reported:
        report = timing(reported, middle=False)
    elif learns == [str(Learner.SERVER)]:
        report = Figure(0.0, "the server reports by itself; the device sends nothing for a report")
    else:
        report = Figure(None, "no device made a report")
    return {
        "device_ms": timing([row.device_ms for row in alone]),
        "device_cpu_ms": timing([row.device_cpu_ms for row in alone], middle=False),
        "hash_ms": timing([row.hash_ms for row in alone]),
        "send_ms": timing([row.wall_ms for row in rows]),
        "matcher_cpu_ms": timing([row.role_cpu_ms for row in alone], middle=False),
        "matcher_ms": timing([row.role_ms for row in alone]),
        "query_up_bytes": timing([row.up_bytes for row in rows], middle=False),
        "query_down_bytes": timing([row.down_bytes for row in rows], middle=False),
        "report_bytes": report,
    }


def _set(seen: Observed) -> dict[str, Figure]:
    update, why = seen.update.built, seen.update.why
    parts = (
        f"built in {seen.build_parts} parts: interrupted and taken up again" if seen.build_parts > 1 else ""
    )
    return {
        "device_peak_mib": number(seen.peak_mib),
        "setup_bytes": number(seen.build.setup_bytes),
        "server_cpu_ms": _server_cpu(seen),
        "build_s": Figure(seen.build.seconds, parts, n=1),
        "build_cpu_s": Figure(seen.build.cpu_s, parts, n=1),
        "update_s": Figure(update.seconds if update else None, why, n=1),
        "update_bytes": Figure(float(seen.update.fetched_bytes) if update else None, why),
    }


def _harness(rows: Sequence[HarnessRow]) -> dict[str, Figure]:
    """What the harness adds, as a share of the design's own work: medians over pairs, resampled intervals."""
    if not rows:
        return dict.fromkeys(("harness_cpu", "harness_wall"), Figure(None, NO_ROLES))
    return {
        "harness_cpu": _added([row.bare_cpu_ms for row in rows], [row.watched_cpu_ms for row in rows]),
        "harness_wall": _added([row.bare_ms for row in rows], [row.watched_ms for row in rows]),
    }


def _added(bare: Sequence[float], watched: Sequence[float]) -> Figure:
    more = [after - before for before, after in zip(bare, watched, strict=True)]
    low, high = median_ratio(more, bare)
    words = f"{median(more):.3f} ms on {median(bare):.3f} ms of its own, a picture"
    return Figure(median(more) / median(bare), words, low, high, len(bare))


def _server_cpu(seen: Observed) -> Figure:
    names = {"provider": "relay"}
    playing = {names.get(party, party) for party in seen.design.roles.values()}
    spent = [one.cpu_s for one in seen.servers if one.party in playing]
    if any(value is None for value in spent):
        return Figure(None, "the system does not tell")
    total = sum(value for value in spent if value is not None)
    return number(1000 * total / max(1, len(seen.pictures)), n=len(seen.pictures))


def _privacy(seen: Observed, checks: Sequence[Check], why: str) -> dict[str, Figure]:
    return {
        "facts_matcher": number(len(facts_of_roles(seen.design))),
        "undeclared_bytes": number(seen.audit.undeclared_bytes, n=seen.audit.pictures),
        "advantage": _advantage(checks, GAMES, why),
        "list_advantage": _advantage(checks, LIST_GAMES, why),
    }


def facts_of_roles(design: Described) -> set[str]:
    """Facts that the design declares to anyone but the device, semi-honest."""
    return {
        fact.name
        for one in design.declared
        if one.source == "design" and one.adversary == "semi-honest" and one.parties != ("device",)
        for fact in one.facts
    }


def _advantage(checks: Sequence[Check], games: Sequence[str], why: str) -> Figure:
    """Over all opponents of the `games` that were played."""
    played = [check for check in checks if check.check in games]
    if any(check.verdict == "failed" for check in played):
        return Figure(1.0, "", n=len(played))
    found = [
        (float(one["interval"][1]), int(one["held_out_runs"]))
        for check in played
        for one in check.figures.values()
        if isinstance(one, dict) and "interval" in one
    ]
    if not found:
        words = "; ".join(f"{check.check}: {check.reason}" for check in played) or why
        return Figure(None, words or "the games were not played")
    note = "" if len(played) == len(games) else f"over the semi-honest games alone: {why}"
    return Figure(max(high for high, _ in found), note, n=sum(runs for _, runs in found))


def _security(seen: Observed, checks: Sequence[Check], why: str) -> dict[str, Figure]:
    rows = seen.pictures
    names = {row.name for row in rows if row.listed}
    hidden = {row.name for row in rows if row.listed and row.matched is False}
    known = all(row.matched is not None for row in rows)
    failed = sum(check.verdict == "failed" for check in checks)
    unfinished = f"{len(checks)} checks finished, none failed; {why}" if checks else why
    return {
        "skipped_unnoticed": share(seen.offence.delivered, seen.offence.sent),
        "evading": share(len(hidden), len(names)) if known else Figure(None, NO_LEARNER),
        "oracle_tries": _oracle(seen),
        "checks_failed": number(None if why and not failed else failed, unfinished, len(checks)),
    }


def key_tries(design: Described) -> int | None:
    """Pictures that an account may ask about under one key; None without such a limit (token-psi has one)."""
    values = design.parameters
    if not values.get("account_evaluations") or not {"bands", "probes"} <= values.keys():
        return None
    return values["account_evaluations"] // (values["bands"] * values["probes"])


def _oracle(seen: Observed) -> Figure:
    """What rate limit, after the first burst, and key allow in a day; 0 where the device learns nothing."""
    if str(Learner.DEVICE) not in seen.design.learns:
        return Figure(0.0)
    allowed = seen.query_rate * DAY_SECONDS + seen.query_burst
    limit = key_tries(seen.design)
    if limit is None or allowed <= limit:
        return Figure(allowed)
    return Figure(float(limit), "the limits of a key allow no more under one key, however many days it lasts")
