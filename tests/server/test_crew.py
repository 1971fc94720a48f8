"""Helper processes give what the function gives here, in order, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
from blindmatch_protocol.contract import EntryBatch, SetParameters, batches_of
from blindmatch_protocol.designs import oprf_psi, token_psi
from blindmatch_protocol.errors import DesignError
from blindmatch_protocol.executor import Helpers
from blindmatch_protocol.randomness import seeded
from blindmatch_server.crew import Crew, HelperWarning
from blindmatch_server.publication import publish_epoch
from support import row_functions
from support.memory import random_hashes
from support.signed import SIGNER

TESTS = Path(__file__).parent.parent
SECRET = b"\xa5" * 32


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let programs that a test starts find this module."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


@pytest.fixture
def crew() -> Iterator[Crew]:
    with Crew(2) as crew:
        yield crew


def entries(count: int) -> EntryBatch:
    salts = np.frombuffer(seeded("salts").take(16 * count), np.uint8).reshape(count, 16)
    return EntryBatch(random_hashes(count), np.arange(count, dtype=np.uint64), salts)


def batches(count: int, size: int) -> Iterator[EntryBatch]:
    held = entries(count)
    yield from batches_of(held.hashes, held.ids, held.salts).batches(size)


def computed(crew: Crew, function: Callable[[bytes, EntryBatch], Rows], count: int, size: int) -> Rows:
    return np.concatenate(list(crew.rows(function, SECRET, batches(count, size))))


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class TestRows:
    @pytest.mark.parametrize(("count", "size"), [(1, 4), (7, 4), (40, 4), (40, 1)])
    def test_are_the_functions_in_the_order_of_the_batches(self, crew: Crew, count: int, size: int) -> None:
        expected = row_functions.mixed(SECRET, entries(count))
        assert (computed(crew, row_functions.mixed, count, size) == expected).all()

    def test_come_from_processes_that_an_interrupted_terminal_does_not_reach(self, crew: Crew) -> None:
        rows: Any = crew.rows(row_functions.mixed, SECRET, batches(40, 4))
        next(rows)
        until = time.monotonic() + 30
        while [os.getpgid(pid) for pid in crew.pids] != list(crew.pids) and time.monotonic() < until:
            time.sleep(0.05)  # a worker leaves the group as the first thing that it does
        assert [os.getpgid(pid) for pid in crew.pids] == list(crew.pids)
        rows.close()

    def test_come_from_other_processes_each_of_which_computes(self, crew: Crew) -> None:
        pids = computed(crew, row_functions.whose, 400, 2).view(np.uint64)
        assert os.getpid() not in pids
        assert len(set(pids.ravel().tolist())) == 2

    def test_of_no_batch_are_none(self, crew: Crew) -> None:
        assert list(crew.rows(row_functions.mixed, SECRET, iter(()))) == []

    def test_one_worker_computes_here(self) -> None:
        with Crew(1) as alone:
            pids = computed(alone, row_functions.whose, 4, 2).view(np.uint64)
            assert set(pids.ravel().tolist()) == {os.getpid()}

    def test_what_a_function_prints_is_no_answer(self, crew: Crew) -> None:
        expected = row_functions.mixed(SECRET, entries(8))
        assert (computed(crew, row_functions.talking, 8, 4) == expected).all()

    def test_can_be_asked_for_again(self, crew: Crew) -> None:
        first, second = (computed(crew, row_functions.mixed, 8, 4) for _ in range(2))
        assert (first == second).all()

    def test_a_crew_is_an_executor_with_helpers(self, crew: Crew) -> None:
        assert isinstance(crew, Helpers)
        assert list(crew.map(lambda a, b: a * b, [2, 3], [5, 7])) == [10, 21]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")
class TestHelpers:
    def test_end_with_the_last_rows(self, crew: Crew) -> None:
        rows = crew.rows(row_functions.mixed, SECRET, batches(40, 4))
        next(rows)
        pids = crew.pids
        assert len(pids) == 2
        assert all(map(is_running, pids))
        list(rows)
        assert crew.pids == ()
        assert not any(map(is_running, pids))

    def test_end_when_nobody_wants_more_rows(self, crew: Crew) -> None:
        rows: Any = crew.rows(row_functions.mixed, SECRET, batches(40, 4))
        next(rows)
        pids = crew.pids
        rows.close()
        assert not any(map(is_running, pids))

    def test_that_are_ended_in_the_middle_of_a_batch_have_not_failed(self) -> None:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            with Crew(2) as crew:
                rows: Any = crew.rows(row_functions.slow, SECRET, batches(40, 4))
                next(rows)
                pids = crew.pids
                rows.close()
                assert not any(map(is_running, pids))
        assert [one for one in seen if one.category is HelperWarning] == []

    def test_end_when_the_list_breaks_off(self, crew: Crew) -> None:
        def broken() -> Iterator[EntryBatch]:
            yield from batches(8, 4)
            raise DesignError("the list changed while it was read")

        with pytest.raises(DesignError, match="changed"):
            list(crew.rows(row_functions.mixed, SECRET, broken()))
        assert crew.pids == ()

    def test_are_told_the_secret_over_the_pipe_alone(self, crew: Crew) -> None:
        rows = crew.rows(row_functions.mixed, SECRET, batches(40, 4))
        next(rows)
        for pid in crew.pids:
            for place in ("cmdline", "environ"):
                seen = Path(f"/proc/{pid}/{place}").read_bytes()
                assert seen
                assert SECRET not in seen
                assert SECRET.hex().encode() not in seen
        list(rows)

    def test_end_when_the_program_is_killed(self, tmp_path: Path) -> None:
        script = (
            "from support.row_functions import mixed; from blindmatch_server.crew import Crew\n"
            "from server.test_crew import batches; import os, signal\n"
            "crew = Crew(2); rows = crew.rows(mixed, b'k', batches(400, 4)); next(rows)\n"
            "print(*crew.pids, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        pids = [int(word) for word in done.stdout.split()]
        assert len(pids) == 2
        until = time.monotonic() + 30
        while any(map(is_running, pids)) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(map(is_running, pids))


class TestFailures:
    def test_a_functions_own_error_is_raised_here(
        self, crew: Crew, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with (
            pytest.warns(HelperWarning, match="refusing: LookupError$") as warned,
            pytest.raises(LookupError, match="entry 8"),
        ):
            computed(crew, row_functions.refusing, 40, 4)
        told = "".join(str(one.message) for one in warned) + "".join(capfd.readouterr())
        assert SECRET.hex() not in told

    def test_a_helper_that_dies_is_done_without(self, crew: Crew) -> None:
        expected = row_functions.mixed(SECRET, entries(40))
        with pytest.warns(HelperWarning, match="done without"):
            assert (computed(crew, row_functions.dying, 40, 4) == expected).all()

    def test_helpers_that_cannot_be_started_are_done_without(
        self, crew: Crew, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fails(*_: Any) -> Any:
            raise BlockingIOError("Resource temporarily unavailable")

        monkeypatch.setattr(ProcessPoolExecutor, "submit", fails)
        with pytest.warns(HelperWarning, match="BlockingIOError"):
            pids = computed(crew, row_functions.whose, 40, 2).view(np.uint64).ravel().tolist()
        assert set(pids) == {os.getpid()}

    def test_a_helper_that_hangs_is_killed(self, crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("blindmatch_server.workers._END_SECONDS", 0.2)
        rows: Any = crew.rows(row_functions.mixed, SECRET, batches(400, 4))
        next(rows)
        pids = crew.pids
        os.kill(pids[0], signal.SIGSTOP)
        rows.close()
        assert not any(map(is_running, pids))

    def test_a_function_that_workers_cannot_find_is_computed_here(self, crew: Crew) -> None:
        elsewhere = FunctionType(row_functions.mixed.__code__, vars(row_functions), "mixed")
        elsewhere.__module__ = "no_such_module"
        expected = row_functions.mixed(SECRET, entries(40))
        with pytest.warns(HelperWarning, match="no_such_module:mixed: ModuleNotFoundError"):
            assert (computed(crew, elsewhere, 40, 4) == expected).all()


@pytest.mark.parametrize("package", [oprf_psi, token_psi])
def test_a_design_builds_the_same_files_with_helpers(
    package: Any, crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = entries(100)
    source = batches_of(held.hashes, held.ids, held.salts)
    monkeypatch.setattr(package.build, "BATCH", 16)
    monkeypatch.setattr(package.build, "SHARED", 0)
    asked = []
    monkeypatch.setattr(
        crew, "rows", lambda *args, rows=crew.rows: (asked.append(args[0].__name__), rows(*args))[1]
    )
    digests = [
        {
            file.name: file.sha256
            for file in publish_epoch(
                package.DESIGN,
                source,
                SetParameters(1, {}),
                seeded("build"),
                executor,
                tmp_path / name,
                SIGNER,
            ).manifest.files
        }
        for name, executor in (("alone", None), ("helped", crew))
    ]
    assert asked == ["rows_of"]
    assert digests[0] == digests[1]
