"""A deployment that an attack makes and starts itself: servers on loopback, in a thread, and their devices.

Servers and devices are the package's own, in this process, so that a weakness can be planted in any of them.
A party that the adversary holds is the package's, too, with its replies altered on their way to a device.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from blindmatch_client.egress import Call, Egress, Recorder
from blindmatch_client.failure import FailureMode
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_protocol.picture.item import Picture
from blindmatch_server.authority import Identity, Kind
from blindmatch_server.curator import list_hashes, open_list
from blindmatch_server.serving import Listen, OpenServices, running
from google.protobuf.message import Message as Wire
from PIL import Image

from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.weakness import Weakness, replacing
from blindmatch_simulations.deployment import devices
from blindmatch_simulations.deployment.curating import list_path, publish, teach_centre
from blindmatch_simulations.deployment.devices import Watched, create_device, now_ms
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.hosting import host_with, listen_of, parties_of
from blindmatch_simulations.pictures import pool

T = TypeVar("T")

FILLERS: Final = 40
"""Random hashes on a list beside those of its pictures."""
NO_HASHES: Final[Rows] = np.zeros((0, 32), np.uint8)
SMALL: Final[Mapping[str, int]] = {"k": 16, "bands": 4, "probes": 4}
"""Parameters of a set, where a design has them: few tokens, so that devices are quick."""
GRACE_SECONDS: Final = 0.2

Tamper: TypeAlias = Callable[[Call[Any, Any], Wire | None, Any], Any]
"""What a party in the adversary's hands makes of its honest reply: (call, request if it is one, reply)."""


def honest(call: Call[Any, Any], request: Wire | None, reply: Any) -> Any:
    """A `Tamper` that leaves every reply as it is."""
    return reply


def drawn(number: int) -> bytes:
    """The generated picture of a number, as a PNG file."""
    out = BytesIO()
    Image.fromarray(pool.picture(number).pixels).save(out, "PNG")
    return out.getvalue()


class _Between(Egress):
    """A way out on which replies are altered before the device has them, or come from somebody else.

    Args:
        tamper: alters a reply.
        diverted: other ways, to servers of the adversary that answer in a party's place.
    """

    def __init__(self, tamper: Tamper, diverted: Mapping[Party, Egress], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tamper, self._diverted = tamper, diverted

    def unary(self, call: Call[Any, Any], request: Any) -> Any:
        """See `Egress.unary`."""
        if call.party in self._diverted:
            return self._diverted[call.party].unary(call, request)
        return self._tamper(call, request, super().unary(call, request))

    def stream(
        self, call: Call[Any, Any], request: Callable[[], Any], consume: Callable[[Iterator[Any]], T]
    ) -> T:
        """See `Egress.stream`."""
        if call.party in self._diverted:
            return self._diverted[call.party].stream(call, request, consume)
        return super().stream(
            call, request, lambda replies: consume(self._tamper(call, None, one) for one in replies)
        )


@dataclass(frozen=True, slots=True, repr=False)
class Loopback:
    """A deployment whose servers run.

    Attributes:
        deployment: its folder.
        design: what is deployed.
        owned: devices to be closed.
        diverted: ways to servers that answer in a party's place from now on, for every device.
    """

    deployment: Deployment
    design: AnyDesign
    owned: list[Watched] = field(default_factory=list)
    diverted: dict[Party, Egress] = field(default_factory=dict)

    def device(self, name: str, tamper: Tamper = honest, mode: FailureMode = FailureMode.HOLD) -> Watched:
        """A new, registered device.

        Raises:
            BlindmatchError: if it does not take what it is served; it is there all the same.
        """
        with replacing((devices, "Egress", partial(_Between, tamper, self.diverted)))():
            made = create_device(self.deployment, name, self.design.info.name, mode)
        self.owned.append(made)
        made.device.register()
        return made

    def way_to(self, other: Deployment, name: str) -> Egress:
        """The way of the device called `name` to servers of another deployment."""
        identity = Identity(Kind.DEVICE, name)
        self.deployment.enrol(identity, self.deployment.device(name), datetime.now(UTC))
        held = self.deployment.caller_credentials(identity, self.deployment.device(name))
        return Egress(other.directory(), held, Recorder(), now_ms)


@contextmanager
def loopback(
    arena: Arena,
    listed: Sequence[bytes] = (),
    more: Rows = NO_HASHES,
    tools: Weakness = nullcontext,
    values: Mapping[str, int] = SMALL,
) -> Iterator[Loopback]:
    """A deployment of the arena's design, until the block ends.

    Args:
        arena: which design, and randomness.
        listed: pictures on its list.
        more: hashes on it.
        tools: what is changed while the curator builds and signs.
        values: parameters of the set.
    """
    with tempfile.TemporaryDirectory(prefix="blindmatch-attack-") as folder:
        deployment = Deployment.create(Path(folder) / "home", datetime.now(UTC))
        with tools():
            publish_list(arena, deployment, listed, more, values=values)
        with serving(deployment, arena.design):
            made = Loopback(deployment, arena.design)
            try:
                yield made
            finally:
                for one in made.owned:
                    one.device.close()


def publish_list(
    arena: Arena,
    deployment: Deployment,
    listed: Sequence[bytes],
    more: Rows = NO_HASHES,
    epoch: int | None = None,
    values: Mapping[str, int] = SMALL,
) -> None:
    """Publish an epoch, of random hashes, `more` and those of `listed` pictures; teach the centre."""
    deployment.lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    pictures = [Picture.from_bytes(data) for data in listed]
    fillers = pool.random_hashes(FILLERS, arena.seed)
    own: Rows = np.frombuffer(b"".join(one.hash for one in pictures), np.uint8).reshape(-1, 32)
    name = f"list-{len(list(deployment.lists.iterdir()))}"
    path = list_path(deployment, name)
    list_hashes(np.concatenate([fillers, more, own]), path, arena.rng(name))
    with open_list(path) as entries:
        publish(deployment, arena.design, entries, arena.rng(f"publish/{name}"), epoch, arena.known(values))
        teach_centre(deployment, entries, pictures)


@contextmanager
def serving(
    deployment: Deployment, design: AnyDesign, parties: Sequence[Party] | None = None
) -> Iterator[None]:
    """The servers of a deployment on free ports of loopback, in a thread, until the block ends."""
    held: list[tuple[str, Listen, OpenServices]] = []

    def collect(name: str, listen: Listen, opens: OpenServices) -> int:
        held.append((name, listen, opens))
        return 0

    for party in parties or parties_of(design):
        listen = listen_of(deployment, party, "127.0.0.1", 0)
        quiet = replace(listen, grace_seconds=GRACE_SECONDS, sink=lambda line: None)
        host_with(collect, deployment, party, design, quiet)
    with _running(held):
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

    thread = threading.Thread(target=held, name="attacked servers")
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
