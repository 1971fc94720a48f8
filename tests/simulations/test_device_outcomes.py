"""What a user is told of messages that waited: by `send`, `flush`, `run` and `status`, and after a crash."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client.store.vault import Vault
from blindmatch_protocol.contract import Party
from blindmatch_simulations.cli import device_outcomes
from blindmatch_simulations.cli.console import say
from blindmatch_simulations.cli.interrupts import deferred_interrupts
from blindmatch_simulations.testbed.deployment.devices import open_device
from blindmatch_simulations.testbed.deployment.folder import Deployment
from support.command import UNREACHABLE, Ran, environment, in_process
from support.forked_servers import serving


@pytest.fixture(scope="module")
def home(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A deployment with running servers, two listed pictures, and bob and carol."""
    made = tmp_path_factory.mktemp("outcomes") / "home"
    shutil.copytree(taught, made)
    with serving(made):
        for name in ("bob", "carol"):
            assert in_process(made, "device", "register", name).code == 0
        yield made


@pytest.fixture
def listed(samples: Path) -> list[Path]:
    return sorted((samples / "listed").iterdir())


@pytest.fixture
def other(samples: Path) -> Path:
    return sorted((samples / "other").iterdir())[0]


@contextmanager
def outage(home: Path, *parties: Party) -> Iterator[None]:
    """The time during which devices find nobody at the addresses of these servers."""
    files = [Deployment.open(home).port_file(party) for party in parties]
    before = [file.read_text() for file in files]
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # without a listener, and nobody else gets one there
        for file in files:
            file.write_text(f"{silent.getsockname()[1]}\n")
        try:
            yield
        finally:
            for file, text in zip(files, before, strict=True):
                file.write_text(text)


def device(home: Path, *arguments: object) -> Ran:
    return in_process(home, "device", *arguments)


def waiting(home: Path, name: str, consequence: str, to: str, *pictures: Path) -> list[dict[str, Any]]:
    """Register a device, and have it send pictures while the matcher is down; what `send` said of them."""
    assert device(home, "register", name, "--consequence", consequence).code == 0
    given = [word for path in pictures for word in ("--picture", path)]
    with outage(home, Party.MATCHER):
        sent = device(home, "send", name, to, *given, "--json", "-")
    assert sent.code == UNREACHABLE
    assert {(one["delivered"], one["outcome"]) for one in sent.json} == {(False, "to be matched")}
    rows: list[dict[str, Any]] = sent.json
    return rows


def flat(text: str) -> str:
    """The words of what was printed, whatever the width of the terminal."""
    return " ".join(text.split())


def test_a_picture_that_is_refused_after_an_outage_is_told_of_with_exit_code_7(
    home: Path, listed: list[Path]
) -> None:
    (sent,) = waiting(home, "refuser", "refuse", "bob", listed[0])
    flushed = device(home, "flush", "refuser")
    assert flushed.code == UNREACHABLE
    assert "The picture for bob was not sent: it matches an entry" in flat(flushed.out)
    assert sent["message_id"][:8] in flushed.out
    again = device(home, "flush", "refuser", "--json", "-")
    assert (again.code, again.json["outcomes"]) == (0, []), "it was shown"


def test_after_an_outage_a_warning_appears(home: Path, listed: list[Path]) -> None:
    waiting(home, "warned", "warn", "bob", listed[0])
    flushed = device(home, "flush", "warned")
    assert flushed.code == 0 and "The picture you sent to bob matches an entry" in flat(flushed.out)
    assert "set to warn you and to tell nobody else: it is not reported" in flat(flushed.out)


def test_after_an_outage_a_report_is_sent_with_its_notice(home: Path, listed: list[Path]) -> None:
    (sent,) = waiting(home, "reporter", "report", "bob", listed[0])
    flushed = device(home, "flush", "reporter", "--json", "-")
    (told,) = flushed.json["outcomes"]
    assert (flushed.code, told["to"], told["message_id"]) == (0, "bob", sent["message_id"])
    assert (told["delivered"], told["outcome"], told["reported"]) == (True, "match", True)
    assert "This device has reported it to the centre" in told["notice"]
    assert told["report_id"] in told["notice"]
    assert told["report_id"] in in_process(home, "centre", "list").out.replace("\n", "")
    assert "note: The picture you sent to bob matches an entry" in flat(flushed.err)


@pytest.mark.parametrize("command", ["flush", "run"])
def test_a_first_contact_after_an_outage_is_told_also_if_the_command_is_killed(
    home: Path, other: Path, command: str
) -> None:
    name = f"contact-{command}"
    waiting(home, name, "report", "bob", other)
    killed(home, command, name)
    told = device(home, command, name, *(("--seconds", 1) if command == "run" else ()))
    assert "note: First contact with bob." in flat(told.out)
    assert "First contact" not in device(home, "flush", name).out


def test_a_notice_says_that_a_report_waits_until_the_centre_has_it(home: Path, listed: list[Path]) -> None:
    waiting(home, "twice-down", "report", "bob", listed[0])
    with outage(home, Party.CENTRE):
        flushed = device(home, "flush", "twice-down", "--json", "-")
    (told,) = flushed.json["outcomes"]
    assert flushed.code == UNREACHABLE and flushed.json["waiting"] == 1
    assert (told["delivered"], told["reported"]) == (True, False)
    assert "as soon as the centre can be reached" in told["notice"]


def test_of_several_pictures_each_outcome_is_told(home: Path, listed: list[Path], other: Path) -> None:
    waiting(home, "album", "refuse", "bob", listed[0], other, listed[1])
    flushed = device(home, "flush", "album", "--json", "-")
    told = [(one["delivered"], one["outcome"], bool(one["notice"])) for one in flushed.json["outcomes"]]
    assert told == [(False, "match", True), (True, "no match", False), (False, "match", True)]
    assert flushed.code == UNREACHABLE and flushed.json["waiting"] == 0


def test_where_one_recipient_of_several_cannot_be_reached_each_is_told_of(
    home: Path, listed: list[Path]
) -> None:
    waiting(home, "grouped", "report", "bob,nobody,carol", listed[0])
    flushed = device(home, "flush", "grouped", "--json", "-")
    told = {one["to"]: one for one in flushed.json["outcomes"]}
    assert flushed.code == UNREACHABLE and flushed.json["waiting"] == 0
    assert {to: one["delivered"] for to, one in told.items()} == {"bob": True, "nobody": False, "carol": True}
    assert (
        "The message to nobody was not delivered: the relay refused (NOT_FOUND)" in told["nobody"]["notice"]
    )
    assert told["nobody"]["report_id"] is None and told["bob"]["report_id"] == told["carol"]["report_id"]


def test_a_text_that_waited_is_told_of_once_it_left(home: Path) -> None:
    assert device(home, "register", "writer").code == 0
    with outage(home, Party.PROVIDER):
        assert device(home, "send", "writer", "bob", "--text", "hi").code == UNREACHABLE
        held = device(home, "flush", "writer", "--json", "-")
        assert held.code == UNREACHABLE and "waits on this device" in held.json["outcomes"][0]["notice"]
    flushed = device(home, "flush", "writer", "--json", "-")
    assert flushed.code == 0
    assert [(one["delivered"], one["outcome"]) for one in flushed.json["outcomes"]] == [(True, "no picture")]


def test_what_send_has_shown_is_not_shown_again(home: Path, listed: list[Path]) -> None:
    assert device(home, "register", "shown", "--consequence", "refuse").code == 0
    refused = device(home, "send", "shown", "bob", "--picture", listed[0])
    assert refused.code == UNREACHABLE and "was not sent" in flat(refused.out)
    unknown = device(home, "send", "shown", "nobody", "--text", "hi", "--json", "-")
    assert unknown.code == UNREACHABLE and unknown.err.splitlines()[-1].startswith("error: the relay refused")
    assert [(one["to"], one["delivered"]) for one in unknown.json] == [("nobody", False)]
    flushed = device(home, "flush", "shown", "--json", "-")
    assert (flushed.code, flushed.json["outcomes"]) == (0, [])


KILLED_WHEN_IT_SHOWS = """
import os, signal, sys
from blindmatch_simulations.cli import commands, device_outcomes
from blindmatch_simulations.cli.app import main
def die(*given):
    os.kill(os.getpid(), signal.SIGKILL)
commands._show = device_outcomes.say = die
sys.argv[1:] = ["device", *sys.argv[1:]]
main()
"""


def killed(home: Path, *arguments: object) -> None:
    """Run a command of a device, which is killed when it is about to show what it found."""
    words = [sys.executable, "-c", KILLED_WHEN_IT_SHOWS, *map(str, arguments)]
    done = subprocess.run(words, env=environment(home), capture_output=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b""), done.stderr


@pytest.mark.parametrize("consequence", ["refuse", "warn", "report"])
@pytest.mark.parametrize("command", ["flush", "run"])
def test_a_command_that_is_killed_before_it_shows_an_outcome_leaves_it_to_the_next(
    home: Path, listed: list[Path], consequence: str, command: str
) -> None:
    name = f"killed-{command}-{consequence}"
    waiting(home, name, consequence, "bob", listed[0])
    killed(home, command, name)
    told = device(home, "status", name, "--json", "-").json["outcomes"]
    assert [one["outcome"] for one in told] == ["match"]
    flushed = device(home, "flush", name, "--json", "-")
    assert flushed.json["messages"] == 0 and flushed.json["outcomes"] == told
    assert flushed.code == (UNREACHABLE if consequence == "refuse" else 0)
    words = {"refuse": "was not sent", "warn": "to warn you", "report": "has reported it to the centre"}
    assert words[consequence] in told[0]["notice"]
    assert device(home, "flush", name, "--json", "-").json["outcomes"] == []


def test_a_send_that_is_killed_before_it_shows_an_outcome_leaves_it_to_flush(
    home: Path, listed: list[Path]
) -> None:
    assert device(home, "register", "killed-send", "--consequence", "refuse").code == 0
    killed(home, "send", "killed-send", "bob", "--picture", listed[0])
    said = device(home, "send", "killed-send", "bob", "--text", "hi")
    assert said.code == 0 and "What came of 1 earlier message was not shown yet" in flat(said.out)
    flushed = device(home, "flush", "killed-send", "--json", "-")
    (told,) = flushed.json["outcomes"]
    assert flushed.code == UNREACHABLE and "was not sent" in told["notice"]


def test_a_message_that_fails_is_kept_too_where_send_is_killed_before_it_says_so(home: Path) -> None:
    assert device(home, "register", "killed-failing").code == 0
    killed(home, "send", "killed-failing", "nobody", "--text", "hi")
    flushed = device(home, "flush", "killed-failing", "--json", "-")
    (told,) = flushed.json["outcomes"]
    assert flushed.code == UNREACHABLE and "The message to nobody was not delivered" in told["notice"]


def test_an_outcome_that_could_not_be_written_is_shown_again(home: Path, listed: list[Path]) -> None:
    waiting(home, "full", "refuse", "bob", listed[0])
    words = [sys.executable, "-m", "blindmatch_simulations", "device", "flush", "full", "--json", "-"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            words, env=environment(home), stdout=full, stderr=subprocess.PIPE, timeout=600, check=False
        )
    assert done.returncode not in (0, UNREACHABLE), "what was found could not be written"
    flushed = device(home, "flush", "full", "--json", "-")
    assert [one["outcome"] for one in flushed.json["outcomes"]] == ["match"]


def test_run_prints_what_comes_of_messages_and_does_not_repeat_it(home: Path, listed: list[Path]) -> None:
    waiting(home, "runner", "refuse", "bob", listed[0])
    ran = device(home, "run", "runner", "--seconds", 1)
    assert ran.code == 0
    assert "to: bob" in flat(ran.out) and "delivered: no, outcome: match" in flat(ran.out)
    assert "note: The picture for bob was not sent" in flat(ran.out)
    again = device(home, "run", "runner", "--seconds", 1, "--json", "-")
    assert again.json["outcomes"] == [] and "was not sent" not in again.out + again.err


def test_a_run_that_writes_json_tells_it_at_its_end_and_keeps_it_until_then(
    home: Path, listed: list[Path]
) -> None:
    waiting(home, "json-runner", "warn", "bob", listed[0])
    ran = device(home, "run", "json-runner", "--seconds", 1, "--json", "-")
    assert [one["outcome"] for one in ran.json["outcomes"]] == ["match"]
    assert "to warn you" in flat(ran.err)
    assert device(home, "flush", "json-runner", "--json", "-").json["outcomes"] == []


def test_a_run_that_is_interrupted_has_shown_each_outcome_or_leaves_it(
    home: Path, listed: list[Path]
) -> None:
    waiting(home, "interrupted", "refuse", "bob", listed[0])
    words = [sys.executable, "-m", "blindmatch_simulations", "device", "run", "interrupted"]
    words += ["--seconds", "120"]  # where nothing is printed
    unbuffered = {**environment(home), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(words, env=unbuffered, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        first = running.stdout.readline()
        os.kill(running.pid, signal.SIGINT)
        # not `communicate`, which with a limit reads past what `readline` has read ahead
        rest = running.stdout.read()
    assert running.returncode == 0 and "outcome: match" in first and "was not sent" in rest
    flushed = device(home, "flush", "interrupted", "--json", "-")
    assert (flushed.code, flushed.json["outcomes"]) == (0, [])


def test_an_interrupt_while_the_store_is_at_work_ends_a_run_that_has_shown_everything(
    home: Path, listed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a function that SQLite calls, an exception fails the statement, as if the disk had failed."""
    waiting(home, "busy", "refuse", "bob", listed[0])
    unseal = Vault.unseal
    has_printed = list[str]()
    interrupted = list[str]()

    def unsealing(vault: Vault, value: bytes | None, place: str, row: Any) -> Any:
        if has_printed and not interrupted:
            interrupted.append(place)
            os.kill(os.getpid(), signal.SIGINT)
        return unseal(vault, value, place, row)

    def printing(line: Any, *more: Any) -> None:
        say(line, *more)
        has_printed.append(str(line))

    monkeypatch.setattr(Vault, "unseal", unsealing)
    monkeypatch.setattr(device_outcomes, "say", printing)
    ran = device(home, "run", "busy", "--seconds", 120)
    assert len(interrupted) == 1
    assert ran.code == 0 and "outcome: match" in flat(ran.out), ran.err
    assert flat(ran.out).count("The picture for bob was not sent") == 1
    flushed = device(home, "flush", "busy", "--json", "-")
    assert (flushed.code, flushed.json["outcomes"]) == (0, [])


def test_a_second_interrupt_ends_a_run_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupts() as is_interrupted:
        assert not is_interrupted()
        os.kill(os.getpid(), signal.SIGINT)
        assert is_interrupted()
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_status_shows_an_outcome_and_leaves_it(home: Path, listed: list[Path]) -> None:
    waiting(home, "looked-at", "refuse", "bob", listed[0])
    killed(home, "flush", "looked-at")
    for _ in range(2):
        shown = device(home, "status", "looked-at")
        assert shown.code == 0 and "The picture for bob was not sent" in flat(shown.out)


def test_a_message_that_cannot_be_opened_is_shown_with_its_problem(home: Path) -> None:
    """Eve's device was put back from a copy of an earlier day."""
    for name in ("dave", "eve"):
        assert device(home, "register", name).code == 0
    state = Deployment.open(home).device("eve")
    assert device(home, "send", "dave", "eve", "--text", "first").code == 0
    assert device(home, "inbox", "eve").code == 0
    shutil.copytree(state, home / "copy-of-eve")
    for _ in range(2):  # the ratchet moves on
        assert device(home, "send", "eve", "dave", "--text", "hello").code == 0
        assert device(home, "inbox", "dave").code == 0
        assert device(home, "send", "dave", "eve", "--text", "hello").code == 0
        assert device(home, "inbox", "eve").code == 0
    shutil.rmtree(state)
    (home / "copy-of-eve").rename(state)
    assert device(home, "send", "dave", "eve", "--text", "lost").code == 0
    came = device(home, "inbox", "eve", "--json", "-").json
    assert [(one["text"], bool(one["problem"])) for one in came] == [("first", False), ("-", True)]
    assert came[-1]["problem"].startswith("not authentic: altered, misdirected or of another session")
    assert came[-1]["problem"].endswith("its sender was asked to send it again")
    shown = flat(device(home, "inbox", "eve").out)
    assert "problem" in shown and "authentic" in shown


MONTHS_MS = 60 * 24 * 60 * 60 * 1000


def pass_months(home: Path) -> None:
    """Age what waits at the relay; its next start deletes it."""
    with closing(sqlite3.connect(home / "relay" / "state" / "relay.sqlite")) as database, database:
        database.execute("UPDATE messages SET accepted_at_ms = accepted_at_ms - ?", (MONTHS_MS,))
        database.execute("UPDATE blobs SET stored_at_ms = stored_at_ms - ?", (MONTHS_MS,))


def pass_an_hour(home: Path, name: str) -> None:
    """Have a device forget when it last asked what expired."""
    with closing(open_device(Deployment.open(home), name).device) as opened:
        opened._base.store.forget("expired")


def test_a_message_that_nobody_fetched_in_time_is_told_to_its_sender(
    taught: Path, tmp_path: Path, other: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(taught, home)
    with serving(home):
        for name in ("sender", "absent", "present"):
            assert device(home, "register", name).code == 0
        sent = device(home, "send", "sender", "absent,present", "--picture", other, "--json", "-")
        assert [(one["to"], one["delivered"]) for one in sent.json] == [("absent", True), ("present", True)]
        assert [one["pictures"] for one in device(home, "inbox", "present", "--json", "-").json] == [1]
    pass_months(home)
    pass_an_hour(home, "sender")
    with serving(home):
        assert device(home, "inbox", "absent", "--json", "-").json == []
        killed(home, "flush", "sender")
        status = device(home, "status", "sender", "--json", "-").json["outcomes"]
        flushed = device(home, "flush", "sender", "--json", "-")
        assert flushed.code == UNREACHABLE and flushed.json["outcomes"] == status
        (told,) = status
        assert (told["to"], told["delivered"]) == ("absent", False)
        assert told["outcome"] == "not delivered: expired"
        assert told["message_id"] == sent.json[0]["message_id"]
        assert "absent did not fetch it in the time" in told["notice"]
        pass_an_hour(home, "sender")
        again = device(home, "flush", "sender", "--json", "-")
        assert (again.code, again.json["outcomes"]) == (UNREACHABLE, status), "it forgot how far it had asked"
