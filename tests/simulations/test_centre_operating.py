"""What people at the centre do, over the command: decide, notify, answer complaints, publish statistics."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.account_name import NOTICE_BYTES
from blindmatch_simulations.testbed.deployment.folder import DeploymentError
from blindmatch_simulations.testbed.deployment.statistics import Mailbox
from support.command import BAD_STATE, REFUSED, UNREACHABLE, Ran, in_process, refused
from support.forked_servers import serving

from .test_by_hand import done


@pytest.fixture(scope="module")
def home(prepared: Path, samples: Path) -> Iterator[Path]:
    """A deployment whose servers run, with two reports of Alice at the centre."""
    listed = sorted((samples / "listed").iterdir())[0]
    with serving(prepared):
        for name in ("alice", "bob"):
            done(in_process(prepared, "device", "register", name))
        done(in_process(prepared, "device", "send", "alice", "bob", "--picture", listed, "--picture", listed))
        yield prepared


def centre(home: Path, *arguments: object) -> Ran:
    return in_process(home, "centre", *arguments)


def rows(home: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done(centre(home, "list", "--json", "-")).json
    return found


def test_a_day_at_the_centre(home: Path) -> None:
    first, second = (row["report"] for row in rows(home))
    assert {(row["state"], row["outcome"]) for row in rows(home)} == {("checked", "passed")}
    _illegal(home, first)
    done(centre(home, "confirm", first, "--reason", "it is what it says"))
    _forwarded(home, first)
    moved = done(centre(home, "unfound", second, "--reason", "a holiday picture", "--json", "-")).json
    assert (moved["state"], moved["outcome"], moved["decision"]) == ("unfounded", "passed", "unfounded")
    _told(home, second, "unfounded")
    _complained(home, first)
    _told(home, first, "reversed")
    journal = done(centre(home, "show", first, "--json", "-")).json["journal"]
    assert [entry["event"] for entry in journal] == [
        "received",
        "passed",
        "decided",
        "exported",
        "exported",
        "to police-x",
        "acknowledged",
        "decided",
        "removal refused",
        "complaint",
        "complaint upheld",
        "reversed",
        "notice sent",
    ]
    _published(home, first)
    _withdrawn(home)
    _reported(home)


def _forwarded(home: Path, report: str) -> None:
    """Into a simulated mailbox, acknowledged; removal asked of the provider, and refused."""
    to = ("--authority", "police-x")
    box = ("mailbox", "police-x", "--json", "-")
    assert centre(home, "acknowledge", report, *to, "--reference", "17").code == 4, "nothing is there yet"
    _cut_off(home, report, to)
    done(centre(home, "forward", report, "--reason", "urgent", *to))
    assert done(centre(home, *box)).json == [{"report": report, "acknowledged": False, "simulated": True}]
    folder = home / "authorities/police-x/inbox"
    told = json.loads((folder / f"{report}.json").read_text())
    assert told["simulated"] is True and told["report"]["personOrUserReported"]["espIdentifier"] == "alice"
    out = home / "evidence.bin"
    done(centre(home, *box, "--open", report, "--out", out))
    keys = ("--curator", home / "curator/keys/curator.pub", "--stamp-key", home / "relay/stamp.key")
    found = done(in_process(home, "report", "verify", out, *keys, "--json", "-")).json["shown"]
    verdicts = {name: one["verdict"] for name, one in found.items()}
    assert verdicts == {"content": "passed", "taken": "passed", "match": "passed"} | dict.fromkeys(
        ("sender", "endorsed", "logged"), "not shown"
    )
    (home / "binary").write_bytes(b"\xff\xfe")
    verify = ("report", "verify")
    refused(in_process(home, *verify, out, "--log-policy", home / "binary"), 6, "tlog-policy")
    refused(in_process(home, *verify, home / "binary"), 4, "binary is no evidence of a report")
    assert _waiting(home) == [("acknowledgement", 0)]
    done(centre(home, "acknowledge", report, *to, "--reference", "17"))
    assert centre(home, "acknowledge", report, *to, "--reference", "18").code == 7, "once"
    done(centre(home, "ask-removal", report, "--reason", "take it down"))
    assert _waiting(home) == [("removal", 0)]
    done(centre(home, "removal", report, "refused", "--reason", "the relay cannot see what it stores"))
    assert _waiting(home) == []
    sealed = folder / f"{report}.sealed"
    whole = sealed.read_bytes()
    sealed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "altered" in centre(home, *box, "--open", report, "--out", out).err


def _cut_off(home: Path, report: str, to: tuple[str, str]) -> None:
    """What ends between mailbox and decision leaves a line that says what left, and for whom."""

    def put(self: Mailbox, *arguments: Any) -> Path:
        real(self, *arguments)
        raise DeploymentError("cut off")

    real = Mailbox.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Mailbox, "put", put)
        assert centre(home, "forward", report, "--reason", "urgent", *to).code == BAD_STATE
    found = done(centre(home, "show", report, "--json", "-")).json
    last = found["journal"][-1]
    assert (found["state"], last["event"], last["reason"]) == ("confirmed", "exported", "to police-x: urgent")


def _waiting(home: Path) -> list[tuple[str, int]]:
    found = done(centre(home, "pending", "--json", "-")).json
    return [(one["waits_for"], one["days"]) for one in found]


def _withdrawn(home: Path) -> None:
    """An upheld complaint's entry leaves the list by the commands there are for lists."""
    out = home / "withdrawn.json"
    (held,) = done(centre(home, "withdrawals", "--out", out, "--json", "-")).json
    before = done(in_process(home, "list", "inspect", "known", "--json", "-")).json["entries"]
    done(in_process(home, "list", "import", out, "known", "--onto", "known"))
    after = done(in_process(home, "list", "inspect", "known", "--json", "-")).json["entries"]
    assert (held["epoch"], after) == (1, before - 1)


def _reported(home: Path) -> None:
    """Counts by month: in figures and rows, with nothing about anybody."""
    year = datetime.now(UTC).year
    out = home / "transparency"
    done(centre(home, "report", year, "--out", out))
    found = json.loads((out / "report.json").read_text())
    assert sum(month["now"]["reports"] for month in found["months"]) == 2
    assert all(month["logged"] is None and month["changed"] == {} for month in found["months"])
    csv_rows = list(csv.DictReader(io.StringIO((out / "report.csv").read_text())))
    assert sum(int(row["now"]) for row in csv_rows if row["count"] == "forwarded") == 1
    assert not any("alice" in path.read_text() for path in out.iterdir())
    assert centre(home, "report", year, "--out", out, "--log").code == 6, "there is no log here"


def _illegal(home: Path, report: str) -> None:
    ran = centre(home, "close", report, "--reason", "tired")
    assert ran.code == 7
    assert "a report that is checked cannot become closed" in ran.err
    assert centre(home, "close", report[:-1], "--reason", "x").code == 6


sizes: dict[Path, int] = {}


def _told(home: Path, report: str, kind: str) -> None:
    (sent,) = done(centre(home, "notify", "--json", "-")).json
    assert (sent["account"], sent["kind"], sent["problem"]) == ("alice", kind, "")
    assert done(centre(home, "notify", "--json", "-")).json == []
    # what the relay has of it is declared: `notice_time`
    with closing(sqlite3.connect(home / "relay" / "state" / "relay.sqlite")) as db:
        queued = db.execute(
            "SELECT sender, recipient, length(sealed) FROM messages WHERE recipient = 'alice'"
        ).fetchall()
    ((sender, recipient, size),) = queued
    assert (sender, recipient) == ("centre-notices", "alice") and NOTICE_BYTES < size < NOTICE_BYTES + 1024
    assert sizes.setdefault(home, size) == size, "whatever was decided, and why"
    inbox = done(in_process(home, "device", "inbox", "alice", "--json", "-")).json
    assert inbox[-1]["sender"] == "centre-notices" and inbox[-1]["from_centre"]
    assert inbox[-1]["text"] == inbox[-1]["text"].strip()
    assert "centre-notices (the centre)" in in_process(home, "device", "inbox", "alice").out.replace(
        "\n", " "
    )
    assert report in inbox[-1]["text"]


def _complained(home: Path, report: str) -> None:
    made = done(complained(home, report, "not so")).json
    assert (made["report"], made["stage"], made["answer"]) == (report, "at the centre", "")
    assert done(complained(home, report, "not so")).json == made
    (held,) = done(centre(home, "complaint", "list", "--json", "-")).json
    assert (held["complaint"], held["account"], held["text"]) == (made["complaint"], "alice", "not so")
    upheld = centre(home, "complaint", "uphold", held["complaint"], "--reason", "looked again")
    assert "upheld" in done(upheld).out
    again = centre(home, "complaint", "reject", held["complaint"], "--reason", "no")
    assert (again.code, "upheld already" in again.err) == (7, True)
    assert done(complained(home, report, "not so")).json["answer"] == "upheld: looked again"
    status = done(in_process(home, "device", "status", "alice", "--json", "-")).json
    assert [one["stage"] for one in (*status["reports"], *status["complaints"])] == ["at the centre"] * 3


def complained(home: Path, report: str, text: str, name: str = "alice") -> Ran:
    return in_process(home, "device", "complain", name, report, "--text", text, "--json", "-")


def _published(home: Path, report: str) -> None:
    ran = done(centre(home, "statistics", "--scanned", 1000, "--json", "-"))
    figures = {one["figure"]: one["value"] for one in ran.json["figures"]}
    by_letter = {name[0]: value for name, value in figures.items() if name[1] == ":"}
    assert by_letter == {"A": 2, "B": 2, "C": 2}
    assert figures["false matches per item scanned"] == 0.002
    assert figures["accounts removed or suspended"] == "not measured"
    assert "understates error" in ran.json["caution"]
    assert "caution: B/A" in ran.err
    assert "do not show that a recipient" in ran.json["not_shown"]
    assert "not shown: recipients" in ran.err
    assert "law: Regulation (EU) 2021/1232 lapsed on 3 April 2026" in " ".join(ran.err.split())
    assert "check the Official Journal" in ran.json["law"]
    assert "accounts named as recipient of at least one" in figures
    for secret in ("alice", "bob", "operator", "local", report):
        assert secret not in ran.out


def test_complaints_that_cannot_be_taken_are_refused_in_words_and_shown(home: Path) -> None:
    for report, text, rule in (("zz", "no", "32 hex digits"), ("00" * 16, " ", "1 to 2000 characters")):
        refused(complained(home, report, text, "bob"), REFUSED, rule)
    refused(complained(home, "00" * 16, "never heard", "bob"), UNREACHABLE, "no such report")
    status = done(in_process(home, "device", "status", "bob", "--json", "-")).json
    assert [(one["stage"], "no such report" in one["answer"]) for one in status["complaints"]] == [
        ("refused", True)
    ]
    assert f"│ {'00' * 16} │" in in_process(home, "device", "status", "bob").out
    _, second = (row["report"] for row in rows(home))
    ran = centre(home, "complaint", "file", second, "--account", "bob", "--text", "by letter", "--json", "-")
    assert done(ran).json["account"] == "bob"


def test_statistics_of_a_time_before_the_first_report_measure_nothing(home: Path) -> None:
    ran = done(centre(home, "statistics", "--until", "2001-01-01", "--json", "-"))
    figures = {one["figure"]: one["value"] for one in ran.json["figures"]}
    assert figures["B/A: false-discovery proportion of all flagged"] == "not measured"
    assert figures["receipt to decision, average"] == "not measured"
    assert figures["reports"] == 0
