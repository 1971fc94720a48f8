"""Work for many processes of this machine, or, with Ray, an extra (`make ray`), of a cluster.

It has the calls of `Workers`. Every node needs this package, the same versions, and the same type of machine,
or the bits may differ. Ray is asked to open no dashboard and to report no usage.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import redirect_stdout
from typing import Any, Final, TypeVar

from blindmatch_server.hosting.workers import TaskError, WorkerError, Workers

T = TypeVar("T")
K = TypeVar("K")

LOCAL: Final = "local"
"""The address of a cluster that is started for one run, on loopback, and ends with it."""
RETRIES: Final = 3
"""For a task whose worker ends."""


class Cluster:
    """A connection to a cluster; `ModuleNotFoundError` if Ray is not installed, `WorkerError` if there is no
    cluster at the address.

    Args:
        address: `LOCAL`, ``auto`` for the one that this machine belongs to, or ``HOST:PORT``.

    Attributes:
        count: tasks that it does at a time: one a core, or, if each takes `whole` nodes, one for each of the
            nodes that have most cores.
    """

    def __init__(self, address: str, count: int, whole: bool = False) -> None:
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
        except Exception as error:  # of no class of its own if a node does not start
            self.end()
            raise WorkerError("--ray", f"no cluster at {address}: {error}") from error
        nodes = [int(one["Resources"].get("CPU", 0)) for one in self._ray.nodes() if one["Alive"]]
        self._cores = max(nodes) if whole else 1
        self.count = nodes.count(self._cores) if whole else max(1, sum(nodes))

    def share(self, value: Any) -> Any:
        """An argument for many tasks, which each node gets once."""
        return self._ray.put(value)

    def submit(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """`function(*arguments)` somewhere; `result` takes its outcome."""
        task = self._ray.remote(max_retries=RETRIES, num_cpus=self._cores)(function)
        future: Future[T] = task.remote(*arguments).future()
        return future

    def result(self, future: Future[T]) -> T:
        """What a task came to; `WorkerError` if its workers ended, one after the other; `TaskError` if it
        failed; says with which class of error."""
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


def room(count: int, ray: str = "", whole: bool = False) -> tuple[Workers | Cluster, int]:
    """Processes here, or the cluster at `ray`, and how many tasks it does at a time."""
    found = Cluster(ray, count, whole) if ray else Workers(count)
    return found, found.count if isinstance(found, Cluster) else count


def completed(
    pool: Workers | Cluster, calls: Mapping[K, tuple[Callable[..., T], *tuple[Any, ...]]], most: int
) -> Iterator[tuple[K, T]]:
    """What each call came to, as they end; one whose worker ended is made again, and costs itself alone;
    `WorkerError` if workers keep ending, `TaskError` if a call fails."""
    left = [*calls][::-1]
    asked = dict[Future[T], K]()
    failed = 0
    while left or asked:
        while left and len(asked) < most:
            name = left.pop()
            asked[pool.submit(*calls[name])] = name
        for future in wait(asked, return_when=FIRST_COMPLETED).done:
            name = asked.pop(future)
            try:
                yield name, pool.result(future)
            except WorkerError:
                failed += 1
                left.append(name)
                if failed > RETRIES * most:
                    raise
