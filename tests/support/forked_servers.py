"""Servers of a deployment as forked processes: each starts without importing everything anew."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from blindmatch_simulations.testbed.deployment import processes
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.hosting import parties_of
from blindmatch_simulations.testbed.deployment.registry import load_design

from support import forked, mortal_command

COMMAND = [sys.executable, "-m", "blindmatch_simulations"]


class ForkedServer:
    """What `subprocess.Popen` is of a program that was started, of one that was forked."""

    def __init__(self, process: ForkServerProcess, stdin: Connection) -> None:
        self._process = process
        self.stdin = stdin

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def started(command: Sequence[str], *, stdin: int, stdout: IO[bytes], stderr: int) -> ForkedServer:
    """In the place of `subprocess.Popen` as `processes` calls it."""
    assert (list(command[:3]), stdin, stderr) == (COMMAND, subprocess.PIPE, subprocess.STDOUT)
    context = forked.context()
    reads, writes = context.Pipe(duplex=False)
    with reads:
        place = (Path(stdout.name).resolve(), Path.cwd(), {**os.environ})
        process = context.Process(target=mortal_command.command, args=(command[3:], reads, *place))
        process.start()
    return ForkedServer(process, writes)


@contextmanager
def serving(home: Path, design: str = "oprf-psi") -> Iterator[None]:
    """The servers of a deployment run, forked, until the block ends."""
    with ExitStack() as stack:
        with forked_servers():
            deployment = Deployment.open(home)
            stack.enter_context(processes.running_servers(deployment, parties_of(load_design(design)), ()))
        yield


@contextmanager
def forked_servers() -> Iterator[None]:
    """Within the block `running_servers` forks; nothing finds such a server by its command line."""
    with pytest.MonkeyPatch.context() as patch:
        held = {name: getattr(subprocess, name) for name in ("PIPE", "STDOUT", "TimeoutExpired")}
        patch.setattr(processes, "subprocess", SimpleNamespace(Popen=started, **held))
        yield
