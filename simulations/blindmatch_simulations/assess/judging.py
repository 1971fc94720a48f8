"""Turns the observations of a design into figures with intervals; nothing is taken on a design's word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import Final

from blindmatch_protocol.contract import Learner
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE

from blindmatch_simulations.assess.observed import Audited, Check, HarnessRow, KeyUse, Observed, PictureRow
from blindmatch_simulations.assess.results import Figure, Recall
from blindmatch_simulations.measure.advantage import resolution
from blindmatch_simulations.measure.intervals import clopper_pearson, median_ratio

DISTANCES: Final = ((0, 0), (1, 8), (9, 16), (17, 24), (25, 31), (32, 48), (49, 256))
"""Ranges of the distance between an edited picture and its original, both ends included."""

DAY_SECONDS: Final = 86_400
GAMES: Final = ("games", "malicious games")
"""Checks that play for pictures, against all parties with a role."""
LIST_GAMES: Final = ("list games",)
"""The check that plays for lists, against a device."""
NO_LEARNER: Final = "what whoever learns of matches learnt could not be told apart by picture"
NOTHING: Final = "nothing to measure"
"""How the reason begins where there is nothing a figure could be of: no gap in the run."""
NO_MATCHES: Final = f"{NOTHING}: the design matches nothing"
NO_ROLES: Final = f"{NOTHING}: it asks nobody"
OF_MATCHES: Final = (
    "recall",
    "recall_pairs",
    "recall_identical",
    "false_matches",
    "evading",
    "skipped_unnoticed",
)
"""Figures that are of nothing where nothing is matched."""
NOT_COMPARABLE: Final = "not comparable: no other picture agrees on all that is declared"
NO_PROOF: Final = "no log of published epochs is run by this command yet"


def matches_nothing(seen: Observed) -> bool:
    """Does the design call nothing a match, by its declaration and in this run?"""
    return seen.design.distance is None and not any(row.matched for row in seen.pictures)


def share(hits: int, trials: int, pairs: int | None = None) -> Figure:
    """A counted share with its interval."""
    if not trials:
        return Figure(None, "no picture of this kind in the workload")
    low, high = clopper_pearson(hits, trials)
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
        **_effectiveness(seen),
        **_costs(seen),
        **_set(seen),
        **_harness(seen.harness),
        **_privacy(seen, checks, checks_why),
        **_security(seen, checks, checks_why),
        "audit_sessions": number(seen.audit.sessions, n=seen.audit.pictures),
        "proof_bytes": Figure(None, NO_PROOF),
        **(dict.fromkeys(OF_MATCHES, Figure(None, NO_MATCHES)) if matches_nothing(seen) else {}),
    }


def recall_by_edit(seen: Observed, edits: Iterable[str]) -> tuple[Recall, ...]:
    """Listed pictures found, edit by edit."""
    return tuple(
        _recall(seen, name, [r for r in seen.pictures if r.listed and r.edit == name]) for name in edits
    )


def recall_by_distance(seen: Observed) -> tuple[Recall, ...]:
    """Listed pictures found, by how far the edit moved their hash."""
    return tuple(
        _recall(
            seen,
            str(low) if low == high else f"{low} to {high}",
            [row for row in seen.pictures if row.listed and low <= row.origin_distance <= high],
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


def _recall(seen: Observed, name: str, rows: Sequence[PictureRow]) -> Recall:
    if matches_nothing(seen):
        return Recall(name, len(rows), None, Figure(None, NO_MATCHES))
    if any(row.matched is None for row in rows):
        return Recall(name, len(rows), None, Figure(None, NO_LEARNER))
    return Recall(name, len(rows), sum(row.matched is True for row in rows), _found(rows))


def _found(rows: Sequence[PictureRow]) -> Figure:
    """The share of pictures that led to a match."""
    return share(sum(row.matched is True for row in rows), len(rows))


def _is_pdqs(row: PictureRow) -> bool:
    """Does PDQ itself call this picture a match with an entry?"""
    return row.list_distance <= MATCH_DISTANCE and row.quality >= LEAST_QUALITY


def _effectiveness(seen: Observed) -> dict[str, Figure]:
    rows = seen.pictures
    listed = [row for row in rows if row.listed]
    others = [row for row in rows if not row.listed]
    names = ("recall", "recall_pairs", "recall_identical", "false_matches", "wrong_outcomes")
    if any(row.matched is None for row in rows):
        return dict.fromkeys(names, Figure(None, NO_LEARNER))
    false = sum(row.matched is True for row in others)
    return {
        "recall": _found(listed),
        "recall_pairs": _found([row for row in listed if _is_pdqs(row)]),
        "recall_identical": _found([row for row in listed if row.edit == "identical"]),
        "false_matches": share(false, len(others), len(others) * seen.entries),
        "wrong_outcomes": share(sum(row.matched is not row.expected for row in rows), len(rows)),
    }


def _costs(seen: Observed) -> dict[str, Figure]:
    rows, alone = seen.pictures, seen.alone
    nobody = dict.fromkeys(("matcher_cpu_ms", "matcher_ms"), Figure(None, NO_ROLES))
    return {
        "device_ms": timing([row.device_ms for row in alone]),
        "device_cpu_ms": timing([row.device_cpu_ms for row in alone], middle=False),
        "hash_ms": timing([row.hash_ms for row in alone]),
        "send_ms": timing([row.wall_ms for row in rows]),
        "matcher_cpu_ms": timing([row.role_cpu_ms for row in alone], middle=False),
        "matcher_ms": timing([row.role_ms for row in alone]),
        "query_up_bytes": timing([row.up_bytes for row in rows], middle=False),
        "query_down_bytes": timing([row.down_bytes for row in rows], middle=False),
        "report_bytes": _report(seen),
        **({} if seen.design.roles else nobody),
    }


def _report(seen: Observed) -> Figure:
    reported = [row.report_bytes for row in seen.pictures if row.report_bytes]
    if reported:
        return timing(reported, middle=False)
    if list(seen.design.learns) == [str(Learner.SERVER)]:
        return Figure(0.0, "the server reports by itself; the device sends nothing for a report")
    return Figure(None, NO_MATCHES if matches_nothing(seen) else "no device made a report")


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
    if not playing:
        return Figure(None, NO_ROLES)
    spent = [one.cpu_s for one in seen.servers if one.party in playing]
    if any(value is None for value in spent):
        return Figure(None, "the system does not tell")
    total = sum(value for value in spent if value is not None)
    return number(1000 * total / max(1, len(seen.pictures)), n=len(seen.pictures))


def _privacy(seen: Observed, checks: Sequence[Check], why: str) -> dict[str, Figure]:
    return {
        "undeclared_bytes": _undeclared(seen.audit),
        "advantage": _advantage(seen, checks, GAMES, why),
        "list_advantage": _advantage(seen, checks, LIST_GAMES, why),
    }


def _undeclared(audit: Audited) -> Figure:
    if not audit.comparable:
        return Figure(None, NOT_COMPARABLE)
    return number(audit.undeclared_bytes, n=audit.pictures)


def _advantage(seen: Observed, checks: Sequence[Check], games: Sequence[str], why: str) -> Figure:
    """The largest upper bound over all opponents of the `games` that were played, and what its runs show."""
    played = [check for check in checks if check.check in games]
    if any(check.verdict == "failed" for check in played):
        return Figure(1.0, "", n=len(played))
    if matches_nothing(seen):
        return Figure(None, NO_MATCHES)
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
    high, runs = max(found)
    return Figure(high, note, n=runs, resolution=round(resolution(runs), 4))


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


def key_tries(key: KeyUse | None) -> int | None:
    """Pictures that an account may ask about under one key; None without such a limit."""
    return None if key is None or key.per_account is None else key.per_account // key.cost


def _oracle(seen: Observed) -> Figure:
    """What rate limit, after the first burst, and key allow in a day; 0 where the device learns nothing."""
    if str(Learner.DEVICE) not in seen.design.learns:
        return Figure(0.0)
    allowed = seen.query_rate * DAY_SECONDS + seen.query_burst
    limit = key_tries(seen.key)
    if limit is None or allowed <= limit:
        return Figure(allowed)
    return Figure(float(limit), "the limits of a key allow no more under one key, however many days it lasts")
