"""The servers of a deployment in a thread of this process, so that a fault can be planted in any of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import Final

from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_server.hosting.serving import Listen, OpenServices, running

from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.hosting import listen_of, services_of

GRACE_SECONDS: Final = 0.2


@contextmanager
def threaded_servers(deployment: Deployment, design: AnyDesign, parties: Sequence[Party]) -> Iterator[None]:
    """The servers of `parties` on free ports of loopback, in threads, until the block ends. The centre runs
    before the others are opened: a provider that reports by itself must know where it is.

    Raises:
        DeploymentError: if the design is not published yet.
        StateError: if a server's files cannot be used.
    """
    centre = [party for party in parties if party == Party.CENTRE]
    others = [party for party in parties if party != Party.CENTRE]
    with ExitStack() as stack:
        for some in filter(None, (centre, others)):
            stack.enter_context(_running([_server(deployment, design, party) for party in some]))
        yield


def _server(deployment: Deployment, design: AnyDesign, party: Party) -> tuple[str, Listen, OpenServices]:
    """What a party's server is run with."""
    listen = listen_of(deployment, party, grace_seconds=GRACE_SECONDS, sink=lambda line: None)
    return party.server, listen, services_of(deployment, party, design)


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
