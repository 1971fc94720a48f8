"""What a worker computes: a block of a design, or what the design needs besides; it loads little else.

With Ray, an extra (`make ray`), blocks are computed on a cluster, with the calls of `Workers`:

    Cluster -- function, arguments --> a task of Ray, on any node; begun again elsewhere if its worker ends
            <-- result ---------------

Every node needs this package, the same versions, and the same type of machine, or the bits may differ. Ray is
asked to open no dashboard and to report no usage.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import redirect_stdout
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from blindmatch_server.hosting.workers import TaskError, WorkerError
from msgspec.structs import asdict, replace

from blindmatch_simulations.evaluation.population.counts import block_counts, blocks
from blindmatch_simulations.evaluation.population.inputs import PopulationError
from blindmatch_simulations.evaluation.population.model import Model
from blindmatch_simulations.evaluation.population.outputs import banded, jointly, tornado

BANDS: Final = -1
DEVICES: Final = -2
ENDS: Final = -3
"""No blocks: what needs no counts, what real devices count, and what figures moved to their ends give."""
DEVICE_DAYS: Final = 10


class Work(NamedTuple):
    """What a worker is given with the number of a block.

    Attributes:
        its: the model.
        reference: what loads the design.
        seed: of the run.
        devices: real ones; 0 for none.
    """

    its: Model
    reference: str
    seed: int
    devices: int

    def alike(self, other: Work) -> bool:
        """Do the two differ in costs at the most, so that counts and bands are the same?"""
        one, two = (replace(each.its.behaviour, costs={}, entries=0, key=None) for each in (self, other))
        return one == two


def blocks_of(work: Work, shared: bool) -> list[int]:
    """What is to be done for a design, the longest first; not again what is `shared` with another."""
    counted = () if shared else (BANDS, *range(blocks(work.its.accounts)))
    return [*[DEVICES] * bool(work.devices), *counted, ENDS]


def computed(work: Work, block: int) -> bytes:
    """In a worker: one block's counts, or what a design needs besides."""
    its = work.its
    if block == DEVICES:
        from blindmatch_simulations.evaluation.population.messages import lived
        from blindmatch_simulations.testbed.deployment.registry import load_design

        days = min(its.days, DEVICE_DAYS)
        counted = lived(load_design(work.reference), its.inputs, work.devices, days, work.seed)
        return json.dumps({"devices": counted}).encode()
    if block == BANDS:
        return json.dumps({"bands": banded(its, work.seed), "joint": jointly(its, work.seed, False)}).encode()
    if block == ENDS:
        expects, moved = tornado(its.inputs, its.behaviour, its.accounts, its.days)
        made = {"expected": expects, "sensitivity": [asdict(one) for one in moved]}
        return json.dumps({**made, "loads": jointly(its, work.seed, True)}).encode()
    held = io.BytesIO()
    np.save(held, block_counts(its, work.seed, block), allow_pickle=False)
    return held.getvalue()


T = TypeVar("T")

LOCAL: Final = "local"
"""The address of a cluster that is started for one run, on loopback, and ends with it."""
RETRIES: Final = 3


class Cluster:
    """A connection to a cluster.

    Args:
        address: `LOCAL`, ``auto`` for the one that this machine belongs to, or ``HOST:PORT``.

    Attributes:
        count: cores that the cluster has.

    Raises:
        ModuleNotFoundError: if Ray is not installed.
        PopulationError: if there is no cluster at the address.
    """

    def __init__(self, address: str, count: int) -> None:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        where: dict[str, Any] = {"address": address}
        if address == LOCAL:
            # what Ray does on other systems: a node whose address is 127.0.0.1 listens there alone
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
            where |= {"num_cpus": count, "include_dashboard": False}
        import ray

        self._ray: Any = ray
        # Ray tells of lost workers on standard output, which may be for JSON
        self._quiet = redirect_stdout(sys.stderr)
        self._quiet.__enter__()
        try:
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            self.end()
            raise PopulationError(f"--ray: no cluster at {address}: {error}") from error
        self.count = max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """`function(*arguments)` somewhere; `result` takes its outcome."""
        task = self._ray.remote(max_retries=RETRIES)(function)
        future: Future[T] = task.remote(*arguments).future()
        return future

    def result(self, future: Future[T]) -> T:
        """What a task came to.

        Raises:
            WorkerError: if its workers ended, one after the other.
            TaskError: if it failed; says with which class of error.
        """
        try:
            return future.result()
        except self._ray.exceptions.RayTaskError as error:
            raise TaskError(type(error.cause).__name__) from None
        except self._ray.exceptions.RayError as error:
            raise WorkerError("worker", f"ended before it was done ({type(error).__name__})") from None

    def end(self) -> None:
        """Leave the cluster; a `LOCAL` one ends."""
        self._ray.shutdown()
        self._quiet.__exit__(None, None, None)
