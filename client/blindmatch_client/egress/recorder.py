"""Keeps what left the device, per call, before it leaves."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from msgspec import Struct, field

from blindmatch_client.trace import EgressRecord, Purpose


class Totals(Struct, frozen=True):
    """Sums over the calls of one method at one party; they stay when records are dropped."""

    calls: int = 0
    request_bytes: int = 0
    reply_bytes: int = 0


class Entry(Redacted, Struct):
    """One call's record while it is being written; a retry is a call of its own."""

    sequence: int
    party: Party
    method: str
    purpose: Purpose
    item: int | None
    at_ms: int
    keep: bool = True
    requests: list[bytes] = field(default_factory=list)
    request_bytes: int = 0
    reply_bytes: int = 0
    failed: bool = False

    def record(self) -> EgressRecord:
        """The record as it stands."""
        return EgressRecord(
            self.sequence,
            self.party,
            self.method,
            self.purpose,
            self.item,
            tuple(self.requests),
            self.reply_bytes,
            self.at_ms,
            0 if self.keep else self.request_bytes,
            self.failed,
        )


class Recorder:
    """Records in memory, in the order in which calls began; safe to use from several threads.

    Args:
        most_records: older ones are dropped from then on and live on in `totals` alone; None keeps all,
            as an audit needs.
        keep_requests: whether requests themselves are kept, as an audit needs, or their lengths alone. What
            is kept is in memory: without this an attachment of 100 MiB is too, part by part.
    """

    def __init__(self, most_records: int | None = None, keep_requests: bool = True) -> None:
        self._most = most_records
        self._keep = keep_requests
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._dropped: dict[tuple[Party, str], Totals] = {}
        self._next = 0

    def open(self, party: Party, method: str, purpose: Purpose, item: int | None, at_ms: int) -> Entry:
        """Begin the record of a call that has not gone out yet."""
        with self._lock:
            entry = Entry(self._next, party, method, purpose, item, at_ms, self._keep)
            self._next += 1
            self._entries.append(entry)
            if self._most is not None and len(self._entries) > self._most:
                _add(self._dropped, self._entries.pop(0))
        return entry

    def records(self) -> tuple[EgressRecord, ...]:
        """All records that are kept, in order; those of calls under way are as they stand."""
        with self._lock:
            return tuple(entry.record() for entry in self._entries)

    def totals(self) -> Mapping[tuple[Party, str], Totals]:
        """Sums by party and method over all calls there ever were."""
        with self._lock:
            sums = dict(self._dropped)
            for entry in self._entries:
                _add(sums, entry)
        return sums


def _add(sums: dict[tuple[Party, str], Totals], entry: Entry) -> None:
    before = sums.get((entry.party, entry.method), Totals())
    sums[entry.party, entry.method] = Totals(
        before.calls + 1,
        before.request_bytes + entry.request_bytes,
        before.reply_bytes + entry.reply_bytes,
    )
