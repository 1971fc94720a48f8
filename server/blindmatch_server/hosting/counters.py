"""Calls and serialised bytes by method and account, kept in memory and read by operators."""

from __future__ import annotations

from collections.abc import Mapping

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.hosting.authority import Kind
from blindmatch_server.hosting.endpoint import Call, Method


class Tally(Struct):
    """What one account did with one method."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Audit:
    """The `Audit` service: lets an audit hold what a device says it sent against what arrived here."""

    descriptor = wire.DESCRIPTOR.services_by_name["Audit"]

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}

    def count(self, call: Call) -> None:
        """Add a finished call, refused ones included."""
        tally = self._tallies.setdefault((call.method, call.account), Tally())
        tally.calls += 1
        tally.bytes_in += call.bytes_in
        tally.bytes_out += call.bytes_out

    def methods(self) -> Mapping[str, Method]:
        return {"ReadCounters": Method(self.read_counters, frozenset({Kind.OPERATOR}))}

    async def read_counters(self, request: wire.CountersRequest, call: Call) -> wire.Counters:
        """All tallies, in the order of method and account."""
        return wire.Counters(
            counters=[
                wire.Counter(method=m, account=a, calls=t.calls, bytes_in=t.bytes_in, bytes_out=t.bytes_out)
                for (m, a), t in sorted(self._tallies.items())
            ]
        )
