"""Hostile clients of a server in a process of their own.

    python -m hostile.worker ACCOUNTS AT_ONCE HOME SERVICE REQUEST VICTIM ...

    stdout  {}                                   ACCOUNTS accounts have settled
    stdin   calls                                a kind of hostile client of SERVICE, see `hostile`
    stdout  {}                                   its attempts are under way, AT_ONCE of each account
    stdin   stop
    stdout  {"seconds": ..., "outcomes": {"OK": 5, "INVALID_ARGUMENT": 7}}

REQUEST is a file with a request that the service would answer, or - where none is needed. The process has
the lowest priority. Attackers have machines of their own; here they would take the cores from server and
bystanders, which is not what is measured.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from blindmatch_server.hosting.authority import Authority, Credentials, Identity, Kind
from blindmatch_simulations.testbed.deployment.folder import Deployment

from hostile import SERVICES, Attack, Intruder, Service, intruding
from hostile.intruder import Attempt

LOWEST_PRIORITY: Final = 19
UNDER_WAY_S: Final = 1.0
"""So long attempts are made before the attack counts as under way."""


def enrolled(deployment: Deployment, count: int) -> dict[str, Credentials]:
    """Certificates of `count` accounts."""
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


async def attack(
    attempt: Attempt, intruders: Sequence[Intruder], at_once: int, line: Callable[[], Awaitable[str]]
) -> dict[str, Any]:
    """Attack until the next line comes; what came of what was attempted after the first second."""
    stop, made = asyncio.Event(), Attack()
    task = asyncio.create_task(made.run(attempt, intruders, at_once, stop))
    await asyncio.sleep(UNDER_WAY_S)
    made.outcomes.clear()
    began = time.monotonic()
    print("{}", flush=True)
    await line()
    outcomes, seconds = dict(made.outcomes), time.monotonic() - began
    stop.set()
    await task
    return {"seconds": seconds, "outcomes": outcomes}


async def obey(
    home: Path, service: Service, accounts: int, at_once: int, request: bytes, victims: Sequence[str]
) -> None:
    """Do what the lines of the standard input say."""
    deployment = Deployment.open(home)
    held = enrolled(deployment, accounts)
    foreign = forged(next(iter(victims), "somebody"), next(iter(held.values())).root)
    address = deployment.endpoints()[service.party].address

    async def line() -> str:
        text: str = await asyncio.to_thread(sys.stdin.readline)
        return text.strip()

    async with intruding(service, held, address, foreign, victims, request) as intruders:
        print("{}", flush=True)
        while kind := await line():
            ended = await attack(service.kinds[kind].move, intruders, at_once, line)
            print(json.dumps(ended), flush=True)


def main(arguments: list[str]) -> None:
    """Settle, then obey."""
    accounts, at_once, home, service, file, *victims = arguments
    request = b"" if file == "-" else Path(file).read_bytes()
    os.nice(LOWEST_PRIORITY)
    asyncio.run(obey(Path(home), SERVICES[service], int(accounts), int(at_once), request, victims))


if __name__ == "__main__":
    main(sys.argv[1:])
