"""The walk of docs/tutorials/by-hand.md, command by command, each of them once a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from blindmatch_server.epochs.published import open_publication
from support.command import COMMAND, Ran, blindmatch, environment, in_process, processes_of, refused
from support.forked_servers import serving as forked_serving

OTHERS = ("centre", "relay")
SERVERS = ("centre", "matcher", "relay")


@contextmanager
def serving(home: Path) -> Iterator[list[str]]:
    """`serve all`, stopped with Ctrl-C; the lines it printed until it was ready."""
    command = [*COMMAND, "serve", "all"]
    # as a shell starts what runs in its background: Ctrl-C ends it all the same
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        started = subprocess.Popen(command, env=environment(home), stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with started as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("ready"):
                break
        try:
            yield lines
        finally:
            process.send_signal(signal.SIGINT)
            left = process.communicate(timeout=240)[0]
    assert process.returncode == 0
    assert "Traceback" not in left
    assert processes_of(home) == []


def done(ran: Ran) -> Ran:
    """A command that must have gone well."""
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    return ran


@pytest.fixture
def home(tmp_path: Path, taught: Path) -> Path:
    """A deployment with everything up to the servers' start; nothing in it depends on where it lies."""
    shutil.copytree(taught, tmp_path / "home")
    return tmp_path / "home"


def prepared(home: Path) -> Path:
    """Such a deployment, made by commands that are each a process of its own; the pictures."""
    samples = home.with_name("pictures")
    done(blindmatch(home, "samples", samples, "--count", 4))
    done(blindmatch(home, "certs", "init"))
    done(blindmatch(home, "list", "random", 50, "known"))
    listed = done(blindmatch(home, "list", "pictures", samples / "listed", "known", "--json", "-")).json
    assert (listed["list"], listed["added"], listed["entries"]) == ("known", 2, 52)
    built = done(blindmatch(home, "list", "build", "known", "--json", "-")).json
    assert (built["design"], built["epoch"], built["entries"]) == ("oprf-psi", 1, 52)
    taught = done(blindmatch(home, "centre", "learn", "known", "--pictures", samples / "listed"))
    assert "a second hash of 2 of them" in taught.out
    return samples


@pytest.mark.slow
def test_the_walk_by_hand_works(tmp_path: Path) -> None:
    home = tmp_path / "home"
    samples = prepared(home)
    with serving(home) as lines:
        assert [line.split()[0] for line in lines] == [*SERVERS, "ready;"]
        for name, ran in (("alice", blindmatch), ("bob", in_process)):
            registered = done(ran(home, "device", "register", name, "--json", "-")).json
            assert registered == {
                "account": name,
                "design": "oprf-psi",
                "epoch": 1,
                "mode": "hold",
                "consequence": "report",
            }
        report = sent_by_alice(home, samples)
        read_by_bob(home, samples, home.with_name("saved"))
        compared_by_both(home)
        seen_at_the_centre(home, report)
    late = in_process(home, "centre", "list")
    assert late.code == 7
    assert late.err.startswith("error: the centre ")


def sent_by_alice(home: Path, samples: Path) -> str:
    """Alice sends a text, a listed and two other pictures; the id of her report."""
    ran = done(in_process(home, "device", "send", "alice", "bob", "--text", "hello", "--json", "-"))
    assert [(one["delivered"], one["outcome"]) for one in ran.json] == [(True, "no picture")]
    assert "note: First contact with bob." in ran.err
    listed = sorted((samples / "listed").iterdir())[0]
    others = sorted((samples / "other").iterdir())
    pictures = [word for path in (listed, *others) for word in ("--picture", path)]
    ran = done(blindmatch(home, "device", "send", "alice", "bob", *pictures, "--json", "-"))
    assert [one["outcome"] for one in ran.json] == ["match", "no match", "no match"]
    assert [one["reported"] for one in ran.json] == [True, False, False]
    assert "note: " in ran.err
    flushed = done(blindmatch(home, "device", "flush", "alice", "--json", "-")).json
    assert flushed == {"messages": 0, "waiting": 0, "problems": [], "outcomes": []}
    return str(ran.json[0]["report_id"])


def read_by_bob(home: Path, samples: Path, save: Path) -> None:
    inbox = done(blindmatch(home, "device", "inbox", "bob", "--wait", 1, "--save", save, "--json", "-")).json
    assert [(one["sender"], one["text"], one["pictures"]) for one in inbox] == [
        ("alice", "hello", 0),
        *[("alice", "-", 1)] * 3,
    ]
    listed = sorted((samples / "listed").iterdir())[0]
    sent = [listed, *sorted((samples / "other").iterdir())]
    saved = sorted(save.iterdir())
    assert [path.read_bytes() for path in saved] == [path.read_bytes() for path in sent]


def compared_by_both(home: Path) -> None:
    """Both see one number; with it the key is trusted, and with another one nothing happens."""

    def seen(name: str, peer: str) -> dict[str, Any]:
        (one,) = done(in_process(home, "device", "fingerprint", name, peer, "--json", "-")).json
        return dict(one)

    hers = seen("alice", "bob")
    his = seen("bob", "alice")
    assert hers["number"] == his["number"] and not hers["verified"]
    other = hers["number"][:-1] + str((int(hers["number"][-1]) + 1) % 10)
    refused(in_process(home, "device", "trust", "alice", "bob", "--number", other), 6, "Nothing was changed")
    spaced = " ".join(his["number"][at : at + 5] for at in range(0, 60, 5))
    assert done(
        in_process(home, "device", "trust", "alice", "bob", "--number", spaced, "--json", "-")
    ).json == {
        **hers,
        "verified": True,
    }
    shown = done(in_process(home, "device", "fingerprint", "alice")).out
    assert "centre-notices" in shown and "not compared" not in shown


def seen_at_the_centre(home: Path, report: str) -> None:
    rows = done(blindmatch(home, "centre", "list", "--json", "-")).json
    assert [(row["report"], row["reporter"]) for row in rows] == [(report, "alice")]
    shown = done(blindmatch(home, "centre", "show", report, "--json", "-")).json
    assert "that the recipient received the message" in shown["not_shown"]
    assert (shown["sender"], shown["recipient"], shown["media_type"]) == ("alice", "bob", "image/png")
    assert any("second" in check for check in shown["checks"])
    unknown = in_process(home, "centre", "show", "00" * 16)
    assert unknown.code == 7
    assert "NOT_FOUND" in unknown.err


def test_a_registration_without_servers_can_be_repeated(home: Path) -> None:
    early = in_process(home, "device", "register", "alice")
    assert (early.code, early.err.splitlines()) == (
        7,
        ["error: the matcher cannot be reached: it is not running; start it and try again"],
    )
    with forked_serving(home):
        done(in_process(home, "device", "register", "alice"))
        again = done(in_process(home, "device", "register", "alice", "--json", "-")).json
        assert again["epoch"] == 1
        held = done(in_process(home, "device", "status", "alice", "--json", "-")).json
        signed = open_publication(home / "curator/published/oprf-psi").signed.manifest
        assert (held["adopted"]["epoch"], held["adopted"]["manifest"]) == (1, signed.digest.hex())
        assert (held["adopted"]["fault"], held["evidence"], held["distrust"]) == (None, [], None)
        other = in_process(home, "device", "register", "alice", "--mode", "send_unmatched")
        assert other.code == 4
        assert "exists, with design oprf-psi and mode hold" in other.err


def test_a_server_that_is_killed_is_named_and_all_go_on_with_what_they_had(home: Path, samples: Path) -> None:
    """The others run on until they are stopped; when all are started again, nothing is lost."""
    command = [*COMMAND, "serve", "all"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    listed = sorted((samples / "listed").iterdir())[0]
    with subprocess.Popen(command, env=environment(home), **pipes) as process:  # type: ignore[call-overload]
        next(line for line in process.stdout if line.startswith("ready"))
        done(in_process(home, "device", "register", "alice"))
        (matcher,) = processes_of(home / "matcher")
        os.kill(matcher, signal.SIGKILL)
        said = process.stderr.readline()
        assert "matcher was killed by SIGKILL; the others run on; to start it again: blindmatch " in said
        again = said.split("again: blindmatch ")[1].split()
        log = home / "again.jsonl"
        done(in_process(home, "centre", "list"))
        with subprocess.Popen([*COMMAND, *again, "--log", log], env=environment(home)) as more:
            while not (log.exists() and '"serving"' in log.read_text()):
                time.sleep(0.05)
            done(in_process(home, "device", "register", "bob"))
            done(in_process(home, "device", "send", "alice", "bob", "--picture", listed))
            more.send_signal(signal.SIGTERM)
            assert more.wait(timeout=60) == 0
        process.send_signal(signal.SIGTERM)
        left = process.communicate(timeout=60)
    assert (process.returncode, left[1]) == (7, "error: matcher was killed by SIGKILL\n")
    assert processes_of(home) == []
    assert all("drained" in path.read_text() for path in (log, *(home / one / "log.jsonl" for one in OTHERS)))
    with forked_serving(home):
        inbox = done(in_process(home, "device", "inbox", "bob", "--json", "-")).json
        assert [one["pictures"] for one in inbox] == [1]
        assert len(done(in_process(home, "centre", "list", "--json", "-")).json) == 1
