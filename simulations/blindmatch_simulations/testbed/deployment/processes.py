"""Runs servers as processes of their own, one at a time for each, and waits until they can be called."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from threading import Lock
from typing import IO, Final, NoReturn, Self

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_protocol.contract import Party
from blindmatch_server.storage.files import hold
from msgspec import Struct

from blindmatch_simulations.testbed.deployment.addresses import DAMAGES
from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError
from blindmatch_simulations.testbed.inprocess.plugin_bounds import ENDED_WORDS

START_SECONDS: Final = 180.0
STOP_SECONDS: Final = 15.0
HOLD_SECONDS: Final = 3.0
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


PROGRAM: Final = "blindmatch_simulations"


class Nursery:
    """Forks programs off a process that has their modules loaded, for whoever starts many of them.

    Why not `multiprocessing`'s: docs/decisions/0025-own-fork-server.md.

    Args:
        module: its `main` is forked off a fresh process, once its `prepare` was called there with `many`, and
            leads a process group of its own. Without one, servers are forked off a copy of this process,
            which has no threads, locks or open files yet.

    What was forked off finds its standard input at its end once this process ends.
    """

    def __init__(self, module: str = "", many: bool = False) -> None:
        ends, self._lives = os.pipe()
        self._line, theirs = Pipe()
        self._one = Lock()
        if module:
            code = f"from {module} import main, prepare; from {__name__} import nurse; prepare({many})"
            code += f"; nurse(main, {theirs.fileno()}, {ends}, True)"
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=(theirs.fileno(), ends),
            )
            self._pid = process.pid
            self._wait: Callable[[], object] = process.wait
        else:
            self._pid = os.fork()
            self._wait = partial(os.waitpid, self._pid, 0)
            if not self._pid:
                try:
                    os.close(self._lives)
                    self._line.close()
                    nurse(import_module(f"{PROGRAM}.cli").main, theirs.fileno(), ends, False)
                finally:
                    os._exit(1)  # whatever it is, none of the caller's own ends is this copy's
        os.close(ends)
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.kill(self._pid, SIGKILL)  # it may be preparing still; what it forked ends by itself
        self._line.close()
        os.close(self._lives)
        self._wait()

    def start(self, arguments: Sequence[str], out: IO[bytes] | int, errors: IO[bytes]) -> Forked:
        """Fork `main` off, with `arguments` in `sys.argv` and these files as its streams."""
        return Forked(self, self.ask(tuple(arguments), out, errors) or 0)

    def ask(self, asked: tuple[str, ...] | int, *files: IO[bytes] | int) -> int | None:
        """Start what is given, for its number; or the exit code of that number, None while it runs."""
        try:
            with self._one:
                self._line.send(asked)
                for one in files:
                    send_handle(self._line, one if isinstance(one, int) else one.fileno(), None)
                answer: tuple[object, int | None] = self._line.recv()
                while answer[0] != asked:  # whoever asked that was interrupted
                    answer = self._line.recv()
        except (EOFError, OSError) as error:
            raise ProcessError("the process that others are forked off ended") from error
        return answer[1]


def nurse(main: Callable[[], object], line: int, ends: int, groups: bool) -> NoReturn:
    """Fork `main` off this process as often as a `Nursery` asks for it on `line`; ends when it is closed."""
    asking = Connection(line)
    codes = dict[int, int | None]()
    import_module(f"{PROGRAM}.cli.serve")
    gc.freeze()  # what forks share they need not look through
    while True:
        with _while_open():
            asked = asking.recv()
            files = () if isinstance(asked, int) else (recv_handle(asking), recv_handle(asking))
            if files and asking.poll():
                raise EOFError  # nobody says anything before the answer
        if not files:
            if codes[asked] is None and (ended := os.waitpid(asked, os.WNOHANG))[0]:
                codes[asked] = os.waitstatus_to_exitcode(ended[1])
            answer = codes[asked]
        else:
            answer = os.fork()
            if groups:
                os.setpgid(answer, answer)  # both do it, whoever comes first
            if not answer:
                os.close(line)
                _become(main, (ends, *files), asked)
            codes[answer] = None
            for one in files:
                os.close(one)
        with _while_open():
            asking.send((asked, answer))


@contextmanager
def _while_open() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError):
        os._exit(0)


def _become(main: Callable[[], object], streams: Sequence[int], arguments: tuple[str, ...]) -> NoReturn:
    """Go on as ``python -m`` does; whatever happens, nothing of the process that was forked runs on."""
    code: object = 1
    try:
        for number, given in enumerate(streams):
            os.dup2(given, number)
        sys.argv = [PROGRAM, *arguments]
        code = main()
    except SystemExit as leave:
        code = leave.code
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code if isinstance(code, int) else 1)


class Forked:
    """A process of a `Nursery`, with those methods of `subprocess.Popen` that a server's has.

    Attributes:
        returncode: once it was seen to have ended.
    """

    stdin: Final = None

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative if a signal ended it; None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.ask(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code once it ends; `subprocess.TimeoutExpired` if it does not within so many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if deadline is not None and timeout is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(PROGRAM, timeout)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        self.send_signal(SIGKILL)


class ServerProcess(Struct, frozen=True):
    """A running server, where its log goes, and the byte of it that this start begins at."""

    party: Party
    process: subprocess.Popen[bytes] | Forked
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
            new = b""
            before = Path(f"{self.log}.1")
            if os.fstat(log.fileno()).st_size < at:
                new = before.read_bytes()[at:] if before.exists() else b""
                at = 0
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
    another process goes on holding it, or the folder cannot be written to."""
    busy = f"the {party.server} of {deployment.home} runs already; stop it first, or choose another --home"
    with hold(deployment.server(party) / LOCK, DeploymentError(busy), DeploymentError, HOLD_SECONDS):
        yield


@contextmanager
def running_servers(
    deployment: Deployment,
    parties: Sequence[Party],
    options: Sequence[str],
    nursery: Nursery | None = None,
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
                started.append(_start(deployment, party, options, nursery))
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
            end = f"ended with exit code {code}: {_tail(server)}" if code >= 0 else f"ended by signal {-code}"
            if -code in set(Signals):
                end = f"was killed by {Signals(-code).name}"
            raise ProcessError(f"{server.party.server} {end}", code)


def _start(
    deployment: Deployment, party: Party, options: Sequence[str], nursery: Nursery | None
) -> ServerProcess:
    folder = deployment.server(party)
    with alone(deployment, party):
        deployment.port_file(party).unlink(missing_ok=True)
    log = folder / "log.jsonl"
    words = ["serve", party.server, "--home", str(deployment.home), "--port", "0"]
    words += ["--end-with-input", "--log", str(log), *options]
    begins = log.stat().st_size if log.exists() else 0
    # libraries and the interpreter write there, and no JSON
    said = folder / "output.txt"
    with said.open("wb") as output:
        if nursery is not None:
            return ServerProcess(party, nursery.start(words, output, output), log, begins)
        command = [sys.executable, "-m", PROGRAM, *words]
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
        if line.startswith(ENDED_WORDS):
            return line.removeprefix("error: ")
        with suppress(*DAMAGES):
            return str(json.loads(line)["reason"])
    return " | ".join(last) or "it wrote no log"
