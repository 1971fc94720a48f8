"""Turns the observations of a design into figures with intervals; nothing is taken on a design's word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final

from blindmatch_protocol.contract import Learner
from blindmatch_protocol.picture.pdq import LEAST_QUALITY, MATCH_DISTANCE
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.catalogue import FIGURES
from blindmatch_simulations.evaluation.assess.observed import Check, KeyUse, Observed, PictureRow, Proven
from blindmatch_simulations.evaluation.assess.privacy import privacy
from blindmatch_simulations.evaluation.assess.results import Recall
from blindmatch_simulations.evaluation.corpus.installed import PHOTOGRAPHS
from blindmatch_simulations.evaluation.corpus.own import OWN
from blindmatch_simulations.measure.intervals import median_ratio, number, share, timing
from blindmatch_simulations.measure.results import Figure
from blindmatch_simulations.testbed.inprocess.verdict import Verdict

DISTANCES: Final = ((0, 0), (1, 8), (9, 16), (17, 24), (25, 31), (32, 48), (49, 256))
"""Ranges of the distance between an edited picture and its original, both ends included."""

DAY_SECONDS: Final = 86_400
NO_LEARNER: Final = "what whoever learns of matches learnt could not be told apart by picture"
NOTHING: Final = "nothing to measure"
"""How the reason begins where there is nothing a figure could be of: no gap in the run."""
NO_MATCHES: Final = f"{NOTHING}: the design matches nothing"
NO_ROLES: Final = f"{NOTHING}: it asks nobody"
NO_LIST: Final = f"{NOTHING}: there is no list; what a device fetches is the harness's own manifest"
OF_A_CATEGORY: Final = f"{NOTHING}: it flags a category of its own, of which listed pictures need not be"
UNLIMITED: Final = "without limit: a device tests pictures by itself, and asks nobody"
TESTS_ALONE: Final = ("list", "every_entry", "every_guess", "every_score")
"""Facts by which a device finds out alone what a picture would lead to."""
NOT_SKIPPED: Final = f"{NOTHING}: the provider reads the messages themselves"
FOUND: Final = ("recall", "recall_pairs", "recall_identical", "false_matches")
OF_MATCHES: Final = (*FOUND, "evading", "skipped_unnoticed")
"""Figures that are of nothing where nothing is matched."""
OF_A_SET: Final = ("setup_bytes", "update_bytes", "build_s", "build_cpu_s", "update_s")
HELD_BEFORE: Final = "it grew by less than the records kept: the process had had the memory before"
OWN_PICTURES: Final = "not looked for with pictures of the user's own"
NO_PROOF: Final = "the run is of before proofs to outsiders were measured"
NOT_TIED: Final = (
    f"{NOTHING}: a role answers by what it holds, so that no logged epoch shows which list it used"
)
QUOTED: Final = (
    f"{NOTHING}: a quote that the vendor vouches for ties the enclave to the epoch's list; "
    "devices are shown it, outsiders are not"
)


def matches_nothing(seen: Observed) -> bool:
    """Does the design call nothing a match, by its declaration and in this run?"""
    return seen.design.relation == "nothing" and not any(row.matched for row in seen.pictures)


def figures(seen: Observed, checks: Sequence[Check], checks_why: str) -> dict[str, Figure]:
    """All figures of the catalogue."""
    found = {
        **_effectiveness(seen),
        **_costs(seen),
        **_set(seen),
        **_harness(seen),
        **privacy(seen, checks, checks_why, NO_MATCHES if matches_nothing(seen) else ""),
        **_security(seen, checks, checks_why),
        "audit_sessions": number(seen.audit.sessions, n=seen.audit.pictures),
        "proof_bytes": _proof(seen.proven),
        **_nothing(seen),
    }
    return {name: replace(figure, unit=FIGURES[name].unit) for name, figure in found.items()}


def _nothing(seen: Observed) -> dict[str, Figure]:
    """Figures that would be of nothing, with why."""
    found: dict[str, Figure] = {}
    if matches_nothing(seen):
        found |= dict.fromkeys((*OF_MATCHES, "proof_bytes"), Figure(None, NO_MATCHES))
        found |= dict.fromkeys(OF_A_SET, Figure(None, NO_LIST))
    if seen.design.relation == "category":
        found |= dict.fromkeys((*FOUND, "evading"), Figure(None, OF_A_CATEGORY))
    if not seen.design.end_to_end:
        found |= dict.fromkeys(("query_up_bytes", "query_down_bytes"), Figure(None, NOT_SKIPPED))
    return found


def _proof(proven: Proven | None) -> Figure:
    """The epoch's leaf and proof, where they say what is matched with; in words what else can be shown."""
    if proven is None:
        return Figure(None, NO_PROOF)
    if not proven.ties:
        return Figure(None, QUOTED if proven.quoted else NOT_TIED)
    more = {"an entry's endorsement": proven.endorsement, "a picture's absence": proven.absence}
    words = [f"{what} {size:,} bytes" for what, size in more.items() if size is not None]
    return Figure(float(proven.epoch), "; ".join(["epoch and log, two witnesses", *words]), n=1)


def recall_by_edit(seen: Observed, edits: Iterable[str]) -> tuple[Recall, ...]:
    """Listed pictures found, edit by edit."""
    return tuple(
        _recall(seen, name, [r for r in main_rows(seen) if r.listed and r.edit == name]) for name in edits
    )


def recall_by_distance(seen: Observed) -> tuple[Recall, ...]:
    """Listed pictures found, by how far the edit moved their hash."""
    return tuple(
        _recall(
            seen,
            str(low) if low == high else f"{low} to {high}",
            [row for row in main_rows(seen) if row.listed and low <= row.origin_distance <= high],
        )
        for low, high in DISTANCES
    )


def tries_until_hidden(rows: Sequence[PictureRow], edits: Sequence[str]) -> tuple[int, ...]:
    """For each listed picture: the suite's edits tried, in order, until one did not match; 0 if none.

    Nothing is said of the user's own pictures.
    """
    found = []
    rows = [row for row in rows if row.kind != OWN]
    for name in sorted({row.name for row in rows if row.listed}):
        outcome = {row.edit: row.matched for row in rows if row.listed and row.name == name}
        hidden = (at for at, edit in enumerate(edits, 1) if outcome.get(edit) is False)
        found.append(next(hidden, 0))
    return tuple(found)


def _recall(seen: Observed, name: str, rows: Sequence[PictureRow]) -> Recall:
    if matches_nothing(seen):
        return Recall(name, len(rows), None, Figure(None, NO_MATCHES))
    if seen.design.relation == "category":
        return Recall(name, len(rows), None, Figure(None, OF_A_CATEGORY))
    if any(row.matched is None for row in rows):
        return Recall(name, len(rows), None, Figure(None, NO_LEARNER))
    return Recall(name, len(rows), sum(row.matched is True for row in rows), _found(rows))


def _found(rows: Sequence[PictureRow]) -> Figure:
    """The share of pictures that led to a match."""
    return share(sum(row.matched is True for row in rows), len(rows), units=_units(rows))


def _units(rows: Sequence[PictureRow]) -> int | None:
    """Copies of one picture count once: copies over the most of one picture, the number of pictures if all
    have as many."""
    copies = Counter(row.name for row in rows)
    return len(rows) // max(copies.values()) if copies else None


def found_by_kind(seen: Observed, listed: bool) -> tuple[Recall, ...]:
    """Listed pictures found, or others that led to a match, kind by kind; nothing if one kind was sent."""
    kinds = list(dict.fromkeys(row.kind for row in seen.pictures))
    rows = [row for row in seen.pictures if row.listed is listed]
    each = [_recall(seen, kind, [row for row in rows if row.kind == kind]) for kind in sorted(kinds)]
    return tuple(each) if len(each) > 1 else ()


def main_rows(seen: Observed) -> list[PictureRow]:
    """Crops, or the user's own pictures: further kinds have figures of their own."""
    return [row for row in seen.pictures if row.kind in (PHOTOGRAPHS, OWN)]


def _is_pdqs(row: PictureRow) -> bool:
    """Does PDQ itself call this picture a match with an entry?"""
    return row.list_distance <= MATCH_DISTANCE and row.quality >= LEAST_QUALITY


def _effectiveness(seen: Observed) -> dict[str, Figure]:
    rows = main_rows(seen)
    listed = [row for row in rows if row.listed]
    others = [row for row in rows if not row.listed]
    names = (*FOUND, "wrong_outcomes")
    if any(row.matched is None for row in rows):
        return dict.fromkeys(names, Figure(None, NO_LEARNER))
    false = sum(row.matched is True for row in others)
    return {
        "recall": _found(listed),
        "recall_pairs": _found([row for row in listed if _is_pdqs(row)]),
        "recall_identical": _found([row for row in listed if row.edit == "identical"]),
        "false_matches": share(false, len(others), len(others) * seen.entries, _units(others)),
        "wrong_outcomes": share(
            sum(row.matched is not row.expected for row in seen.pictures),
            len(seen.pictures),
            units=_units(seen.pictures),
        ),
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
        "device_peak_mib": _grown(seen.peak_mib),
        "setup_bytes": number(seen.build.setup_bytes),
        "server_cpu_ms": _server_cpu(seen),
        "build_s": Figure(seen.build.seconds, parts, n=1),
        "build_cpu_s": Figure(seen.build.cpu_s, parts, n=1),
        "update_s": Figure(update.seconds if update else None, why, n=1),
        "update_bytes": Figure(float(seen.update.fetched_bytes) if update else None, why),
    }


def _grown(mib: float | None) -> Figure:
    """How far a process grew; a fall beside the records says nothing of what the design takes."""
    return number(None, HELD_BEFORE) if mib is not None and mib < 0 else number(mib)


def _harness(seen: Observed) -> dict[str, Figure]:
    """What the harness adds, as a share of the design's own work: medians over pairs, resampled intervals."""
    rows = seen.harness
    if not rows:
        why = "too dear here for pairs of sessions to be timed" if seen.design.roles else NO_ROLES
        return dict.fromkeys(("harness_cpu", "harness_wall"), Figure(None, why))
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


def _security(seen: Observed, checks: Sequence[Check], why: str) -> dict[str, Figure]:
    rows = main_rows(seen)
    names = {row.name for row in rows if row.listed}
    hidden = {row.name for row in rows if row.listed and row.matched is False}
    finished = [check for check in checks if check.verdict != Verdict.NOT_CHECKED]
    failed = sum(check.verdict == Verdict.FAILED for check in finished)
    unfinished = f"{len(finished)} checks finished, none failed; {why}" if finished else why
    return {
        "skipped_unnoticed": Figure(None, NOT_SKIPPED)
        if not seen.design.end_to_end
        else share(seen.offence.delivered, seen.offence.sent),
        "evading": _evading(rows, len(hidden), len(names)),
        "oracle_tries": _oracle(seen),
        "checks_failed": number(None if why and not failed else failed, unfinished, len(finished)),
    }


def _evading(rows: Sequence[PictureRow], hidden: int, names: int) -> Figure:
    if any(row.kind == OWN for row in rows):
        return Figure(None, OWN_PICTURES)
    known = all(row.matched is not None for row in rows)
    return share(hidden, names) if known else Figure(None, NO_LEARNER)


def key_tries(key: KeyUse | None) -> int | None:
    """Pictures that an account may ask about under one key; None without such a limit."""
    return None if key is None or key.per_account is None else key.per_account // key.cost


def _oracle(seen: Observed) -> Figure:
    """What rate limit, after the first burst, and key allow in a day; 0 where the device learns nothing."""
    if str(Learner.DEVICE) not in seen.design.learns:
        return Figure(0.0)
    alone = {fact.name for one in seen.design.declared if one.parties == ("device",) for fact in one.facts}
    if not seen.design.roles or alone & {*TESTS_ALONE}:
        return Figure(None, UNLIMITED)
    allowed = seen.query_rate * DAY_SECONDS + seen.query_burst
    limit = key_tries(seen.key)
    if limit is None or allowed <= limit:
        return Figure(allowed)
    return Figure(float(limit), "the limits of a key allow no more under one key, however many days it lasts")
