"""Hosting a design's roles: the `Matching` service, and what it needs. The matcher does nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_protocol.codec import most_bytes
from blindmatch_protocol.codec.errors import EpochMismatchError, PictureError
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import UNBOUND, AnyDesign, KeyLimits, Role, Send, Verdict
from blindmatch_protocol.messages import parts
from blindmatch_protocol.messages.parts import begun, cut, split
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct, field

from blindmatch_server.hosting.endpoint import DEVICES, EVERYONE, Call, Method, ServerContext
from blindmatch_server.hosting.event_log import Clock, milliseconds
from blindmatch_server.hosting.limits import CallLimit, TokenBuckets, TurnQueue, under_way
from blindmatch_server.matching import forwarding
from blindmatch_server.matching.answering import Answering, MatchingLimits, Task
from blindmatch_server.matching.enrolments import STEP as ENROL
from blindmatch_server.matching.enrolments import Enrolments
from blindmatch_server.matching.epochs import Epochs, EpochSource, Loader, OpenEpoch, Renewing
from blindmatch_server.matching.ledger import (
    Budget,
    CentreAddress,
    Filer,
    MatcherStore,
    filing_of,
    request_of,
)
from blindmatch_server.storage.blobs import Bodies
from blindmatch_server.storage.errors import ForbiddenError, NotFoundError, OutOfRangeError, QuotaError

T = TypeVar("T")
_FETCH: Final = "matching/fetch-setup"
_LONG_SECONDS: Final = 3600.0


class MatchingService(Redacted, Struct, dict=True, eq=False):
    """Plays the roles of one design that are this party's, and forwards to those it is the carrier of."""

    descriptor = wire.DESCRIPTOR.services_by_name["Matching"]

    config: MatchingConfig
    epochs: Epochs
    answering: Answering
    enrolments: Enrolments
    ledger: MatcherStore
    budget: Budget
    bodies: Bodies
    clock: Clock
    filer: Filer | None = None
    forwarder: forwarding.Forwarder | None = None

    def __post_init__(self) -> None:
        self.design = self.config.design
        self.limits = self.config.limits
        self._carried = self.forwarder.roles if self.forwarder is not None else frozenset[Role]()
        carried = [one.account for one in forwarding.carriers(self.design.info)]
        self._exchanges = TokenBuckets(
            self.limits.exchanges, self.clock, dict.fromkeys(carried, self.limits.carried)
        )
        self._large = CallLimit(
            self.limits.most_large, dict.fromkeys(carried, self.limits.most_carried_large)
        )
        self._enrolling = CallLimit(1)
        self._turns = TurnQueue(self.limits.most_at_work, dict.fromkeys(carried, self.limits.most_carried))

    def methods(self) -> Mapping[str, Method]:
        fetches = TokenBuckets(self.limits.fetches, self.clock)
        enrolments = TokenBuckets(self.limits.enrolments, self.clock)
        senders = DEVICES | {one.kind for one in forwarding.carriers(self.design.info)}
        return {
            "Describe": Method(self.describe, EVERYONE, fetches),
            "FetchSetup": Method(self.fetch_setup, EVERYONE, fetches, _LONG_SECONDS),
            "Exchange": Method(self.exchange, senders, self._exchanges, turns=self._turns),
            "ExchangeLarge": Method(self.exchange_large, senders, self._exchanges, _LONG_SECONDS),
            "Enrolled": Method(self.enrolled, DEVICES, enrolments),
            "Enrol": Method(self.enrol, DEVICES, enrolments, _LONG_SECONDS),
        }

    async def describe(self, request: wire.DescribeRequest, call: Call) -> wire.Description:
        """The design, the epoch in force with its signed manifest, what a log says of it, its files."""
        epoch = self.epochs.current
        logged = await asyncio.to_thread(epoch.logged)
        return wire.Description(
            design=self.design.info.name,
            version=self.design.info.version,
            epoch=epoch.epoch,
            roles=sorted(epoch.roles),
            setup=[
                wire.SetupFile(name=name, size=len(memoryview(file.content)), sha256=file.sha256)
                for name, file in sorted(epoch.setup.items())
            ],
            manifest=epoch.manifest,
            leaf=logged.leaf if logged else b"",
            proof=logged.proof if logged else b"",
            consistency=logged.consistency(request.tree_sizes) if logged else (),
        )

    async def fetch_setup(self, request: wire.SetupRequest, call: Call) -> AsyncIterator[wire.Part]:
        """A set-up file from an offset on; the first part bears the size of the whole file;
        `EpochMismatchError` if another epoch is in force, `NotFoundError` if there is no such file,
        `OutOfRangeError` if the offset is past its end."""
        epoch = self.epochs.current
        if request.epoch != epoch.epoch:
            raise EpochMismatchError(_FETCH, f"must be {epoch.epoch}, not {request.epoch}", "epoch")
        file = epoch.setup.get(request.name)
        if file is None:
            raise NotFoundError(_FETCH, "no such set-up file", "name")
        size = len(memoryview(file.content))
        if request.offset > size:
            raise OutOfRangeError(_FETCH, f"must be at most {size}", "offset")
        epoch.check()
        for part in cut(parts.PART, wire.Part(), size, parts.pieces(file.content, request.offset)):
            yield part

    async def exchange(self, request: wire.Envelope, call: Call) -> wire.Envelope:
        """One body to one role. Raises what `check_head` and `Answering.answer` raise."""
        epoch = self.epochs.current
        role = self._role_of(request, epoch, call)
        body = parts.single(request, forwarding.EXCHANGE)
        return forwarding.small_reply(request, await self._reply(epoch, role, request, body, call))

    async def exchange_large(
        self, requests: AsyncIterator[wire.Envelope], call: Call
    ) -> AsyncIterator[wire.Envelope]:
        """One large body to one role. Raises what `check_head`, `Bodies` and `Answering.answer` raise. Raises
        `QuotaError` if it is longer than any request to the role; nothing of it is kept then."""
        with self._large.hold(call.account, forwarding.EXCHANGE):
            joiner = parts.Joiner(parts.ENVELOPE, self.limits.most_body_bytes, forwarding.EXCHANGE)
            first, data = await begun(joiner, requests)
            epoch = self.epochs.current
            role = self._role_of(first, epoch, call)
            if joiner.size > (most := most_bytes(*self.design.requests[role])):
                raise QuotaError(
                    forwarding.EXCHANGE, f"must be at most {most}: no request is longer", "body_size"
                )
            async with self.bodies.whole(data, forwarding.EXCHANGE) as body:
                reply = await self._reply(epoch, role, first, body, call)
            del body
            for envelope in split(parts.ENVELOPE, forwarding.reply_to(first), reply):
                yield envelope

    async def enrolled(self, request: wire.EnrolmentHead, call: Call) -> wire.Held:
        """What a role holds of the caller. Raises what `Enrolments.check` raises."""
        await self._check_enrolment(request)
        return await asyncio.to_thread(self.enrolments.state, request, call.account)

    async def enrol(self, requests: AsyncIterator[wire.EnrolPart], call: Call) -> wire.Held:
        """Take the rest of an enrolment. Raises what `Enrolments.check` and `Enrolments.take` raise."""
        with self._enrolling.hold(call.account, ENROL):
            first, data = await begun(
                parts.Joiner(parts.ENROLMENT, self.limits.most_enrolment_bytes, ENROL), requests
            )
            await self._check_enrolment(first.head)
            return await self.enrolments.take(first.head, call.account, first.offset, data)

    async def _check_enrolment(self, head: wire.EnrolmentHead) -> None:
        epoch = self.epochs.current
        self.enrolments.check(head, epoch)
        await self.enrolments.use(epoch.enrolment_key)

    def _role_of(self, head: wire.Envelope, epoch: OpenEpoch, call: Call) -> Role:
        """The role that a body is for, once it is known to come from whom it must; `ForbiddenError` if it
        does not; or if pictures are looked at in messages, which are in the clear."""
        if not self.design.info.end_to_end:
            raise ForbiddenError(forwarding.EXCHANGE, "pictures are looked at in the messages that bear them")
        role = forwarding.check_head(head, self.design, epoch, self._carried)
        forwarding.check_sender(self.design.info, role, role in epoch.roles, call.caller)
        return role

    async def _reply(
        self, epoch: OpenEpoch, role: Role, head: wire.Envelope, body: bytes, call: Call
    ) -> bytes:
        if self.forwarder is not None and role not in epoch.roles:
            ask = partial(self.forwarder.ask, head, body, epoch.slot_seconds)
            return await self._counted(epoch.carried.get(role), call.account, ask)
        return await self._answer(epoch, role, body, head.request_id, call.account)

    async def scan(self, account: str, request_id: bytes, file: bytes) -> None:
        """Look at a file that a message of `account` bears in the clear, as if its device had asked the roles
        here; verdict and report are on disk then. What is no picture is nothing to look at."""
        epoch = self.epochs.current
        try:
            bodies = await asyncio.to_thread(self._asked, epoch, Picture.from_bytes(file))
        except PictureError:
            return
        for role, body in bodies.items():
            await self._answer(epoch, role, body, request_id, account)

    def _asked(self, epoch: OpenEpoch, item: Picture) -> dict[Role, bytes]:
        """What a device would ask the roles about a picture; raises `PictureError` if it is none."""
        files = {name: file.content for name, file in epoch.setup.items() if name != ENDORSEMENT}
        setup = self.design.open_setup(files)
        state = self.design.enrol(self.config.rng)
        step = self.design.start(state, setup, item, UNBOUND, self.config.rng).step
        return {role: body.encode() for role, body in step.bodies.items()} if isinstance(step, Send) else {}

    async def _answer(
        self, epoch: OpenEpoch, role: Role, body: bytes, request_id: bytes, account: str
    ) -> bytes:
        await self.enrolments.use(self.epochs.current.enrolment_key)
        enrolment = await self.enrolments.held(role, account, epoch.enrolment_key)
        limits = self.design.key_limits(role, epoch.roles[role])
        task = Task(epoch, role, body, enrolment)
        answered = await self._counted(limits, account, partial(self.answering.answer, task, account))
        if answered.verdict is not None:
            await self._learn(epoch, account, request_id, answered.verdict)
        return answered.reply

    async def _counted(self, limits: KeyLimits | None, account: str, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer, once it is counted where there are limits; both are done at the same time."""
        if limits is None:
            return await ask()
        await self.budget.check(account, limits)
        answered, _ = await asyncio.gather(ask(), self.budget.spend(account, limits))
        return answered

    async def _learn(self, epoch: OpenEpoch, account: str, request_id: bytes, verdict: Verdict) -> None:
        """Record a verdict, and the report that it makes due, before the device is answered."""
        request = await asyncio.to_thread(request_of, request_id, verdict)
        now = milliseconds(self.clock)
        matched = verdict.label is not None
        filing = None
        facts = (self.design.info, epoch.epoch, account, verdict)
        if (centre := self.config.centre) is not None:
            filing = await asyncio.to_thread(filing_of, *facts, centre, now, self.config.rng)
        added = await self.ledger.record(account, request, now, matched, filing)
        if added and filing is not None and self.filer is not None:
            self.filer.wake()


class MatchingConfig(Struct, frozen=True):
    """What hosting a design's roles needs.

    Attributes:
        directory: holds the ledger and enrolments; made if it is not there.
        centre: where the server's own reports go; None if it makes none.
        rng: the roles' randomness, but for those that answer in processes.
        load: gives the design in worker processes, where it has such roles.
        carrying: how bodies reach the roles that this server forwards to; None if there are none.
        renewing: keeps the log's proof of the epoch fresh; None if there is no log, or another server does.
        parts: this server grants one of so many equal parts of each key's limits, rounded down; others that
            hold the same keys grant the others.
    """

    design: AnyDesign
    source: EpochSource
    directory: Path
    centre: CentreAddress | None = None
    limits: MatchingLimits = field(default_factory=MatchingLimits)
    rng: Randomness = field(default_factory=system_randomness)
    load: Loader | None = None
    carrying: forwarding.Carrying | None = None
    renewing: Renewing | None = None
    parts: int = 1


@asynccontextmanager
async def open_matching(
    config: MatchingConfig, context: ServerContext
) -> AsyncIterator[list[MatchingService]]:
    """The matching service with its epoch open, watched, and its filings under way. Raises `StateError` if
    the ledger cannot be opened, and `BlindmatchError` if the epoch cannot be opened."""
    epochs = Epochs(config.source)
    await epochs.load()
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        ledger = MatcherStore(config.directory / "ledger.sqlite")
        stack.push_async_callback(ledger.close)
        answering = Answering(config.design, config.rng, config.limits, config.load)
        stack.push_async_callback(answering.close)
        forwarder = None
        if config.carrying is not None:
            forwarder = forwarding.Forwarder(config.design.info, config.carrying, config.limits, config.rng)
            stack.push_async_callback(forwarder.close)
        filer = None if config.centre is None else Filer(ledger, config.centre, context.log)
        tasks = [epochs.watch(context, config.limits.poll_seconds)]
        if config.renewing is not None:
            tasks.append(config.renewing.run(lambda: epochs.current.epoch, context))
        if filer is not None:
            tasks.append(filer.run())
        await stack.enter_async_context(under_way(*tasks))
        if config.parts > 1:
            context.log.write("budget-share", share=f"1/{config.parts}")
        enrolled = config.directory / "enrolments"
        service = MatchingService(
            config,
            epochs,
            answering,
            Enrolments(config.design, enrolled, config.limits.most_enrolment_bytes),
            ledger,
            Budget(ledger, context.clock, context.log, config.parts),
            Bodies(config.directory / "incoming", config.limits.most_coming_bytes),
            context.clock,
            filer,
            forwarder,
        )
        yield [service]
