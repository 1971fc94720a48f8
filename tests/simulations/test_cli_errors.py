"""A wrong command line ends in one message and its exit code, never in a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from blindmatch_protocol.contract import Party
from blindmatch_simulations import cli
from blindmatch_simulations.cli import app, exit_codes
from blindmatch_simulations.cli.app import run
from blindmatch_simulations.cli.assess import COLUMNS, COSTS
from blindmatch_simulations.cli.bars import bars, progress_bar
from blindmatch_simulations.cli.console import ERR, OUT, details, parts, say, table
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.deployment.processes import alone
from blindmatch_simulations.testbed.deployment.registry import all_designs
from rich.console import Console
from support.command import COMMAND, in_process, processes_of, refused


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


@pytest.mark.parametrize(
    ("missing", "words"),
    [("PIL.Image", "not installed: PIL; pip install pillow"), ("ray", "pip install ray")],
)
def test_a_package_that_is_not_installed_is_one_line(
    missing: str, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: object) -> None:
        raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.setattr(app, "app_for", fail)
    assert run(["design", "list"]) == exit_codes.BAD_STATE
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def test_a_file_that_cannot_be_put_in_place_is_named_by_its_own_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(arguments: object) -> None:
        raise OSError(21, "Is a directory", ".x.17", None, "x")

    monkeypatch.setattr(app, "app_for", fail)
    assert run(["design", "list"]) == exit_codes.BAD_STATE
    assert "error: x: Is a directory" in capsys.readouterr().err


def test_a_missing_deployment_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "inspect", "known", "--home", str(tmp_path)]) == exit_codes.BAD_STATE
    assert "blindmatch certs init" in capsys.readouterr().err


def test_help_and_version_end_right(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == exit_codes.OK
    assert capsys.readouterr().out.startswith("blindmatch ")
    assert run(["demo", "--help"]) == exit_codes.OK
    assert "[default: a temporary one]" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_server_is_not_started_twice_on_one_folder(home: Path) -> None:
    deployment = Deployment.open(home)
    deployment.port_file(Party.CENTRE).write_text("1234\n")
    with alone(deployment, Party.CENTRE):
        for command in ("centre", "all"):
            refused(in_process(home, "serve", command), exit_codes.BAD_STATE, "runs already; stop it first")
    assert deployment.port_file(Party.CENTRE).read_text() == "1234\n"
    with alone(deployment, Party.CENTRE), alone(deployment, Party.PROVIDER):
        pass


def test_ctrl_c_while_a_command_is_loaded_ends_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app, "app_for", interrupted)
    assert run(["demo"]) == exit_codes.INTERRUPTED
    monkeypatch.setattr(app, "main", interrupted)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == exit_codes.INTERRUPTED
    assert capsys.readouterr().err.split() == ["interrupted"] * 2


def test_the_list_of_commands_loads_none_of_them() -> None:
    script = "import sys; from blindmatch_simulations.cli.app import run; run([]); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.splitlines()[-1].split())
    assert "typer" in loaded
    assert not loaded & {"PIL", "doubleratchet", "grpc", "numpy", "blindmatch_server.curator"}


def test_a_list_that_is_missing_is_named_with_those_there_are(home: Path) -> None:
    said = "error: no list is called knwon (knwon.list); there are: known; blindmatch list import"
    for command in (["inspect", "knwon"], ["build", "knwon"], ["diff", "known", "knwon"]):
        refused(in_process(home, "list", *command), exit_codes.BAD_STATE, said)


def test_a_passphrase_that_nobody_can_type_is_asked_for_by_its_variable(home: Path) -> None:
    command = [*COMMAND, "device", "register", "carol", "--passphrase", "--home", str(home)]
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert ran.returncode == exit_codes.USAGE
    assert "$BLINDMATCH_PASSPHRASE" in ran.stderr


def test_an_unknown_design_is_refused_before_work_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", "--design", "missing"]) == exit_codes.REFUSED_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    # those that are installed: with `make classifier` one more
    assert f"there are {', '.join(sorted(all_designs())[:2])}, " in " ".join(captured.err.split())


def test_people_read_times_and_ids_as_such() -> None:
    console = Console(width=60)
    with console.capture() as shown:
        console.print(details("d", {"sent_at_ms": 1_500, "decided_at_ms": 0, "entry_id": 2004, "reason": ""}))
    cells = [[cell.strip() for cell in line.split("│")[1:3]] for line in shown.get().splitlines()[2:-1]]
    assert cells == [
        ["sent", "1970-01-01 00:00:01"],
        ["decided", "-"],
        ["entry id", "2004"],
        ["reason", "-"],
    ]


def test_columns_that_stay_whole_are_not_broken() -> None:
    console = Console(width=40)
    rows = [("provider-scan-with-a-long-name", "words " * 20)]
    with console.capture() as shown:
        console.print(table("t", ("design", "says"), rows, whole=("design",)))
    assert "provider-scan-with-a-long-name" in shown.get()
    assert {len(line) for line in shown.get().splitlines()[1:]} == {40}


def test_a_list_is_not_replaced_by_random_hashes_unasked(home: Path) -> None:
    before = (home / "curator/lists/known.list").read_bytes()
    assert in_process(home, "list", "random", 10, "known").code == exit_codes.USAGE
    assert (home / "curator/lists/known.list").read_bytes() == before
    assert in_process(home, "list", "random", 10, "known", "--replace").code == exit_codes.OK


@pytest.mark.parametrize(
    "arguments",
    [
        ["list", "import", "none.txt", "x"],
        ["list", "pictures", "none", "x"],
        ["report", "none"],
        ["population", "--results", "none"],
    ],
)
def test_a_missing_file_has_its_exit_code_and_leaves_no_empty_bar(arguments: list[str], home: Path) -> None:
    ran = in_process(home, *arguments)
    assert (ran.code, ran.out) == (exit_codes.BAD_STATE, "")
    assert "none" in ran.err


def on_terminal(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Run the command with a terminal at standard error; return exit code, output and what it got to show."""
    ours, theirs = os.openpty()
    line = [*COMMAND, *arguments]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=theirs, cwd=folder, env=environment
    ) as running:
        os.close(theirs)
        seen = bytearray()
        # the end of the other side is an error on Linux, and nothing to read elsewhere
        with suppress(OSError):
            while part := os.read(ours, 1 << 16):
                seen += part
        assert running.stdout is not None
        said = running.stdout.read().decode()
    os.close(ours)
    return running.returncode, said, seen.decode()


def test_an_error_leaves_no_bar_of_what_did_not_come_to_its_end(tmp_path: Path) -> None:
    code, _, seen = on_terminal(tmp_path, "design", "capacity", "oprf-psi", "--measure")
    assert code == exit_codes.USAGE
    assert "━" not in seen.rpartition("\x1b[2K")[2] and "0/?" not in seen.rpartition("\x1b[2K")[2]
    assert "declares no parts of a hash" in seen


def test_progress_goes_to_a_terminal_at_standard_error_and_the_result_alone_to_standard_output(
    tmp_path: Path,
) -> None:
    code, said, seen = on_terminal(tmp_path, "design", "capacity", "oprf-psi")
    assert code == exit_codes.OK
    assert "designs" in seen and "1/1" in seen
    assert said.startswith("oprf-psi: share of the list") and "━ 1/1" not in said
    ran = in_process(tmp_path, "design", "capacity", "oprf-psi")
    assert ran.err == "" and ran.out.startswith("oprf-psi: share of the list")


def test_progress_says_what_it_counts() -> None:
    console = Console(record=True, width=120, force_terminal=True)
    with progress_bar(console, "entries evaluated") as progress:
        progress(1500, 20_000)
    told = console.export_text()
    assert "entries evaluated" in told and "1500/20000" in told


def test_bars_are_drawn_again_and_again_on_a_terminal_alone() -> None:
    for terminal in (True, False):
        assert bars(Console(force_terminal=terminal)).live.auto_refresh is terminal


def test_the_table_of_an_assessment_breaks_no_word_and_no_number_on_80_columns() -> None:
    row = (
        "device-list-hashed",
        "0.7308",
        "0 (at most 0.285)",
        "not measured",
        "12",
        "52.52",
        "5,160",
        "873,352",
    )
    console = Console(record=True, width=80)
    console.print(*parts("quick workload, seed 1", COLUMNS, [row], COSTS))
    words = re.split(r"[\s│┃]+", console.export_text())
    assert {word for cell in (*COLUMNS, *row) for word in cell.split()} <= set(words)


def test_a_server_that_does_not_come_up_ends_all_and_this_start_s_log_says_why(home: Path) -> None:
    (home / "matcher" / "log.jsonl").write_text('{"event":"stopped","reason":"an old story"}\n')
    (home / "matcher" / "matcher.key").write_bytes(b"")
    ran = in_process(home, "serve", "all")
    assert ran.code == exit_codes.BAD_STATE
    said = " ".join(ran.err.split())
    assert said.startswith("error: matcher ended with exit code 4: ")
    assert not any(words in said for words in ("an old story", "{", "Traceback"))
    assert processes_of(home) == [] and "ready" not in ran.out


def test_a_command_that_there_is_not_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    ran = in_process(tmp_path, "designs")
    assert ran.code == exit_codes.USAGE and "Did you mean 'design'?" in ran.err


def test_the_table_of_designs_breaks_no_name(tmp_path: Path) -> None:
    parties = {str(party) for one in all_designs().values() for party in one.design.info.parties}
    assert {*parties, *all_designs()} <= set(re.split(r"[\s,│]+", in_process(tmp_path, "design", "list").out))


@pytest.mark.parametrize(
    "command", [("demo", "--design"), ("conformance",), ("assess", "--out", "out", "--designs")]
)
def test_a_design_s_file_that_is_missing_is_named_as_it_is_written(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    ran = in_process(tmp_path, *command, tmp_path / "lost.py:X")
    refused(ran, exit_codes.BAD_STATE, "lost.py: no such file")


def test_what_a_name_has_of_an_emoji_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (OUT, ERR):
        say("mine.py:X: and :smile:", console)
    assert "".join(capsys.readouterr()) == "mine.py:X: and :smile:\n" * 2
