"""A wrong command line ends in one message and its exit code, never in a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from blindmatch_simulations.cli import exit_codes
from blindmatch_simulations.cli.app import run

COMMAND = [sys.executable, "-m", "blindmatch_simulations"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["device", "send", "alice"],
        ["device", "send", "alice", "bob", "--picture", "a.png", "b.png"],
        ["demo", "--set-size", "none"],
        ["demo", "--set-size", "0"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_ends_in_the_usage_exit_code(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == exit_codes.USAGE
    said = capsys.readouterr().err
    assert "Usage:" in said
    assert "Traceback" not in said


def test_a_missing_deployment_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "inspect", "known", "--home", str(tmp_path)]) == exit_codes.BAD_STATE
    assert "blindmatch certs init" in capsys.readouterr().err


def test_help_and_version_end_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == exit_codes.OK
    assert capsys.readouterr().out.startswith("blindmatch ")
    assert run(["demo", "--help"]) == exit_codes.OK
    assert "[default: a temporary one]" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_servers_end_with_the_command_that_started_them(tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "home")]
    for arguments in (["certs", "init"], ["list", "random", "10", "known"], ["list", "build", "known"]):
        assert run([*arguments, *home]) == exit_codes.OK
    with subprocess.Popen([*COMMAND, "serve", "all", *home], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = next(line for line in iter(process.stdout.readline, "") if "ready" in line)
        assert ready.startswith("ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == exit_codes.OK
    last = [(tmp_path / "home" / name / "log.jsonl").read_text() for name in ("relay", "matcher", "centre")]
    assert all("drained" in log for log in last)
