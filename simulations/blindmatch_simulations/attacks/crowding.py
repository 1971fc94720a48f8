"""Accounts that keep a matcher busy with well-formed requests: how many are answered before somebody else's?

Each attacker has as many requests waiting as it may have worked on at a time; then a bystander asks once.
What counts is the order of answers, not their time: `blindmatch bench flood` has the latencies beside this
and other kinds of hostile clients, in processes.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from blindmatch_protocol.contract import Party
from blindmatch_server.batching import Batcher
from blindmatch_server.fair_queue import FairQueue
from blindmatch_server.matching.limits import MatchingLimits

from blindmatch_simulations.attacks.adversary import Adversary, Claim, Means, replacing
from blindmatch_simulations.attacks.arena import Arena
from blindmatch_simulations.attacks.figure import Figure

ACCOUNTS: Final = 4
BYSTANDER: Final = "bystander"


def run(arena: Arena) -> Figure:
    """Count the requests that came before the bystander's, were waiting, and are answered first."""
    limits = MatchingLimits()
    waiting = [f"mallory-{number % ACCOUNTS}" for number in range(ACCOUNTS * limits.most_at_work)]
    under_way, *batches = asyncio.run(_answered(waiting, limits))
    arena.progress(1, 1)
    before = [account for batch in batches for account in batch].index(BYSTANDER)
    return Figure(
        "requests first", float(before), before > limits.most_in_turn, len(waiting) - len(under_way)
    )


async def _answered(waiting: Sequence[str], limits: MatchingLimits) -> list[list[str]]:
    """Whose requests were answered together, in their order; the bystander asks during the first batch."""
    batches: list[list[str]] = []
    begun, go = threading.Event(), threading.Event()

    def work(tasks: Sequence[str]) -> list[str]:
        begun.set()
        go.wait()
        batches.append(list(tasks))
        return list(tasks)

    with ThreadPoolExecutor(1) as executor:
        batcher: Batcher[str, str] = Batcher(
            work, executor, limits.most_batch, limits.most_waiting, limits.most_in_turn
        )
        asked = [asyncio.create_task(batcher.submit(account, account)) for account in waiting]
        await asyncio.to_thread(begun.wait)
        asked.append(asyncio.create_task(batcher.submit(BYSTANDER, BYSTANDER)))
        await asyncio.sleep(0)
        go.set()
        await asyncio.gather(*asked)
        await batcher.close()
    return batches


def _one_line() -> tuple[Any, str, Any]:
    """First come, first served."""
    append = FairQueue.append
    return FairQueue, "append", lambda self, account, task: append(self, "", task)


ATTACK: Final = Adversary(
    name="crowding",
    means=Means(frozenset({Party.DEVICE}), has=f"{ACCOUNTS} accounts"),
    claim=Claim(
        "A matcher answers accounts that ask one thing at a time first and together", "docs/messenger.md"
    ),
    budget=f"{ACCOUNTS} accounts with as many requests waiting as one may have",
    move=run,
    weakness=replacing(_one_line()),
)
