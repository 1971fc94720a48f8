"""Says what tests and fixtures cost in CPU, processes included: a plug-in of pytest (`make test-cost`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from multiprocessing import forkserver

import psutil
import pytest

MOST = 40
os.environ.pop("PYTHONPATH", None)  # by which this was found; programs that tests start must not find them
_OF: Counter[str] = Counter()


def _spent() -> float:
    """CPU seconds of this process, of those it waited for, and of what was forked for it."""
    pids = [os.getpid(), getattr(forkserver._forkserver, "_forkserver_pid", None)]  # type: ignore[attr-defined]
    return sum(sum(psutil.Process(pid).cpu_times()[:4]) for pid in pids if pid and psutil.pid_exists(pid))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    before = _spent()
    done = yield
    _OF[item.nodeid] = spent = _spent() - before
    _OF[f"all of {item.path.name}"] += spent
    return done


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    before = _spent()
    made = yield
    _OF[f"fixture {fixturedef.argname} of {request.node.nodeid}"] = _spent() - before
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name, seconds in _OF.most_common(MOST):
        terminalreporter.write_line(f"{seconds:8.2f} s of CPU  {name}")
