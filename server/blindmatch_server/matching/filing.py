"""Reports by a server that has the picture itself (no E2EE, or a trusted scanner).

verdict with content --> Report, no opening --HPKE--> ledger --Submit, again until receipt--> centre
"""

from __future__ import annotations

import asyncio
from io import BytesIO
from typing import Any, ClassVar, Final

import grpc
import grpc.aio
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Info, Label, Party, Verdict
from blindmatch_protocol.messages.parts import SUBMISSION, split
from blindmatch_protocol.messages.report import Report, seal_report
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_protocol.rpc import blindmatch_v1_pb2_grpc as rpc
from msgspec import Struct
from PIL import Image

from blindmatch_server.hosting.authority import Credentials, Identity
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.hosting.outgoing import channel_to
from blindmatch_server.matching.store import Filing, MatcherStore

_FINAL: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)


class CentreAddress(Redacted, Struct, frozen=True):
    """Where a server's own reports go.

    Attributes:
        address: ``host:port``.
        public_key: the centre's X25519 key, 32 bytes.
        reporter: who the server is.
        first_wait_seconds, most_wait_seconds: pause after a failed attempt, doubled each time.
    """

    SHOWN: ClassVar = ("address", "public_key", "reporter", "first_wait_seconds", "most_wait_seconds")

    address: str
    public_key: bytes
    reporter: Identity
    credentials: Credentials
    first_wait_seconds: float = 0.5
    most_wait_seconds: float = 30.0


def filing_of(
    info: Info, epoch: int, account: str, verdict: Verdict, centre: CentreAddress, at_ms: int, rng: Randomness
) -> Filing | None:
    """The sealed report that a verdict makes due; None if it is no match or there is no picture."""
    if verdict.label is None or verdict.content is None:
        return None
    report = _report(info, epoch, account, verdict.label, verdict.content, centre.reporter, at_ms, rng)
    return Filing(report.report_id, seal_report(report, centre.public_key))


def _report(
    info: Info,
    epoch: int,
    account: str,
    label: Label,
    content: tuple[int, int, bytes],
    reporter: Identity,
    at_ms: int,
    rng: Randomness,
) -> Report:
    return Report(
        report_id=rng.take(16),
        design=info.name,
        version=info.version,
        epoch=epoch,
        label=label,
        reporter=reporter.account,
        sender=account,
        recipient="",
        sent_at_ms=at_ms,
        matched_at_ms=at_ms,
        media_type="image/png",
        opening=(),
        picture=_png(content),
    )


def _png(content: tuple[int, int, bytes]) -> bytes:
    """The picture's pixels as a file, without loss."""
    height, width, pixels = content
    out = BytesIO()
    Image.frombytes("RGB", (width, height), pixels).save(out, "PNG", compress_level=1)
    return out.getvalue()


class Filer:
    """Sends what the ledger holds, oldest first, until it is told to stop."""

    def __init__(self, ledger: MatcherStore, centre: CentreAddress, log: EventLog) -> None:
        self._ledger = ledger
        self._centre = centre
        self._log = log
        self._due = asyncio.Event()

    def wake(self) -> None:
        """There is a new filing."""
        self._due.set()

    async def run(self) -> None:
        """Send filings as they come; never returns."""
        wait = self._centre.first_wait_seconds
        async with self._channel() as channel:
            while True:
                self._due.clear()
                if await self._next(channel):
                    wait = self._centre.first_wait_seconds
                else:
                    await asyncio.sleep(wait)
                    wait = min(2 * wait, self._centre.most_wait_seconds)

    async def _next(self, channel: grpc.aio.Channel) -> bool:
        """Submit the oldest filing, or wait for one; False if that has to be tried again."""
        try:
            filing = await self._ledger.next_filing()
            if filing is None:
                await self._due.wait()
                return True
            return await self._submit(channel, filing)
        except Exception as error:
            # the store failed: what the centre took meanwhile it takes again as the same
            self._log.failure("filing-failed", error)
            return False

    def _channel(self) -> grpc.aio.Channel:
        pause = ("grpc.max_reconnect_backoff_ms", int(self._centre.most_wait_seconds * 1000))
        return channel_to(Party.CENTRE, self._centre.address, self._centre.credentials, pause)

    async def _submit(self, channel: grpc.aio.Channel, filing: Filing) -> bool:
        """Submit one; False if it has to be tried again."""
        stub: Any = rpc.CentreStub(channel)  # type: ignore[no-untyped-call]
        head = wire.SubmitPart(report_id=filing.report_id)
        try:
            receipt = await stub.Submit(split(SUBMISSION, head, filing.sealed), timeout=120)
        except grpc.aio.AioRpcError as error:
            self._log.write("filing-failed", status=error.code().name)
            if error.code() not in _FINAL:
                return False
            await self._ledger.refused(filing.report_id, error.code().name)
            return True
        if receipt.report_id != filing.report_id:
            return False
        await self._ledger.filed(filing.report_id)
        return True
