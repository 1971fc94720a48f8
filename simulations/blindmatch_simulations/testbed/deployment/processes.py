"""Runs servers as processes of their own, one at a time for each, and waits until they can be called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from signal import Signals
from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Party
from blindmatch_server.storage.files import hold
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.addresses import DAMAGES
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError

START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.02
LOCK: Final = "running"


class ProcessError(BlindmatchError):
    """A server did not start, or ended by itself.

    Attributes:
        code: its exit code if it has ended, negative if a signal ended it; else 0.
    """

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class ServerProcess(Struct, frozen=True):
    """A running server, where its log goes, and the byte of it that this start begins at."""

    party: Party
    process: subprocess.Popen[bytes]
    log: Path
    begins: int

    @property
    def output(self) -> Path:
        """What it has written to its standard streams since it was started: nothing of its own."""
        return self.log.with_name("output.txt")

    def read_log(self, at: int) -> tuple[bytes, int]:
        """Whole lines logged from byte `at` on, also where a new file was begun since, and where to go on."""
        if not self.log.exists():
            return b"", at
        with self.log.open("rb") as log:
            new, before = b"", Path(f"{self.log}.1")
            if os.fstat(log.fileno()).st_size < at:
                new, at = before.read_bytes()[at:] if before.exists() else b"", 0
            log.seek(at)
            fresh = log.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        return new + whole, at + len(whole)

    def said(self) -> list[str]:
        """The lines that it has logged since it was started, then what others wrote to its streams."""
        said = self.read_log(self.begins)[0] + (self.output.read_bytes() if self.output.exists() else b"")
        return said.decode(errors="replace").splitlines()


@contextmanager
def alone(deployment: Deployment, party: Party) -> Iterator[None]:
    """Hold a server's folder: its state and its port file are one process's at a time; `DeploymentError` if
    another process holds it, or the folder cannot be written to."""
    busy = f"the {party.server} of {deployment.home} runs already; stop it first, or choose another --home"
    with hold(deployment.server(party) / LOCK, DeploymentError(busy), DeploymentError):
        yield


@contextmanager
def running_servers(
    deployment: Deployment, parties: Sequence[Party], options: Sequence[str]
) -> Iterator[list[ServerProcess]]:
    """`blindmatch serve ...` for each of `parties`, each in a process of its own, until the block ends;
    `ProcessError` if one does not come up; the text has the end of its log.

    They end with this process, too, however it ends: each reads from a pipe that is open as long as it lives.

    The first one is up before the others are started, since those may need its address.
    """
    deployment.admit(parties, datetime.now(UTC))
    with ExitStack() as stack:
        servers: list[ServerProcess] = []
        deadline = time.monotonic() + START_SECONDS
        for group in (parties[:1], parties[1:]):
            started = []
            for party in group:
                started.append(_start(deployment, party, options))
                stack.callback(_stop, started[-1])
            for server in started:
                _wait(deployment, server, deadline)
            servers += started
        yield servers


def check_alive(servers: Sequence[ServerProcess]) -> None:
    """Make sure that none of `servers` has ended; `ProcessError` if one has."""
    for server in servers:
        code = server.process.poll()
        if code is not None:
            end = f"ended with exit code {code}: {_tail(server)}" if code >= 0 else _killed(-code)
            raise ProcessError(f"{server.party.server} {end}", code)


def _killed(signal: int) -> str:
    return f"was killed by {Signals(signal).name}" if signal in set(Signals) else f"ended by signal {signal}"


def _start(deployment: Deployment, party: Party, options: Sequence[str]) -> ServerProcess:
    folder = deployment.server(party)
    with alone(deployment, party):
        deployment.port_file(party).unlink(missing_ok=True)
    log = folder / "log.jsonl"
    command = [sys.executable, "-m", "blindmatch_simulations", "serve", party.server]
    command += [
        "--home",
        str(deployment.home),
        "--port",
        "0",
        "--end-with-input",
        "--log",
        str(log),
        *options,
    ]
    begins = log.stat().st_size if log.exists() else 0
    # libraries and the interpreter write there, and no JSON
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
    return ServerProcess(party, process, log, begins)


def _wait(deployment: Deployment, server: ServerProcess, deadline: float) -> None:
    while not deployment.port_file(server.party).exists():
        check_alive([server])
        if time.monotonic() > deadline:
            raise ProcessError(f"{server.party.server} did not start in {START_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _stop(server: ServerProcess) -> None:
    if server.process.poll() is None:
        server.process.terminate()
    try:
        server.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait()
    finally:
        if server.process.stdin is not None:
            server.process.stdin.close()


def _tail(server: ServerProcess) -> str:
    last = server.said()[-3:]
    for line in reversed(last):
        with suppress(*DAMAGES):
            return str(json.loads(line)["reason"])
    return " | ".join(last) or "it wrote no log"
