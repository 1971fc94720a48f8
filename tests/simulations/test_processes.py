"""Server processes start together, end together, and are named when one does not come up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from multiprocessing.reduction import send_handle
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, default_int_handler, pthread_kill, signal
from threading import Thread, get_ident

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.testbed.deployment import processes
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.processes import (
    Nursery,
    ProcessError,
    ServerProcess,
    check_alive,
    running_servers,
)
from support.command import processes_of


def _server(command: str, log: Path) -> ServerProcess:
    return ServerProcess(Party.MATCHER, subprocess.Popen([sys.executable, "-c", command]), log, 0)


def test_servers_end_with_the_block_even_if_it_fails(deployment: Deployment) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        running_servers(deployment, (Party.CENTRE, Party.PROVIDER), ()) as servers,
    ):
        assert [server.process.poll() for server in servers] == [None, None]
        assert len(processes_of(deployment.home)) == 2
        assert deployment.endpoints().keys() == {Party.CENTRE, Party.PROVIDER}
        raise KeyboardInterrupt
    assert [server.process.returncode for server in servers] == [0, 0]
    assert not any(deployment.port_file(server.party).exists() for server in servers)
    assert processes_of(deployment.home) == []


STARTS = (
    "import sys, time; from pathlib import Path; from blindmatch_protocol.contract import Party;"
    "from blindmatch_simulations.testbed.deployment.folder import Deployment;"
    "from blindmatch_simulations.testbed.deployment.processes import Nursery, running_servers;"
    "nursery = {0}; home, parties = Deployment(Path(sys.argv[1])), (Party.CENTRE, Party.PROVIDER);"
    "servers = running_servers(home, parties, (), nursery); up = servers.__enter__();"
)


@pytest.mark.parametrize("nursery", [None, "Nursery()"])
def test_servers_end_with_the_process_that_started_them_even_if_it_is_killed(
    deployment: Deployment, nursery: str | None
) -> None:
    script = STARTS.format(nursery) + "print(*(one.process.pid for one in up), flush=True); time.sleep(600)"
    command = [sys.executable, "-c", script, str(deployment.home)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pids = {int(one) for one in parent.stdout.readline().split()}
        assert len(pids) == 2 and pids < {*processes_of(deployment.home)}, "each is a process of its own"
        parent.kill()
    deadline = time.monotonic() + 240
    while processes_of(deployment.home):
        assert time.monotonic() < deadline, "a server has outlived whoever started it"
        time.sleep(0.05)
    logs = [(deployment.server(party) / "log.jsonl").read_text() for party in (Party.CENTRE, Party.PROVIDER)]
    assert all("drained" in log for log in logs)
    assert deployment.endpoints() == {}


def test_a_forked_server_tells_how_it_ended_and_what_it_said(deployment: Deployment, tmp_path: Path) -> None:
    # without a deployment `blindmatch serve` ends with a code of its own
    script = STARTS.format("Nursery()") + (
        "said = open(sys.argv[2], 'wb');"
        "refused = nursery.start(['serve', 'relay', '--home', '/dev/null'], said, said);"
        "code = refused.wait();"
        "up[1].process.kill(); print(code, refused.poll(), up[1].process.wait(), up[0].process.poll());"
        "up[1].process.terminate(); servers.__exit__(None, None, None); print(up[0].process.returncode);"
        "import os; os.kill(nursery._pid, 9); nursery.start(['serve'], said, said)"
    )
    command = [sys.executable, "-c", script, str(deployment.home), str(tmp_path / "said")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["4", "4", "-9", "None", "0"], done.stderr
    assert "Not a directory" in (tmp_path / "said").read_text()
    assert "ProcessError: the process that others are forked off ended" in done.stderr
    assert processes_of(deployment.home) == []


FORKED = """
import os, sys
from pathlib import Path
before = []
def prepare(many):
    before.extend([many, os.getpid()])
def main():
    print(*before, os.getppid(), os.getpgrp() == os.getpid(), sys.argv[1:], flush=True)
    if sys.argv[1] == "raise":
        raise ValueError("broken")
    if sys.argv[1] == "closed":
        sys.stdout.close()
        return 3
    if sys.argv[1] == "wait":
        Path(sys.argv[2]).write_bytes(b"" if sys.stdin.buffer.read() else b"at its end")
    return int(sys.argv[1])
"""


def test_programs_are_forked_off_one_process_that_has_loaded_them_and_run_into_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "born.py").write_text(FORKED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    said = tmp_path / "said"
    left = tmp_path / "left"
    with Nursery("born", True) as nursery, said.open("wb") as out, (tmp_path / "errors").open("wb") as errors:
        ended = [nursery.start([word], out, errors).wait() for word in ("0", "raise", "closed", "7")]
        waiting = nursery.start(["wait", str(left)], out, errors)
        killed = nursery.start(["wait", str(left)], out, errors)
        os.killpg(killed.pid, SIGKILL)
        assert [*ended, killed.wait(), waiting.poll()] == [0, 1, 3, 7, -9, None]
        nursery._line.send(waiting.pid)  # whoever asked this was interrupted
        assert nursery.ask(killed.pid) == -9, "what ended once has ended, and its answer is its own"
        assert nursery.start(["0"], out, errors).wait() == 0
    deadline = time.monotonic() + 60
    while not left.exists() or not left.read_text():
        assert time.monotonic() < deadline, "it has outlived whoever started it"
        time.sleep(0.05)
    lines = [line.split(" ", 4) for line in said.read_text().splitlines()]
    assert [one[4] for one in lines][:4] == ["['0']", "['raise']", "['closed']", "['7']"]
    assert len({one[1] for one in lines} | {one[2] for one in lines[:4]}) == 1, "all of one process"
    assert {(one[0], one[3]) for one in lines} == {("True", "True")}, "prepared; each leads a group"
    told = (tmp_path / "errors").read_text()
    assert "ValueError: broken" in told and "closed file" not in told


SLOW = """
import subprocess, sys, time
from pathlib import Path
from blindmatch_simulations.measure.processes import status_mib
here, held = Path(__file__).parent, []
def prepare(many):
    (here / "begun").touch()
    ends = time.monotonic() + 60
    while many and not (here / "go").exists() and time.monotonic() < ends:
        time.sleep(0.02)
    held.append(b"x" * (64 << 20))
def main():
    (here / "forked").touch()
    other = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout.split()
    print(status_mib("VmHWM"), int(other[other.index("VmHWM:") + 1]) / 1024)
    return 0
"""


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that prepares until the file `go` is there."""
    (tmp_path / "slow_born.py").write_text(SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "slow_born"


def test_an_interrupt_while_there_is_much_to_prepare_ends_all_at_once(
    slow: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    main = get_ident()

    def interrupt() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.02)
        pthread_kill(main, SIGINT)

    interrupting = Thread(target=interrupt)
    # whoever runs tests in a shell's background has them ignore it
    before = signal(SIGINT, default_int_handler)
    try:
        with (
            (tmp_path / "said").open("wb") as out,
            pytest.raises(KeyboardInterrupt),
            Nursery(slow, True) as few,
        ):
            interrupting.start()
            few.start(["0"], out, out)
    finally:
        signal(SIGINT, before)
    interrupting.join()
    with pytest.raises(ProcessLookupError):
        os.kill(few._pid, 0)
    assert not (tmp_path / "forked").exists() and capfd.readouterr().err == ""


@pytest.mark.parametrize("handles", [0, 1, 2])
def test_a_nurse_ends_without_a_word_and_forks_nothing_once_who_asked_is_gone(
    slow: str, handles: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nursery = Nursery(slow, True)
    nursery._line.send(("0",))
    with (tmp_path / "said").open("wb") as out:
        for _ in range(handles):
            send_handle(nursery._line, out.fileno(), None)
    nursery._line.close()
    (tmp_path / "go").touch()
    assert nursery._wait() == 0 and capfd.readouterr().err == ""
    assert not (tmp_path / "forked").exists()
    os.close(nursery._lives)


def test_a_fork_s_peak_begins_with_what_its_parent_had_and_a_nurse_that_cannot_answer_ends_without_a_word(
    slow: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nursery = Nursery(slow)
    with (tmp_path / "said").open("wb") as out:
        forked = nursery.start(["0"], out, out)
    assert forked.wait() == 0
    own, other = map(float, (tmp_path / "said").read_text().split())
    assert own > 64 > other, "another program's begins anew"
    os.kill(nursery._pid, SIGSTOP)
    nursery._line.send(forked.pid)
    nursery._line.close()
    os.kill(nursery._pid, SIGCONT)
    assert nursery._wait() == 0 and capfd.readouterr().err == ""
    os.close(nursery._lives)


def test_a_server_s_log_is_json_whatever_else_writes_to_its_streams(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    with running_servers(deployment, (Party.CENTRE,), ()) as servers:
        pass
    events = [json.loads(line)["event"] for line in servers[0].log.read_text().splitlines()]
    assert events == ["serving", "draining", "drained"]
    assert "import time:" in servers[0].output.read_text()


def test_a_server_that_takes_too_long_is_named(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_SECONDS", 0.0)
    with (
        pytest.raises(ProcessError, match="centre did not start in 0 s"),
        running_servers(deployment, (Party.CENTRE,), ()),
    ):
        raise AssertionError("the block must not be entered")
    assert processes_of(deployment.home) == []


def test_a_dead_server_is_noticed_with_the_end_of_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("first\nsecond\nthird\nlast words\n")
    dead = _server("raise SystemExit(4)", log)
    dead.process.wait()
    with pytest.raises(ProcessError, match=r"matcher ended with exit code 4: second \| third \| last words$"):
        check_alive([dead])


def test_a_server_that_was_killed_is_named_without_its_calls(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"event":"call","status":"OK"}\n')
    dead = _server("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", log)
    dead.process.wait()
    with pytest.raises(ProcessError, match=r"^matcher was killed by SIGKILL$"):
        check_alive([dead])


@pytest.mark.parametrize(
    ("end", "code"), [("raise SystemExit(4)", 4), ("", 7), ("import os; os.kill(os.getpid(), 9)", 7)]
)
def test_a_server_s_end_gives_its_exit_code_if_it_has_one(end: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("")
    dead = _server(end, tmp_path / "log.jsonl")
    dead.process.wait()
    with pytest.raises(ProcessError) as raised:
        check_alive([dead])
    assert exit_codes.code_of(raised.value) == code


def test_a_server_that_does_not_stop_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)"
    command = [sys.executable, "-c", f"{stubborn}; time.sleep(60)"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"1\n"
    process.stdout.close()
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    processes._stop(ServerProcess(Party.MATCHER, process, tmp_path / "log", 0))
    assert process.returncode == -9
