"""Worker processes give what the function gives here, in order, and leave nothing behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import EntryBatch, SetParameters, batches_of
from blindmatch_protocol.contract.publishing import WorkerProcesses
from blindmatch_protocol.designs import oprf_psi, token_psi
from blindmatch_server.epochs.building import Publishing, publish_epoch
from blindmatch_server.hosting.workers import WorkerError, WorkerPool, Workers, WorkerWarning
from support import row_functions
from support.dying import end_by_themselves, is_running, left_by
from support.memory import random_hashes
from support.signed import SIGNER

TESTS = Path(__file__).parent.parent
SECRET = b"\xa5" * 32


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs that a test starts find this module."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


@pytest.fixture
def workers() -> Iterator[WorkerPool]:
    with WorkerPool(2) as workers:
        yield workers


def entries(count: int) -> EntryBatch:
    salts = np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)
    return EntryBatch(random_hashes(count), np.arange(count, dtype=np.uint64), salts)


def batches(count: int, size: int) -> Iterator[EntryBatch]:
    held = entries(count)
    yield from batches_of(held.hashes, held.ids, held.salts).batches(size)


def computed(
    workers: WorkerPool, function: Callable[[bytes, EntryBatch], Rows], count: int, size: int
) -> Rows:
    return np.concatenate(list(workers.rows(function, SECRET, batches(count, size))))


class TestRows:
    def test_are_the_functions_in_the_order_of_the_batches_whatever_it_prints_each_time_they_are_asked_for(
        self, workers: WorkerPool
    ) -> None:
        for count, size in ((1, 4), (7, 4), (40, 1)):
            expected = row_functions.mixed(SECRET, entries(count))
            assert (computed(workers, row_functions.talking, count, size) == expected).all()

    def test_come_from_processes_that_an_interrupted_terminal_does_not_reach_and_end_when_nobody_wants_more(
        self, workers: WorkerPool
    ) -> None:
        rows: Any = workers.rows(row_functions.mixed, SECRET, batches(40, 4))
        next(rows)
        until = time.monotonic() + 240
        while [os.getpgid(pid) for pid in workers.pids] != list(workers.pids) and time.monotonic() < until:
            time.sleep(0.05)  # a worker leaves the group as the first thing that it does
        pids = workers.pids
        assert [os.getpgid(pid) for pid in pids] == list(pids)
        rows.close()
        assert not any(map(is_running, pids))

    def test_come_from_other_processes_each_of_which_computes(
        self, workers: WorkerPool, tmp_path: Path
    ) -> None:
        rows = list(workers.rows(row_functions.met, bytes(tmp_path), batches(40, 2)))
        pids = set(np.concatenate(rows).view(np.uint64).ravel().tolist())
        assert len(pids) == 2 and os.getpid() not in pids

    def test_of_no_batch_are_none(self, workers: WorkerPool) -> None:
        assert list(workers.rows(row_functions.mixed, SECRET, iter(()))) == []

    def test_one_worker_computes_here(self) -> None:
        with WorkerPool(1) as alone:
            pids = computed(alone, row_functions.whose, 4, 2).view(np.uint64)
            assert set(pids.ravel().tolist()) == {os.getpid()}

    def test_a_worker_pool_is_an_executor_with_helpers(self, workers: WorkerPool) -> None:
        assert isinstance(workers, WorkerProcesses)
        assert list(workers.map(lambda a, b: a * b, [2, 3], [5, 7])) == [10, 21]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
class TestWorkers:
    def test_are_told_the_secret_over_the_pipe_alone_and_end_with_the_last_rows(
        self, workers: WorkerPool, tmp_path: Path
    ) -> None:
        secret = tmp_path / SECRET.hex()
        secret.mkdir()
        rows = workers.rows(row_functions.met, bytes(secret), batches(40, 4))
        next(rows)
        pids = workers.pids
        assert len(pids) == 2
        assert all(map(is_running, pids))
        for pid in pids:
            for place in ("cmdline", "environ"):
                seen = Path(f"/proc/{pid}/{place}").read_bytes()
                assert seen
                assert SECRET.hex().encode() not in seen
        list(rows)
        assert workers.pids == ()
        assert not any(map(is_running, pids))

    def test_that_are_ended_in_the_middle_of_a_batch_have_not_failed(self) -> None:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with WorkerPool(2) as workers:
                rows: Any = workers.rows(row_functions.slow, SECRET, batches(40, 4))
                next(rows)
                pids = workers.pids
                rows.close()
                assert not any(map(is_running, pids))
        assert [one for one in seen if one.category is WorkerWarning] == []

    def test_end_when_the_list_breaks_off(self, workers: WorkerPool) -> None:
        def broken() -> Iterator[EntryBatch]:
            yield from batches(8, 4)
            raise DesignError("the list changed while it was read")

        with pytest.raises(DesignError, match="changed"):
            list(workers.rows(row_functions.mixed, SECRET, broken()))
        assert workers.pids == ()

    def test_end_when_the_program_is_killed(self, tmp_path: Path) -> None:
        pids = left_by(
            "from support.row_functions import met\n"
            "from blindmatch_server.hosting.workers import WorkerPool\n"
            "from server.test_worker_pool import batches\n"
            f"rows = (workers := WorkerPool(2)).rows(met, {bytes(tmp_path)!r}, batches(400, 4)); next(rows)\n"
            "print(*workers.pids, flush=True)"
        )
        assert len(pids) == 2 and end_by_themselves(pids)


class TestFailures:
    def test_a_functions_own_error_is_raised_here(
        self, workers: WorkerPool, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with (
            pytest.warns(WorkerWarning, match="refusing: LookupError$") as warned,
            pytest.raises(LookupError, match="entry 8"),
        ):
            computed(workers, row_functions.refusing, 40, 4)
        told = "".join(str(one.message) for one in warned) + "".join(capfd.readouterr())
        assert SECRET.hex() not in told

    def test_a_helper_that_dies_is_done_without(self, workers: WorkerPool) -> None:
        expected = row_functions.mixed(SECRET, entries(40))
        with pytest.warns(WorkerWarning, match="done without"):
            assert (computed(workers, row_functions.dying, 40, 4) == expected).all()

    def test_one_that_dies_while_another_is_started_costs_its_tasks_alone_and_none_is_left(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The pool looks through its workers when one died, and meets the one that is being started."""
        context = multiprocessing.get_context("spawn")
        looking = threading.Event()
        workers = Workers(2)
        start = context.Process.start
        terminate = context.Process.terminate
        started = list[Any]()

        def starts(process: Any) -> None:
            start(process)
            started.append(process)
            if len(started) == 2:
                started[0].kill()
                assert looking.wait(240)

        def looked_at(process: Any) -> None:
            looking.set()
            until = time.monotonic() + 240
            while len(started) == 2 > len(workers.pids) and time.monotonic() < until:
                time.sleep(0.01)
            terminate(process)

        monkeypatch.setattr(context.Process, "start", starts)
        monkeypatch.setattr(context.Process, "terminate", looked_at)
        asked = [workers.submit(time.sleep, 240) for _ in range(2)]
        for one in asked:
            with pytest.raises(WorkerError, match="ended before"):
                workers.result(one)
        assert workers.result(workers.submit(row_functions.given, 5)) == 5
        workers.end()
        assert len(started) == 3 and end_by_themselves([process.pid for process in started])

    def test_helpers_that_cannot_be_started_are_done_without(
        self, workers: WorkerPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any) -> Any:
            raise BlockingIOError("Resource temporarily unavailable")

        monkeypatch.setattr(ProcessPoolExecutor, "submit", fails)
        with pytest.warns(WorkerWarning, match="BlockingIOError"):
            pids = computed(workers, row_functions.whose, 40, 2).view(np.uint64).ravel().tolist()
        assert set(pids) == {os.getpid()}

    def test_a_helper_that_hangs_is_killed(
        self, workers: WorkerPool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("blindmatch_server.hosting.workers._END_SECONDS", 0.2)
        rows: Any = workers.rows(row_functions.mixed, SECRET, batches(400, 4))
        next(rows)
        pids = workers.pids
        os.kill(pids[0], signal.SIGSTOP)
        rows.close()
        assert not any(map(is_running, pids))

    def test_a_function_that_workers_cannot_find_is_computed_here(self, workers: WorkerPool) -> None:
        elsewhere = FunctionType(row_functions.mixed.__code__, vars(row_functions), "mixed")
        elsewhere.__module__ = "no_such_module"
        expected = row_functions.mixed(SECRET, entries(40))
        with pytest.warns(WorkerWarning, match="no_such_module:mixed: ModuleNotFoundError"):
            assert (computed(workers, elsewhere, 40, 4) == expected).all()


@pytest.mark.parametrize(("package", "build"), [(oprf_psi, oprf_psi.design), (token_psi, token_psi.build)])
def test_a_design_builds_the_same_files_with_helpers(
    package: Any, build: Any, workers: WorkerPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = entries(100)
    source = batches_of(held.hashes, held.ids + np.uint64(1), held.salts)
    monkeypatch.setattr(build, "BATCH", 16)
    monkeypatch.setattr(build, "SHARED", 0)
    asked = []
    monkeypatch.setattr(
        workers, "rows", lambda *args, rows=workers.rows: (asked.append(args[0].__name__), rows(*args))[1]
    )
    digests = [
        {
            file.name: file.sha256
            for file in publish_epoch(
                Publishing(package.DESIGN, tmp_path / name, SIGNER, executor),
                source,
                SetParameters(1, {}),
                seeded("build"),
            ).contents.files
        }
        for name, executor in (("alone", None), ("helped", workers))
    ]
    assert asked == ["rows_of"]
    assert digests[0] == digests[1]
