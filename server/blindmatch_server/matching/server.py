"""The matcher as a process, and what other servers need to host a design's roles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.randomness import Randomness, system_randomness

from blindmatch_server.endpoint import Desk, Service
from blindmatch_server.matching.answering import Answering
from blindmatch_server.matching.budget import Budget
from blindmatch_server.matching.enrolments import Enrolments
from blindmatch_server.matching.epochs import Epochs, EpochSource, Loader
from blindmatch_server.matching.filing import CentreAddress, Filer
from blindmatch_server.matching.forwarding import Carrying, Forwarder
from blindmatch_server.matching.ledger import Ledger
from blindmatch_server.matching.limits import MatchingLimits
from blindmatch_server.matching.service import Matching
from blindmatch_server.serving import Listen, Run, serve


@dataclass(frozen=True, slots=True)
class MatchingConfig:
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
    """

    design: AnyDesign
    source: EpochSource
    directory: Path
    centre: CentreAddress | None = None
    limits: MatchingLimits = field(default_factory=MatchingLimits)
    rng: Randomness = field(default_factory=system_randomness)
    load: Loader | None = None
    carrying: Carrying | None = None


@dataclass(frozen=True, slots=True)
class MatcherConfig:
    """What a matcher needs.

    Attributes:
        listen: where it listens, with certificate and clock.
        matching: what it hosts.
        party: whose server it is.
    """

    listen: Listen
    matching: MatchingConfig
    party: Party = Party.MATCHER


def serve_matcher(config: MatcherConfig, run: Run = serve) -> int:
    """Run a matcher, by default until SIGTERM or SIGINT; returns one of `exit_codes`."""

    @asynccontextmanager
    async def services(desk: Desk) -> AsyncIterator[Sequence[Service]]:
        async with open_matching(config.matching, desk) as matching:
            yield [matching]

    return run(config.party.server, config.listen, services)


@asynccontextmanager
async def open_matching(config: MatchingConfig, desk: Desk) -> AsyncIterator[Matching]:
    """The matching service with its epoch open, watched, and its filings under way.

    Raises:
        StateError: if the ledger cannot be opened.
        BlindmatchError: if the epoch cannot be opened.
    """
    epochs = Epochs(config.source)
    await epochs.load()
    config.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    ledger = Ledger(config.directory / "ledger.sqlite")
    answering = Answering(config.design, config.rng, config.limits, config.load)
    filer = None if config.centre is None else Filer(ledger, config.centre, desk.log)
    carrying, most = config.carrying, config.limits.most_body_bytes
    forwarder = None if carrying is None else Forwarder(config.design.info, carrying, most)
    tasks = [asyncio.create_task(epochs.watch(desk, config.limits.poll_seconds))]
    if filer is not None:
        tasks.append(asyncio.create_task(filer.run()))
    try:
        yield Matching(
            config.design,
            epochs,
            answering,
            Enrolments(config.design, config.directory / "enrolments", config.limits.most_enrolment_bytes),
            ledger,
            Budget(ledger, desk.clock, desk.log),
            config.limits,
            desk.clock,
            config.rng,
            config.centre,
            filer,
            forwarder,
        )
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if forwarder is not None:
            await forwarder.close()
        await answering.close()
        await ledger.close()
