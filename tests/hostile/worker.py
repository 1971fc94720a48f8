"""Hostile clients of a server in a process of their own, a worker that `settle` prepares.

The process has the lowest priority. Attackers have machines of their own; here they would take the cores from
server and bystanders, which is not what is measured.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from blindmatch_server.hosting.authority import Authority, Credentials, Identity, Kind
from blindmatch_simulations.testbed.deployment.folder import Deployment

from hostile import SERVICES, Intruder, Service, attack, intruding

T = TypeVar("T")
LOWEST_PRIORITY: Final = 19
UNDER_WAY_S: Final = 1.0
"""So long attempts are made before the attack counts as under way."""


def enrolled(deployment: Deployment, count: int) -> dict[str, Credentials]:
    names = [f"intruder-{number}" for number in range(count)]
    for name in names:
        deployment.enrol(Identity(Kind.DEVICE, name), deployment.device(name), datetime.now(UTC))
    return {
        name: Credentials.read(deployment.device(name), Identity(Kind.DEVICE, name).slug) for name in names
    }


def forged(victim: str, root: bytes) -> Credentials:
    """A certificate for `victim` by another authority; its holder trusts the real one's servers."""
    now = datetime.now(UTC)
    made = Authority.create(now).issue(Identity(Kind.DEVICE, victim), now)
    return Credentials(root, made.certificate, made.key)


class Settled:
    """Intruders of a service, in an event loop on a thread: attempts go on between the worker's tasks."""

    def __init__(self, service: Service, at_once: int) -> None:
        self.service = service
        self.at_once = at_once
        self.stack = AsyncExitStack()
        self.loop = asyncio.new_event_loop()
        self.intruders: Sequence[Intruder] = ()
        self.outcomes = Counter[str]()
        self.began = 0.0
        self.ended = asyncio.Event()
        self.task = asyncio.Future[None](loop=self.loop)
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    async def begin(self, kind: str) -> None:
        self.ended = asyncio.Event()
        attempt = self.service.kinds[kind].move
        work = attack(self.outcomes, attempt, self.intruders, self.at_once, self.ended)
        self.task = asyncio.ensure_future(work)
        await asyncio.sleep(UNDER_WAY_S)
        self.outcomes.clear()
        self.began = time.monotonic()

    async def stop(self) -> tuple[float, dict[str, int]]:
        found = time.monotonic() - self.began, dict(self.outcomes)
        self.ended.set()
        await self.task
        return found


_SETTLED: Final[list[Settled]] = []


def settle(
    accounts: int, at_once: int, home: Path, service: str, request: bytes, victims: Sequence[str]
) -> None:
    """Enrol `accounts` accounts; `request` is one that the service would answer, if one is needed."""
    os.nice(LOWEST_PRIORITY)
    deployment = Deployment.open(home)
    one = Settled(SERVICES[service], at_once)
    held = enrolled(deployment, accounts)
    foreign = forged(next(iter(victims), "somebody"), next(iter(held.values())).root)
    address = deployment.endpoints()[one.service.party].address
    there = intruding(one.service, held, address, foreign, victims, request)
    one.intruders = one.run(one.stack.enter_async_context(there))
    _SETTLED.append(one)


def are_settled() -> bool:
    """The first task: it ends once this worker's intruders have settled."""
    return bool(_SETTLED)


def begin(kind: str) -> None:
    """Begin to attack; attempts are under way, `at_once` of each account."""
    _SETTLED[0].run(_SETTLED[0].begin(kind))


def stop() -> tuple[float, dict[str, int]]:
    """End the attack; seconds, and what came of what was attempted after the first second."""
    return _SETTLED[0].run(_SETTLED[0].stop())


def leave() -> None:
    _SETTLED[0].run(_SETTLED[0].stack.aclose())
