"""What all checks of one run share: the design, the pool, two epochs and the honest sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from time import perf_counter_ns, thread_time_ns
from typing import Any, Final, TypeAlias

from blindmatch_client.device import Device
from blindmatch_protocol.codec import Message
from blindmatch_protocol.contract import AnyDesign, Voucher
from blindmatch_protocol.errors import BlindmatchError
from blindmatch_protocol.randomness import Randomness, seeded

from blindmatch_simulations.inprocess.deployed import Build, Deployed, Ran, opened, publish, run_session
from blindmatch_simulations.inprocess.verdict import BrokenError
from blindmatch_simulations.pictures.pool import Pool, Pooled, make_pool

WORKERS = 2
Clocks: TypeAlias = tuple[Callable[[], int], Callable[[], int]]
"""Nanoseconds that a thread has worked, and that have passed."""
CLOCKS: Final[Clocks] = (thread_time_ns, perf_counter_ns)


class Bench:
    """One run's fixtures, each made when it is first asked for.

    Args:
        design: the design under test.
        seed: decides pictures, lists and all randomness.
        runs: (training, held-out) sessions of a game and class of pairs.
        values: parameters other than their defaults.
        clocks: nanoseconds that a thread has worked, and that have passed.
        device: the kind of device that is run whole.
    """

    def __init__(
        self,
        design: AnyDesign,
        seed: int = 1,
        runs: tuple[int, int] = (32, 64),
        values: Mapping[str, int] | None = None,
        clocks: Clocks = CLOCKS,
        device: type[Device] = Device,
    ) -> None:
        self.design = design
        self.seed = seed
        self.runs = runs
        self.values = dict(values or {})
        self.clocks = clocks
        self.device = device
        self.held_out = 0

    def rng(self, purpose: str) -> Randomness:
        """Randomness for one purpose."""
        return seeded(f"conformance/{self.seed}/{purpose}")

    @cached_property
    def pool(self) -> Pool:
        """The pictures, and the list of epoch 1."""
        return make_pool(self.seed)

    @cached_property
    def build(self) -> Build:
        """Epoch 1: the pool's list."""
        return publish(self.design, self.pool.entries, self.rng("publish"), 1, self.values)

    @cached_property
    def deployed(self) -> Deployed:
        """Epoch 1, opened."""
        return opened(self.build)

    @cached_property
    def next_epoch(self) -> Deployed:
        """Epoch 2: another list, no picture of the pool is near it; made from fresh randomness."""
        return opened(publish(self.design, self.pool.others, self.rng("publish-2"), 2, self.values))

    @cached_property
    def honest(self) -> Mapping[str, Ran]:
        """An honest session of every picture, by its name; one account each."""
        return {one.name: self.run(one) for one in self.pool.pictures}

    @cached_property
    def executor(self) -> ThreadPoolExecutor:
        """Threads."""
        return ThreadPoolExecutor(WORKERS, thread_name_prefix="conformance")

    def run(self, one: Pooled, purpose: str = "honest") -> Ran:
        """One session that must go well."""
        try:
            return run_session(self.deployed, one.item, self.rng(f"{purpose}/{one.name}"))
        except BlindmatchError as error:
            raise BrokenError(
                "session", f"an honest session ends in an error: {error}", item=one.name
            ) from error

    def close(self) -> None:
        """Stop the threads, if they were started."""
        if "executor" in vars(self):
            self.executor.shutdown()

    def samples(self) -> dict[type[Message], list[Message]]:
        """Messages seen in honest sessions, by class; of each class the first few."""
        found: dict[type[Message], list[Message]] = {}
        for ran in self.honest.values():
            for sample in _messages(ran):
                held = found.setdefault(type(sample), [])
                if len(held) < MOST_SAMPLES and sample not in held:
                    held.append(sample)
        return found


MOST_SAMPLES = 3


def _messages(ran: Ran) -> list[Message]:
    found: list[Any] = [ran.state_before, ran.state]
    found += [part for one in ran.rounds for asked in one for part in (asked.body, asked.reply)]
    if isinstance(ran.outcome, Voucher):
        found.append(ran.outcome.body)
    return found
