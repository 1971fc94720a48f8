"""The one running deployment: servers in processes or threads, devices, and what each device was told to do.

with World.create(home, "oprf-psi") as world:
    world.publish(entries, system_randomness())
    world.start()                                  as processes, or in a thread
    world.device("alice"), world.device("bob")
    world.send_picture("alice", "bob", data)
    world.receive("bob", messages=1)
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from blindmatch_client.device import Flushed, Sent
from blindmatch_client.messages.receiving import Received
from blindmatch_client.settings import FailureMode
from blindmatch_client.trace import EgressRecord
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, EntrySource, Party, Progress, no_progress
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_server.centre.store import State
from blindmatch_server.epochs.published import Publication, open_publication
from blindmatch_server.hosting.event_log import Clock, milliseconds, system_clock
from blindmatch_server.hosting.serving import Listen, OpenServices, running
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.testbed.audit import Told
from blindmatch_simulations.testbed.deployment.curating import publish
from blindmatch_simulations.testbed.deployment.devices import Options, Watched, create_device
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.hosting import listen_of, parties_of, services_of
from blindmatch_simulations.testbed.deployment.operators import centre_list, counters
from blindmatch_simulations.testbed.deployment.processes import (
    Nursery,
    ServerProcess,
    check_alive,
    running_servers,
)
from blindmatch_simulations.testbed.deployment.registry import load_design, portable_reference
from blindmatch_simulations.testbed.deployment.transparency import make_log, read_log
from blindmatch_simulations.testbed.scenario.operations import ScenarioError

GRACE_SECONDS: Final = 0.2


@contextmanager
def threaded_servers(
    deployment: Deployment, design: AnyDesign, parties: Sequence[Party], clock: Clock = system_clock
) -> Iterator[None]:
    """The servers of `parties` on free ports of loopback, in threads, until the block ends. The centre runs
    before the others are opened: a provider that reports by itself must know where it is; `DeploymentError`
    if the design is not published yet, `StateError` if a server's files cannot be used."""
    how: dict[str, Any] = {"clock": clock, "grace_seconds": GRACE_SECONDS, "sink": lambda line: None}
    centre = [party for party in parties if party == Party.CENTRE]
    others = [party for party in parties if party != Party.CENTRE]
    with ExitStack() as stack:
        for some in filter(None, (centre, others)):
            servers = [
                (one.server, listen_of(deployment, one, **how), services_of(deployment, one, design))
                for one in some
            ]
            stack.enter_context(_running(servers))
        yield


@contextmanager
def _running(servers: Sequence[tuple[str, Listen, OpenServices]]) -> Iterator[None]:
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        stop = asyncio.Event()
        async with AsyncExitStack() as stack:
            for name, listen, opens in servers:
                await stack.enter_async_context(running(name, listen, opens))
            ready.set_result((asyncio.get_running_loop(), stop))
            await stop.wait()

    def held() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=held, name="servers")
    thread.start()
    try:
        ready.result()
        yield
    finally:
        # also if the wait was interrupted: servers that are still starting are stopped once they are up
        if ready.exception() is None:
            loop, stop = ready.result()
            loop.call_soon_threadsafe(stop.set)
        thread.join()


T = TypeVar("T")

WAIT_SECONDS: Final = 60.0
"""How long messages, and the centre's checks, are waited for while none comes."""
POLL_MS: Final = 200


def until(look: Callable[[], tuple[int, int, T]], seconds: float, progress: Progress) -> T:
    """Look again until as much is done as is awaited, or nothing more was for so long; what was seen last."""
    deadline = time.monotonic() + seconds
    before = 0
    while True:
        done, awaited, found = look()
        progress(done, awaited)
        if done > before:
            deadline = time.monotonic() + seconds
            before = done
        if done >= awaited or time.monotonic() > deadline:
            return found
        time.sleep(POLL_MS / 1000)


class Driven(Redacted, Struct):
    """A device, what it was told to do, and the files of its pictures by their numbers."""

    watched: Watched
    told: Told = field(default_factory=Told)
    files: dict[int, bytes] = field(default_factory=dict)


class World(Redacted, Struct):
    """A deployment that runs.

    Attributes:
        reference: what its design is called: a name or path.py:NAME.
        servers: those that run as processes, by party.
        running: whose servers were started, in their order.
        clock: of servers that are threads, and of devices, Unix time in seconds.
        tell: hears of each request before it leaves a device that is made from then on: account, the record
            of its call as it was opened, and the request; it may be called from a thread of gRPC's.
    """

    deployment: Deployment
    reference: str
    design: AnyDesign
    servers: dict[Party, ServerProcess] = field(default_factory=dict)
    running: tuple[Party, ...] = ()
    clock: Clock = system_clock
    driven: dict[str, Driven] = field(default_factory=dict)
    tell: Callable[[str, EgressRecord, bytes], object] = lambda account, opened, body: None
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def create(
        cls,
        home: Path,
        reference: str,
        design: AnyDesign | None = None,
        witnesses: int = 0,
        needed: int = 0,
        franking: FrankingMode = DEFAULT_MODE,
    ) -> Self:
        """A new deployment in the folder `home`, with nothing published and no server; `design` if it is
        loaded already. `needed` of `witnesses`, by default all, cosign a log of its epochs; with 0 nothing is
        logged, and no device pins a policy."""
        loaded = design or load_design(reference)
        deployment = Deployment.create(home, datetime.now(UTC), franking=franking)
        if witnesses:
            make_log(deployment, witnesses, needed or witnesses)
        return cls(deployment, reference, loaded)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        try:
            for one in self.driven.values():
                one.watched.device.close()
        finally:
            self.stop()

    @property
    def parties(self) -> tuple[Party, ...]:
        return parties_of(self.design)

    @property
    def log_parties(self) -> tuple[Party, ...]:
        log = read_log(self.deployment)
        return log.parties if log else ()

    def start(
        self,
        parties: Sequence[Party] | None = None,
        threads: bool = False,
        reference: str | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        """Start servers of `parties`, by default all of the design's and the log's that do not run: in
        `threads` of this process, or as processes that serve `reference`, if not this design, and are forked
        off `nursery`; without one each loads all modules itself."""
        every = (*self.log_parties, *self.parties)
        chosen = tuple(parties or [one for one in every if one not in self.running])
        if threads:
            self._stack.enter_context(threaded_servers(self.deployment, self.design, chosen, self.clock))
        else:
            options = ("--design", portable_reference(reference or self.reference))
            started = self._stack.enter_context(running_servers(self.deployment, chosen, options, nursery))
            self.servers |= {server.party: server for server in started}
        self.running += chosen

    def stop(self) -> None:
        self.servers.clear()
        self.running = ()
        self._stack.close()

    def kill(self, party: Party) -> None:
        """End a server's process as a power failure does (SIGKILL); `ScenarioError` if it does not run as a
        process."""
        if party not in self.servers:
            raise ScenarioError(f"the {party.server} does not run as a process")
        process = self.servers.pop(party).process
        self.running = tuple(one for one in self.running if one != party)
        process.kill()
        process.wait()

    def check_alive(self) -> None:
        check_alive(list(self.servers.values()))

    def counted(self) -> dict[Party, list[pb.Counter]]:
        """What every server counted: calls and bytes by method and account; `OperatorError` if one cannot be
        asked."""
        return {party: counters(self.deployment, party) for party in self.parties}

    @property
    def published(self) -> Path:
        return self.deployment.published(self.design.info.name)

    def publication(self) -> Publication:
        """The current epoch; raises `PublicationError` if there is none."""
        return open_publication(self.published)

    def publish(
        self, entries: EntrySource, rng: Randomness, progress: Progress = no_progress, **values: int
    ) -> Publication:
        """Publish the next epoch of `entries`, with these values of the design's parameters; `DesignError` if
        the list or a parameter cannot be served. Servers that run serve it once they look for it, or at once
        when stopped and started."""
        return publish(self.deployment, self.design, entries, rng, None, values, progress)

    def device(
        self,
        name: str,
        *,
        mode: FailureMode = FailureMode.HOLD,
        options: Options | None = None,
        **more: Any,
    ) -> Watched:
        """A new, registered device; `BlindmatchError` if it does not take what it is served; it is in
        `driven` all the same. `more` is as of `create_device`."""
        more = {"clock_ms": lambda: milliseconds(self.clock), **more}
        made = create_device(self.deployment, name, self.reference, mode, options=options, **more)
        decided = options or Options()
        slot_s = decided.cover.period_s if decided.cover else None
        told = Told(registered=1, slot_s=slot_s, consequence=decided.consequence)
        self.driven[name] = Driven(made, told)
        made.recorder.tell = partial(self.tell, name)
        made.device.register()
        return made

    def of(self, name: str) -> Driven:
        try:
            return self.driven[name]
        except KeyError:
            raise ScenarioError(f"there is no device {name}") from None

    def send_text(self, sender: str, recipient: str, text: str) -> Sent:
        return self._arrives(
            recipient, self._sending(sender, recipient).watched.device.send_text(recipient, text)
        )

    def send_picture(self, sender: str, recipient: str, data: bytes, text: str = "") -> Sent:
        driven = self._sending(sender, recipient)
        sent = driven.watched.device.send_picture(recipient, data, text)
        if sent.item is not None:
            driven.files[sent.item] = data
        return self._arrives(recipient, sent)

    def receive(
        self, name: str, messages: int, seconds: float = WAIT_SECONDS, progress: Progress = no_progress
    ) -> list[Received]:
        """What a device receives until there are so many messages, or none came for so long."""
        driven = self.of(name)
        received = list[Received]()
        deadline = time.monotonic() + seconds
        while len(received) < messages and time.monotonic() < deadline:
            driven.told = replace(driven.told, polls=driven.told.polls + 1)
            received += (new := driven.watched.device.receive(POLL_MS))
            deadline = time.monotonic() + seconds if new else deadline
            progress(len(received), messages)
        return received

    def tick(self, name: str) -> bool:
        return self.of(name).watched.device.tick()

    def flush(self, name: str) -> Flushed:
        return self.of(name).watched.device.flush()

    def await_reports(self, name: str, seconds: float, progress: Progress = no_progress) -> set[bytes]:
        """Keep all schedules until the centre has every report of a device, or the time is up; their ids."""
        device = self.of(name).watched.device

        def look() -> tuple[int, int, set[bytes]]:
            for one in self.driven.values():
                one.watched.device.tick()
            reports = device.standing().reports
            received = {one.report_id for one in reports if one.received_at_ms}
            return len(received), len(reports), received

        return until(look, seconds, progress)

    def checked(
        self, reports: int = 0, seconds: float = WAIT_SECONDS, progress: Progress = no_progress
    ) -> pb.CentreList:
        """What the centre holds once it has checked every report, at least `reports`, or the time is up: a
        device's are there once sent, others are filed by a server later."""

        def look() -> tuple[int, int, pb.CentreList]:
            found = centre_list(self.deployment)
            done = sum(row.state != State.RECEIVED for row in found.reports)
            return done, max(len(found.reports), reports), found

        return until(look, seconds, progress)

    def _sending(self, sender: str, recipient: str) -> Driven:
        driven = self.of(sender)
        told = self.of(sender).told
        driven.told = replace(told, contacts=told.contacts | {recipient}, messages=told.messages + 1)
        return driven

    def _arrives(self, recipient: str, sent: Sent) -> Sent:
        other = self.driven.get(recipient)
        if other is not None:
            other.told = replace(other.told, received=other.told.received + 1)
        return sent
