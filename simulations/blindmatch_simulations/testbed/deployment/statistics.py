"""The centre's counts in the form the law asks for (server: `centre/statute.json`), with the error rates.

A rate whose denominator is zero, or unknown, is not measured: never 0 and never a guess.
"""

from __future__ import annotations

from typing import Any, Final

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.notices import IN_STATISTICS, statute
from msgspec import Struct

NOT_MEASURED: Final = "not measured"
COLUMNS: Final = ("figure", "value", "unit")


class Figure(Struct, frozen=True):
    """One line of the statistics.

    Attributes:
        value: a count, a rate or words; None if it was not measured.
    """

    name: str
    value: int | float | str | None
    unit: str


def figures(found: pb.Statistics, scanned: int | None = None) -> list[Figure]:
    """The figures in the order of the form.

    Args:
        scanned: items scanned in the period; nobody but providers can know it.
    """
    return [*_counts(found, scanned), *_rates(found, scanned), *_times(found)]


def published(found: pb.Statistics, scanned: int | None = None) -> dict[str, Any]:
    """The figures as JSON, with what must stand beside them."""
    form = statute().statistics_form
    return {
        "figures": [
            {"figure": one.name, "value": NOT_MEASURED if one.value is None else one.value, "unit": one.unit}
            for one in figures(found, scanned)
        ],
        "error_rate": form.error_rate,
        "caution": form.caution,
        "not_shown": IN_STATISTICS,
        "source": form.source,
    }


def _counts(found: pb.Statistics, scanned: int | None) -> list[Figure]:
    counted = {
        "A: items flagged automatically": found.flagged,
        "B: flagged, not confirmed on human review": found.unconfirmed,
        "C: flagged items reviewed by people": found.reviewed,
        "reports": found.reports,
        "of these, flags of a classifier (no entry matched)": found.flags,
        "vouchers opened": found.vouchers_opened,
        "images": found.images,
        "videos": found.videos,
        "other files, or not readable": found.other_files,
        "accounts that sent at least one": found.accounts_sent,
        "accounts named as recipient of at least one": found.accounts_received,
        "reports that passed the machine checks": found.checks_passed,
        "reports that failed one": found.checks_failed,
        "reports that could not be checked": found.checks_unavailable,
        "reports forwarded to an authority": found.forwarded,
        "items whose removal was asked": found.removal_asked,
        "reports closed": found.closed,
        "complaints": found.complaints,
        "complaints settled": found.complaints_settled,
        "complaints upheld (decision reversed)": found.complaints_upheld,
    }
    return [
        # the centre sees neither: providers and platforms would have to say
        Figure("files processed, in the EU and elsewhere", scanned, "items"),
        *(Figure(name, int(value), "count") for name, value in counted.items()),
        Figure("accounts removed or suspended", None, "count"),
    ]


def _rates(found: pb.Statistics, scanned: int | None) -> list[Figure]:
    wrong = found.unconfirmed
    return [
        Figure("B/A: false-discovery proportion of all flagged", _rate(wrong, found.flagged), "ratio"),
        Figure("B/C: false-discovery proportion of those reviewed", _rate(wrong, found.reviewed), "ratio"),
        Figure("false matches per item scanned", _rate(wrong, scanned), "ratio"),
    ]


def _times(found: pb.Statistics) -> list[Figure]:
    lines = []
    for name, times in (
        ("receipt to decision", found.to_decision),
        ("complaint to answer", found.to_settlement),
    ):
        kinds = {"average": "mean", "median": "median", "90th percentile": "p90", "99th percentile": "p99"}
        for kind, field in kinds.items():
            seconds = round(getattr(times, f"{field}_ms") / 1000, 3) if times.count else None
            lines.append(Figure(f"{name}, {kind}", seconds, "seconds"))
    return lines


def _rate(part: int, whole: int | None) -> float | None:
    return part / whole if whole else None
