"""Every figure of a design: what it says, its unit, its criterion, and where its rows are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of figure.

    Attributes:
        criterion: one of the five.
        title: short, for a table's head.
        unit: of the value; ``share`` is of 1.
        says: how it was measured, in a sentence.
        rows: the kind of raw rows it is made from.
    """

    criterion: str
    title: str
    unit: str
    says: str
    rows: str


FIGURES: Final[dict[str, Kind]] = {
    "recall": Kind(
        "effectiveness",
        "Found, of all edited",
        "share",
        "Of all listed pictures that were sent, each once with every edit of the suite, those that led to a "
        "match. The crops were chosen: PDQ quality 50 or more, hashes more than 60 bits apart.",
        "pictures",
    ),
    "recall_pairs": Kind(
        "effectiveness",
        "Found, of PDQ's pairs",
        "share",
        "The same of those alone whose hash is within 31 bits of an entry, with quality 50 or more: what PDQ "
        "itself finds.",
        "pictures",
    ),
    "recall_identical": Kind(
        "effectiveness",
        "Found when unedited",
        "share",
        "Of listed pictures sent as they are, those that led to a match.",
        "pictures",
    ),
    "false_matches": Kind(
        "effectiveness",
        "False matches per item",
        "share",
        "Of pictures that are not on the list, those that led to a match.",
        "pictures",
    ),
    "wrong_outcomes": Kind(
        "effectiveness",
        "Outcomes other than the design's own rule",
        "share",
        "Of all pictures sent, those whose outcome was not what the design's relation gives in the clear.",
        "pictures",
    ),
    "device_ms": Kind(
        "feasibility",
        "Device time",
        "ms/picture",
        "Median wall time of the design's own steps on the device, in one process, after hashing.",
        "alone",
    ),
    "device_cpu_ms": Kind(
        "feasibility",
        "Device CPU",
        "ms/picture",
        "Mean CPU time of the design's own steps on the device, in one process, after hashing.",
        "alone",
    ),
    "hash_ms": Kind(
        "feasibility",
        "Decode and hash",
        "ms/picture",
        "Median wall time of decoding a picture and computing its PDQ hash; the same work for all designs.",
        "alone",
    ),
    "send_ms": Kind(
        "feasibility",
        "Send, end to end",
        "ms/picture",
        "Median wall time from handing a picture over until it is sent: matching, messenger, gRPC over TLS.",
        "pictures",
    ),
    "device_peak_mib": Kind(
        "feasibility",
        "Device memory",
        "MiB",
        "How far the device's process grew at the most while pictures were sent, less the records kept.",
        "pictures",
    ),
    "query_up_bytes": Kind(
        "feasibility",
        "Query, up",
        "bytes/picture",
        "Mean matching requests for a picture, all roles together.",
        "pictures",
    ),
    "query_down_bytes": Kind(
        "feasibility",
        "Query, down",
        "bytes/picture",
        "Mean matching replies for a picture, all roles together.",
        "pictures",
    ),
    "report_bytes": Kind(
        "feasibility",
        "Report",
        "bytes/match",
        "Mean requests to the centre for a picture that the device reported.",
        "pictures",
    ),
    "setup_bytes": Kind(
        "feasibility", "Set-up", "bytes/device", "What every device fetches once for this list.", "summary"
    ),
    "matcher_cpu_ms": Kind(
        "feasibility",
        "Server CPU",
        "ms/query",
        "Mean CPU time of the roles' answers to one picture, in one process, one thread.",
        "alone",
    ),
    "matcher_ms": Kind(
        "feasibility",
        "Server time",
        "ms/query",
        "Median wall time of the roles' answers to one picture, in one process, one thread.",
        "alone",
    ),
    "server_cpu_ms": Kind(
        "feasibility",
        "Server CPU, deployed",
        "ms/picture",
        "CPU of the processes that play the design's roles while the pictures were sent, a picture; "
        "to the clock tick.",
        "summary",
    ),
    "build_s": Kind(
        "feasibility", "Set build", "s", "Wall time of building and publishing the whole set.", "summary"
    ),
    "build_cpu_s": Kind(
        "feasibility",
        "Set build, CPU",
        "s",
        "CPU time of building and publishing the whole set.",
        "summary",
    ),
    "update_s": Kind(
        "feasibility",
        "Update",
        "s",
        "Wall time of publishing the plan's additions and removals, as a change of the set or, where the "
        "design cannot do that, as a whole one.",
        "summary",
    ),
    "update_bytes": Kind(
        "feasibility", "Update, fetched", "bytes/device", "What a device fetches for that update.", "summary"
    ),
    "harness_cpu": Kind(
        "feasibility",
        "Added by the harness, CPU",
        "share",
        "CPU time that records for the audit add to the same session of device and roles in one process, of "
        "the session's own; medians of pairs.",
        "harness",
    ),
    "harness_wall": Kind(
        "feasibility",
        "Added by the harness, time",
        "share",
        "Wall time that records for the audit add to the same session of device and roles in one process, of "
        "the session's own; medians of pairs.",
        "harness",
    ),
    "undeclared_bytes": Kind(
        "privacy",
        "Undeclared bytes",
        "bytes",
        "Bytes that left an audited device and that nothing declared explains.",
        "summary",
    ),
    "advantage": Kind(
        "privacy",
        "Best distinguisher, at most",
        "of 1",
        "Advantage in telling apart two pictures that agree in everything declared: 0 is guessing, 1 is "
        "being always right. The largest upper bound over the leakage games of this suite; none exceeded it, "
        "which "
        "proves nothing about others. Guessing alone gives the bound in brackets: few runs look worse.",
        "checks",
    ),
    "list_advantage": Kind(
        "privacy",
        "Best distinguisher, lists",
        "of 1",
        "The upper bound over this suite's games over lists: a device is given one of two lists that agree "
        "on what is declared to it; none exceeded it, which proves nothing about others.",
        "checks",
    ),
    "depicted": Kind(
        "privacy",
        "Listed picture, rebuilt from stolen files",
        "SSIM",
        "How alike a listed picture is what can be rebuilt of it by whoever has its hash from the stored "
        "files of a device or a server: structural similarity, mean of generated pictures, with no trained "
        "model; 0 where no such file has a hash. Curator and centre hold the list in every design.",
        "summary",
    ),
    "skipped_unnoticed": Kind(
        "security",
        "Skipped matching, delivered",
        "share",
        "Of listed pictures sent by a modified client that never asks, those that arrived; what a party can "
        "notice stands under 'What an offender can do'.",
        "summary",
    ),
    "evading": Kind(
        "security",
        "Pictures an edit hides",
        "share",
        "Of listed pictures, those that at least one edit of this suite keeps from matching.",
        "pictures",
    ),
    "oracle_tries": Kind(
        "security",
        "Tries an account has a day",
        "tries/day",
        "How many pictures an account may ask about in a day at the server's rate limit, and learn the "
        "outcome of; 0 if the device learns nothing.",
        "summary",
    ),
    "checks_failed": Kind(
        "security",
        "Checks failed",
        "checks",
        "Conformance checks that failed: hostile bytes, order, epochs, keys, files, bounds, leakage.",
        "checks",
    ),
    "audit_sessions": Kind(
        "transparency",
        "Sessions derived again",
        "sessions",
        "Matching sessions of the audited device whose requests came out again from the recorded randomness.",
        "summary",
    ),
    "proof_bytes": Kind(
        "transparency",
        "Proofs to the public",
        "bytes",
        "Size of what shows an outsider that all have this epoch, where that says what is matched with.",
        "summary",
    ),
}
