"""What is counted of calls: for monitoring by method and status, for operators by method and account.

Monitoring scrapes Prometheus's text format over plain HTTP, on loopback alone and only if a port was given:
no account, no content. How often a method is called is nobody's business outside the machine, so a collector
runs beside the server or tunnels to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import start_wsgi_server

from blindmatch_server.hosting.endpoint import OPERATORS, Call, Method
from blindmatch_server.storage.errors import PortTakenError

LOOPBACK: Final = "127.0.0.1"
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)


class Metrics:
    """Counts finished calls; safe to be scraped from another thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._calls = Counter(
            "blindmatch_calls", "Finished calls.", ("method", "status"), registry=self._registry
        )
        self._bytes = Counter(
            "blindmatch_message_bytes",
            "Serialised messages of finished calls.",
            ("method", "direction"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "blindmatch_call_seconds",
            "From a call's start to its end.",
            ("method",),
            registry=self._registry,
            buckets=_BUCKETS,
        )
        self._dropped = Counter(
            "blindmatch_log_lines_dropped", "Log lines that could not be written.", registry=self._registry
        )
        self._draining = Gauge("blindmatch_draining", "1 while calls are finished.", registry=self._registry)

    def count(self, call: Call) -> None:
        self._calls.labels(call.method, call.status).inc()
        self._bytes.labels(call.method, "in").inc(call.bytes_in)
        self._bytes.labels(call.method, "out").inc(call.bytes_out)
        self._seconds.labels(call.method).observe(call.seconds)

    def drop_line(self) -> None:
        self._dropped.inc()

    def drain(self) -> None:
        self._draining.set(1)

    @contextmanager
    def served(self, port: int) -> Iterator[int]:
        """Serve on loopback while the context lasts; yields the port (0 takes a free one). Raises
        `PortTakenError` if it cannot be bound."""
        try:
            server, thread = start_wsgi_server(port, LOOPBACK, self._registry)
        except OSError as error:
            raise PortTakenError(f"metrics: {LOOPBACK}:{port} cannot be bound: is it in use?") from error
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class Tally(Struct):
    """Of a method and account; kept as long as the server runs, so it is small."""

    calls: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


class Audit:
    """The `Audit` service: lets an audit hold what a device says it sent against what arrived here."""

    descriptor = wire.DESCRIPTOR.services_by_name["Audit"]

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}

    def count(self, call: Call) -> None:
        tally = self._tallies.setdefault((call.method, call.account), Tally())
        tally.calls += 1
        tally.bytes_in += call.bytes_in
        tally.bytes_out += call.bytes_out

    def methods(self) -> Mapping[str, Method]:
        return {"ReadCounters": Method(self.read_counters, OPERATORS)}

    async def read_counters(self, request: wire.CountersRequest, call: Call) -> wire.Counters:
        return wire.Counters(
            counters=[
                wire.Counter(method=m, account=a, calls=t.calls, bytes_in=t.bytes_in, bytes_out=t.bytes_out)
                for (m, a), t in sorted(self._tallies.items())
            ]
        )
