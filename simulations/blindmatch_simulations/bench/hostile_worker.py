"""Hostile clients of the relay in a process of their own.

    python -m blindmatch_simulations.bench.hostile_worker HOME ACCOUNTS AT_ONCE VICTIM ...

    stdout  {}                                   ACCOUNTS accounts are registered
    stdin   calls                                a kind of `hostile.KINDS`
    stdout  {}                                   its attempts are under way, AT_ONCE of each account
    stdin   stop
    stdout  {"seconds": ..., "outcomes": {"OK": 5, "INVALID_ARGUMENT": 7}}

The process has the lowest priority. Attackers have machines of their own; here they would take the cores from
relay and bystanders, which is not what is measured.
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

from blindmatch_protocol.contract import Party
from blindmatch_server.authority import Authority, Credentials, Identity, Kind

from blindmatch_simulations.deployment import Deployment
from blindmatch_simulations.hostile import Attack, Intruder, intruding

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
    kind: str, intruders: Sequence[Intruder], at_once: int, line: Callable[[], Awaitable[str]]
) -> dict[str, Any]:
    """Attack until the next line comes; what came of what was attempted after the first second."""
    stop, made = asyncio.Event(), Attack()
    task = asyncio.create_task(made.run(kind, intruders, at_once, stop))
    await asyncio.sleep(UNDER_WAY_S)
    made.outcomes.clear()
    began = time.monotonic()
    print("{}", flush=True)
    await line()
    outcomes, seconds = dict(made.outcomes), time.monotonic() - began
    stop.set()
    await task
    return {"seconds": seconds, "outcomes": outcomes}


async def obey(home: Path, accounts: int, at_once: int, victims: Sequence[str]) -> None:
    """Do what the lines of the standard input say."""
    deployment = Deployment.open(home)
    held = enrolled(deployment, accounts)
    foreign = forged(victims[0], next(iter(held.values())).root)
    address = deployment.endpoints()[Party.PROVIDER].address

    async def line() -> str:
        text: str = await asyncio.to_thread(sys.stdin.readline)
        return text.strip()

    async with intruding(held, address, foreign, victims) as intruders:
        print("{}", flush=True)
        while kind := await line():
            print(json.dumps(await attack(kind, intruders, at_once, line)), flush=True)


def main(arguments: list[str]) -> None:
    """Register, then obey."""
    home, accounts, at_once, *victims = arguments
    os.nice(LOWEST_PRIORITY)
    asyncio.run(obey(Path(home), int(accounts), int(at_once), victims))


if __name__ == "__main__":
    main(sys.argv[1:])
