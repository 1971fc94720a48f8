"""Accounts that use up what others need: a matcher's time, the room of a victim's device.

Of answers the order counts, not the time: `make flood` has the latencies. X3DH lets a first message go
without a one-time pre-key, and whoever gets one must remember it; what the victim keeps must not grow with
them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from blindmatch_client.errors import MessengerError
from blindmatch_client.messenger import account
from blindmatch_client.messenger.account import Account
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.content import compose
from blindmatch_server.matching.answering import MatchingLimits
from blindmatch_server.storage.batching import Batcher, FairQueue
from msgspec.structs import replace

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Left, Means, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure

ACCOUNTS: Final = 4
BYSTANDER: Final = "bystander"


def _one_line() -> tuple[Any, str, Any]:
    append = FairQueue.append
    return FairQueue, "append", lambda self, account, task: append(self, "", task)


@attack(
    "crowding",
    Means(frozenset({Party.DEVICE}), has=f"{ACCOUNTS} accounts"),
    Claim(
        "A matcher answers accounts that ask one thing at a time first and together",
        "docs/explanation/messenger.md",
    ),
    budget=f"{ACCOUNTS} accounts with as many requests waiting as one may have",
    weakness=replacing(_one_line()),
    needs=(needs.ANY_ONE,),
    exposes="timely answers to others",
    left=Left.COUNTED,
)
def crowding(arena: Arena) -> Figure:
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
    begun = threading.Event()
    go = threading.Event()

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


LOOKS: Final = (70, 120)
"""First messages after which the store is looked at: more than are taken, fewer than it could hold."""
NOW: Final = 1_700_000_000_000


@attack(
    "store-growth",
    Means(frozenset({Party.DEVICE}), has="the victim's pre-keys, no one-time one among them"),
    Claim("takes 64 of one peer for one signed pre-key", "docs/explanation/messenger.md"),
    budget=f"{LOOKS[-1]} first messages by one account",
    weakness=replacing((account, "ACCEPTED_MOST", LOOKS[-1])),
    needs=(needs.ANY_ONE,),
    exposes="room on another's device",
)
def store_growth(arena: Arena) -> Figure:
    """Bytes that each further first message leaves with the victim for good."""
    victim = Account.create("victim", NOW, 1)
    sender = Account.create("mallory", NOW, 1)
    sizes = {}
    for number in arena.each(range(1, LOOKS[-1] + 1)):
        bundle = replace(victim.get_published_keys(), one_time=())
        sender.reset_sessions("victim")
        sealed = sender.encrypt("victim", compose("", (), NOW, arena.rng(f"message/{number}")), bundle)
        with suppress(MessengerError):
            victim.decrypt("mallory", sealed)
        sizes[number] = len(victim.dump())
    more = LOOKS[1] - LOOKS[0]
    grown = (sizes[LOOKS[1]] - sizes[LOOKS[0]]) / more
    return Figure("bytes for good a message", round(grown, 2), grown >= 1, more)
