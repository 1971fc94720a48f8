"""A log line that cannot be written is lost and counted; no call, and no server, fails for it."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from blindmatch_server.hosting.event_log import EventLog, LogFile, standard_error
from blindmatch_server.storage.errors import StateError

from .deployment import ALICE, Deployment, refused
from .test_operations import scrape
from .test_relay import message, relay
from .test_serving import ask, scripted

STATUS = grpc.StatusCode


@contextmanager
def stream(descriptor: int) -> Iterator[None]:
    """`descriptor` in the place of standard error."""
    held = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(held, 2)
        os.close(held)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reads, writes = os.pipe()
    try:
        yield reads, writes
    finally:
        for end in (reads, writes):
            with suppress(OSError):
                os.close(end)


async def test_messages_are_stored_and_acknowledged_when_nobody_reads_standard_error(tmp_path: Path) -> None:
    with pipe() as (reads, writes), stream(writes):
        async with relay(tmp_path, Deployment(sink=standard_error)) as (alice, bob):
            os.close(reads)
            for number in range(10):
                await alice.one("Relay/Send", message(number=number))
            received = await bob.all("Relay/Receive", wire.ReceiveRequest())
    assert len(received) == 10


@pytest.mark.parametrize("raised", [OSError(28, "full"), ValueError("closed"), RuntimeError("odd")])
async def test_calls_end_as_without_a_log_and_lost_lines_are_counted(raised: Exception) -> None:
    deployment = Deployment()
    kept = deployment.lines

    def lost(line: str) -> None:
        if '"metrics"' not in line:
            raise raised
        kept.append(line)

    deployment.sink = lost
    async with scripted(deployment, metrics_port=0) as (service, port):
        await ask(deployment.credentials(ALICE), port)
        service.error = OSError(errno.ENOSPC, "No space left on device")
        code, text, _ = await refused(ask(deployment.credentials(ALICE), port))
        assert (code, text.split(" (")[0]) == (STATUS.UNAVAILABLE, "storage failed: nothing was kept")
        # two calls, the failure of the second, and that the server serves
        assert "blindmatch_log_lines_dropped_total 4.0" in await scrape(deployment)


async def test_a_reader_that_stalls_does_not_stall_the_server() -> None:
    deployment = Deployment(sink=standard_error)
    with pipe() as (reads, writes):
        os.set_blocking(writes, False)
        try:
            while True:
                os.write(writes, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writes, True)
        with stream(writes):
            async with scripted(deployment) as (_, port):
                await ask(deployment.credentials(ALICE), port)
        assert set(os.read(reads, 1 << 20)) == {ord("x")}


def test_a_stream_whose_reader_came_back_gets_whole_lines() -> None:
    with pipe() as (reads, writes):
        with stream(writes):
            EventLog("relay").write("first")
            EventLog("relay").write("second")
        lines = os.read(reads, 4096).decode().splitlines()
        assert [json.loads(line)["event"] for line in lines] == ["first", "second"]


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file may grow beyond `size`: what is written at that place is cut short, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_line_that_does_not_fit_leaves_no_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lost = []
    log = EventLog("relay", LogFile(path), dropped=lambda: lost.append(1))
    log.write("first")
    with limited(path.stat().st_size + 5):
        log.write("second")
    log.write("third")
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["first", "third"]
    assert lost == [1]


def test_standard_error_in_a_full_file_goes_on_with_a_line_of_its_own(tmp_path: Path) -> None:
    with (tmp_path / "err").open("ab") as file, stream(file.fileno()):
        log = EventLog("relay")
        log.write("first")
        with limited(os.fstat(2).st_size + 5):
            log.write("second")
        log.write("third")
        log.write("fourth")
    lines = (tmp_path / "err").read_text().splitlines()
    assert len(lines) == 4
    assert [json.loads(lines[at])["event"] for at in (0, 2, 3)] == ["first", "third", "fourth"]


def test_a_log_s_file_is_bounded_and_keeps_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = LogFile(path, most_bytes=40)
    for number in range(25):
        log(f"line number {number}")
    assert path.read_text().splitlines()[-1] == "line number 24"
    assert {one.name for one in tmp_path.iterdir()} == {"log.jsonl", "log.jsonl.1"}
    assert all(one.stat().st_size <= 40 for one in tmp_path.iterdir())
    kept = (tmp_path / "log.jsonl.1").read_text() + path.read_text()
    assert kept.splitlines() == [f"line number {n}" for n in range(25)][-len(kept.splitlines()) :]


def test_a_log_that_cannot_be_rotated_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    log = LogFile(path, most_bytes=40)
    log("x" * 30)
    real = os.open

    def none(*arguments: Any, **more: Any) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", none)
    log("y" * 30)
    monkeypatch.setattr(os, "open", real)
    log("z" * 30)
    found = [one.read_text().split() for one in (tmp_path / "log.jsonl.1", path)]
    assert found == [["x" * 30, "y" * 30], ["z" * 30]]


def test_a_log_somebody_removed_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = LogFile(path, most_bytes=40)
    log("x" * 30)
    path.unlink()
    log("y" * 30)
    assert path.read_text() == "y" * 30 + "\n"


def test_a_log_that_cannot_be_opened_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"log: .*: Is a directory"):
        LogFile(tmp_path)


def test_a_log_is_for_its_server_alone(tmp_path: Path) -> None:
    LogFile(tmp_path / "log.jsonl")
    assert (tmp_path / "log.jsonl").stat().st_mode & 0o077 == 0


def test_a_log_into_a_pipe_waits_for_no_reader(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StateError, match=r"log: .*pipe cannot be written: No such device"):
        LogFile(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log = LogFile(pipe)
    lost = list[int]()
    for _ in range(1000):
        EventLog("relay", log, dropped=lambda: lost.append(1)).write("x" * 200)
    assert 0 < len(lost) < 1000
    os.close(reader)
    EventLog("relay", log, dropped=lambda: lost.append(1)).write("nobody reads")


@pytest.mark.parametrize("length", [5_000, 200_000])
def test_a_line_longer_than_a_pipe_takes_at_once_does_not_wait_for_its_reader(length: int) -> None:
    dropped: list[None] = []
    log = EventLog("relay", dropped=lambda: dropped.append(None))

    def write() -> None:
        for _ in range(20):
            log.write("stopped", reason="r" * length)

    with pipe() as (reads, writes), stream(writes):
        writing = threading.Thread(target=write, daemon=True)
        writing.start()
        writing.join(60)
        waits = writing.is_alive()
        os.close(reads)  # lets go of whoever waits
        writing.join()
    assert not waits and len(dropped) > 5
    standard_error._torn = False  # type: ignore[attr-defined]
