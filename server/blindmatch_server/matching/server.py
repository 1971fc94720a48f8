"""What a server needs to host a design's roles; the matcher does nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.contract import AnyDesign
from msgspec import Struct, field

from blindmatch_server.bodies import Bodies
from blindmatch_server.hosting.concurrency import under_way
from blindmatch_server.hosting.endpoint import ServerContext
from blindmatch_server.matching.answering import Answering
from blindmatch_server.matching.budget import Budget
from blindmatch_server.matching.enrolments import Enrolments
from blindmatch_server.matching.epochs import Epochs, EpochSource, Loader
from blindmatch_server.matching.filing import CentreAddress, Filer
from blindmatch_server.matching.forwarding import Carrying, Forwarder
from blindmatch_server.matching.limits import MatchingLimits
from blindmatch_server.matching.renewing import Renewing
from blindmatch_server.matching.service import MatchingService
from blindmatch_server.matching.store import MatcherStore


class MatchingConfig(Struct, frozen=True):
    """What hosting a design's roles needs.

    Attributes:
        design: the design.
        source: where its current epoch comes from, e.g. `PublishedSource`.
        directory: holds the ledger and enrolments; made if it is not there.
        centre: where the server's own reports go; None if it makes none.
        limits: what it allows a device.
        rng: the roles' randomness, but for those that answer in processes.
        load: gives the design in worker processes, where it has such roles.
        carrying: how bodies reach the roles that this server forwards to; None if there are none.
        renewing: keeps the log's proof of the epoch fresh; None if there is no log, or another server does.
    """

    design: AnyDesign
    source: EpochSource
    directory: Path
    centre: CentreAddress | None = None
    limits: MatchingLimits = field(default_factory=MatchingLimits)
    rng: Randomness = field(default_factory=system_randomness)
    load: Loader | None = None
    carrying: Carrying | None = None
    renewing: Renewing | None = None


@asynccontextmanager
async def open_matching(
    config: MatchingConfig, context: ServerContext
) -> AsyncIterator[list[MatchingService]]:
    """The matching service with its epoch open, watched, and its filings under way.

    Raises:
        StateError: if the ledger cannot be opened.
        BlindmatchError: if the epoch cannot be opened.
    """
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
            forwarder = Forwarder(config.design.info, config.carrying, config.limits.most_body_bytes)
            stack.push_async_callback(forwarder.close)
        filer = None if config.centre is None else Filer(ledger, config.centre, context.log)
        tasks = [epochs.watch(context, config.limits.poll_seconds)]
        if config.renewing is not None:
            tasks.append(config.renewing.run(lambda: epochs.current.epoch, context))
        if filer is not None:
            tasks.append(filer.run())
        await stack.enter_async_context(under_way(*tasks))
        enrolled = config.directory / "enrolments"
        service = MatchingService(
            config.design,
            epochs,
            answering,
            Enrolments(config.design, enrolled, config.limits.most_enrolment_bytes),
            ledger,
            Budget(ledger, context.clock, context.log),
            Bodies(config.directory / "incoming", config.limits.most_coming_bytes),
            config.limits,
            context.clock,
            config.rng,
            config.centre,
            filer,
            forwarder,
        )
        yield [service]
