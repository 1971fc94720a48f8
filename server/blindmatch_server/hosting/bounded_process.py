"""One process for tasks that may never return: their work is bounded, and how long they wait.

    program                           process
    task         -------------------> arms a timer of the kernel's with the task's budget, and works
    look, once a second               does any of its threads run, or stand ready to, or wait for a disk?
    outcome      <------------------- or it is ended, and the next task gets a new one

The budget is CPU time of the process, all threads together, in u: the CPU time of one multiplication of a
ristretto255 element by libsodium, measured in the same process. The kernel ends a process that has used it up
(`ITIMER_PROF`), whatever it is at. A busy machine gives the process less time, which counts for nothing.

A task that waits uses no CPU time, and so no budget. It is ended after a number of looks at which no thread
of its process was running, ready to run or waiting for a disk. On a busy machine a process stands ready to
run, which counts for nothing either; and where the whole machine stands still, nobody looks.

This bounds mistakes, and not code that means to stay: it can start a process in a group of its own, ignore
the timer, fork the process, which then answers twice, send half of a reply, or wait as one waits for a disk.
Threads and processes that a task leaves behind work on in the next one, whose budget threads use up. Of
processes that a task starts only their end is seen to: while it waits for one it is found waiting, so that on
a busy machine it may be given up. What a task prints goes to the program's standard error. A process whose
interpreter is held ends only with its task when the program is killed.
"""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final, TypeVar

from blindmatch_protocol import group
from blindmatch_protocol.codec.randomness import system_randomness

from blindmatch_server.hosting.workers import (
    SPAWN,
    TaskError,
    WorkerError,
    begin_worker,
    run_task,
    uninterrupted,
)

T = TypeVar("T")

_LOOK_SECONDS: Final = 1.0
_AWAKE: Final = frozenset("RD")
"""States of a thread that has or wants the processor, or waits for a disk (proc_pid_stat(5), field 3)."""
_UNKNOWN_LOOKS: Final = 100
"""So many looks count as one where the system does not say what threads do, as on macOS."""
_LEAST_SECONDS: Final = 1e-6
"""A timer of 0 is none."""
_BATCHES: Final = 9
_PER_BATCH: Final = 64


class NotStartedError(WorkerError):
    """No process can be started now, or none is any more, since the program ends."""


class OverBudgetError(Exception):
    """A task took more work than its budget."""


class WaitedError(Exception):
    """A task waited too long for something else than the processor and disks."""


class BoundedProcess:
    """A process that is started when it is needed. `run` belongs to one thread, `end` is for any.

    Args:
        most_waiting: looks, one a second, at which a task may be found waiting.
        prepare: called once in each process, with `arguments`; a function of a module, as all tasks are.
    """

    def __init__(
        self, most_waiting: int, prepare: Callable[..., object] | None = None, *arguments: Any
    ) -> None:
        self._most_waiting = most_waiting
        self._prepare = (prepare, arguments)
        self._lock = threading.Lock()
        self._running: tuple[Any, Connection] | None = None
        self._is_ended = False

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Return `function(*arguments)`, called in the process; within it `work_budget` bounds the work.

        Raises:
            OverBudgetError, WaitedError: The process was ended for that.
            NotStartedError: It cannot be started, or is no more, since `end` was called.
            WorkerError: It ended otherwise.
            TaskError: The function failed; says with which class of error.
        """
        process, connection = self._started()
        try:
            connection.send((function, arguments))
            self._wait(process, connection)
            has_failed, value = connection.recv()
        except (EOFError, OSError):
            raise self._dropped(process, connection) from None
        except WaitedError:
            self._dropped(process, connection)
            raise
        if has_failed:
            raise TaskError(value)
        result: T = value
        return result

    def end(self) -> None:
        """End the process at once; what it works on is lost."""
        with self._lock:
            self._is_ended = True
            self._kill()

    def _started(self) -> tuple[Any, Connection]:
        with self._lock:
            if self._is_ended:
                raise NotStartedError("worker", "is shutting down")
            if self._running is None:
                ours, theirs = SPAWN.Pipe()
                process = SPAWN.Process(target=_serve, args=(theirs, *self._prepare))
                try:
                    with uninterrupted():
                        process.start()
                except OSError as error:
                    ours.close()
                    rule = f"cannot be started ({type(error).__name__}): try again later"
                    raise NotStartedError("worker", rule) from error
                finally:
                    theirs.close()
                self._running = process, ours
            return self._running

    def _wait(self, process: Any, connection: Connection) -> None:
        """Wait until the process has an outcome or has ended."""
        looks = waiting = 0
        while not wait([connection, process.sentinel], _LOOK_SECONDS):
            is_waiting = find_waiting(process.pid)
            looks += is_waiting is None
            waiting += is_waiting is True
            if waiting + looks // _UNKNOWN_LOOKS >= self._most_waiting:
                raise WaitedError

    def _dropped(self, process: Any, connection: Connection) -> OverBudgetError | WorkerError:
        """End the process, so that the next task gets a new one; return why it ended if it had."""
        with self._lock:
            self._kill()
        connection.close()
        if process.exitcode == -signal.SIGPROF:
            return OverBudgetError()
        return WorkerError("worker", "ended before it was done: try again")

    def _kill(self) -> None:
        """End the process and those of its group, before it is waited for: until then its id is its own."""
        if self._running is None:
            return
        process, _ = self._running
        self._running = None
        with suppress(OSError):  # it has no group of its own yet
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()


def find_waiting(pid: int) -> bool | None:
    """Does every thread of a process wait for something else than the processor and disks? None where the
    system does not say."""
    try:
        # the command's name, in parentheses, may contain any character
        states = [one.read_text().rpartition(") ")[2][:1] for one in Path(f"/proc/{pid}/task").glob("*/stat")]
    except OSError:
        return None
    return _AWAKE.isdisjoint(states) if states else None


# --- in the process


@contextmanager
def work_budget(units: float) -> Iterator[None]:
    """End this process if the block takes more work than so many u."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPROF})
    signal.setitimer(signal.ITIMER_PROF, max(units * unit_seconds(), _LEAST_SECONDS))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@cache
def unit_seconds() -> float:
    """Return u in seconds, measured once: the median over batches of a few milliseconds."""
    rng = system_randomness()
    scalars = group.random_scalars(_PER_BATCH, rng)
    points = group.multiply_base(scalars)
    took = []
    for _ in range(_BATCHES):
        began = time.thread_time()
        group.LIBSODIUM.multiply(scalars[:1], points)
        took.append(time.thread_time() - began)
    return statistics.median(took) / _PER_BATCH


def _serve(connection: Connection, prepare: Callable[..., object] | None, arguments: tuple[Any, ...]) -> None:
    begin_worker(prepare, arguments)
    while True:
        try:
            function, given = connection.recv()
        except EOFError:
            return
        try:
            reply = (False, run_task(function, *given))
        except TaskError as error:
            reply = (True, str(error))
        except BaseException:  # its text, which Python would print, may say what the task hides
            os._exit(1)
        connection.send(reply)
