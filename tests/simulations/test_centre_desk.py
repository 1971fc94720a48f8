"""What people at the centre do, over the command: decide, notify, answer complaints, publish statistics."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command import REFUSED, UNREACHABLE, Ran, in_process, refused

from .test_by_hand import done, prepared, samples, serving

__all__ = ["prepared", "samples"]


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
    done(centre(home, "forward", first, "--reason", "urgent", "--authority", "police of X"))
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
        "to police of X",
        "complaint",
        "complaint upheld",
        "reversed",
        "notice sent",
    ]
    _published(home, first)


def _illegal(home: Path, report: str) -> None:
    ran = centre(home, "close", report, "--reason", "tired")
    assert ran.code == 7
    assert "a report that is checked cannot become closed" in ran.err
    assert centre(home, "close", report[:-1], "--reason", "x").code == 6


def _told(home: Path, report: str, kind: str) -> None:
    (sent,) = done(centre(home, "notify", "--json", "-")).json
    assert (sent["account"], sent["kind"], sent["problem"]) == ("alice", kind, "")
    assert done(centre(home, "notify", "--json", "-")).json == []
    inbox = done(in_process(home, "device", "inbox", "alice", "--json", "-")).json
    assert inbox[-1]["sender"] == "centre-notices"
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
    assert "accounts named as recipient of at least one" in figures
    table = list(csv.reader(io.StringIO(done(centre(home, "statistics", "--csv", "-")).out)))
    assert table[0] == ["figure", "value", "unit"]
    values = {name: value for name, value, _ in table}
    assert values["false matches per item scanned"] == "not measured"
    assert "B/C" in values["caution"]
    assert values["not_shown"] == ran.json["not_shown"]
    for secret in ("alice", "bob", "operator", "local", report):
        assert secret not in ran.out + str(table)


def test_complaints_that_cannot_be_taken_are_refused_in_words_and_shown(home: Path) -> None:
    for report, text, rule in (("zz", "no", "32 hex digits"), ("00" * 16, " ", "1 to 2000 characters")):
        refused(complained(home, report, text, "bob"), REFUSED, rule)
    refused(complained(home, "00" * 16, "never heard", "bob"), UNREACHABLE, "no such report")
    status = done(in_process(home, "device", "status", "bob", "--json", "-")).json
    assert [(one["stage"], "no such report" in one["answer"]) for one in status["complaints"]] == [
        ("refused", True)
    ]
    _, second = (row["report"] for row in rows(home))
    ran = centre(home, "complaint", "file", second, "--account", "bob", "--text", "by letter", "--json", "-")
    assert done(ran).json["account"] == "bob"


def test_statistics_of_a_time_before_the_first_report_measure_nothing(home: Path) -> None:
    ran = done(centre(home, "statistics", "--until", "2001-01-01", "--json", "-"))
    figures = {one["figure"]: one["value"] for one in ran.json["figures"]}
    assert figures["B/A: false-discovery proportion of all flagged"] == "not measured"
    assert figures["receipt to decision, average"] == "not measured"
    assert figures["reports"] == 0
