"""The demo is judged by the design's own relation and the recall it declares."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_client.settings import Consequence
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import AnyDesign, Near
from blindmatch_protocol.designs import hash_upload, none, oprf_psi, provider_scan, token_psi
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.picture.pdq import rows
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_simulations.cli.demo import listed_words, matches_words
from blindmatch_simulations.testbed.audit import Audit, Counterpart, Undeclared
from blindmatch_simulations.testbed.audit.audit import audit_sessions
from blindmatch_simulations.testbed.demo.run import CRASHED, failures, listed_sent
from blindmatch_simulations.testbed.demo.workload import TEXTS
from blindmatch_simulations.testbed.inprocess.crashes import Crash
from blindmatch_simulations.testbed.inprocess.deployed import drawn_binding, opened, publish, run_session
from blindmatch_simulations.testbed.pictures.crops import crops
from dummy_designs import VOUCHERS
from msgspec.structs import replace
from planted.mutations.hooks import PaddedPsi, variant
from support.command import in_process
from support.documents import demo_in_the_readme

MATCHING = 11
HalfSent = variant(PaddedPsi, padding=lambda _, about, rng: about.item.hash[:16])
"""Sends half of the hash, undeclared."""


def demo_run(design: AnyDesign, matches: int, reports: int | None = None, wrong: int = 0) -> Any:
    """A run in which nothing else went wrong."""
    rows = [pb.ReportRow(state="received", checks="passed")] * (matches if reports is None else reports)
    return SimpleNamespace(
        design=design,
        workload=SimpleNamespace(sendings=[]),
        sent=[],
        pictures=[],
        received=[SimpleNamespace(text=text) for text in TEXTS],
        answered=True,
        oracle=[True] * MATCHING + [False] * 18,
        matches=matches,
        wrong=wrong,
        reports=rows,
        vouchers=[],
        opened_below=None,
        audits={},
        consequence=Consequence.REPORT,
        submitters=("north", "south", "west"),
        endorsers=("north", "south"),
        logged=0,
        witnesses=("w1", "w2"),
    )


def refusing(found: OutcomeKind, delivered: bool) -> Any:
    """A run of devices that refuse, which sent two pictures: one of no match, and one with this outcome."""
    run = demo_run(oprf_psi.DESIGN, 1, 0)
    run.consequence = Consequence.REFUSE
    run.oracle = [True, False]
    run.sent = [
        SimpleNamespace(outcome=found, delivered=delivered),
        SimpleNamespace(outcome=OutcomeKind.NO_MATCH, delivered=True),
    ]
    run.workload.sendings = [SimpleNamespace(data=b"listed"), SimpleNamespace(data=b"other")]
    run.pictures = [b"listed", b"other"] if delivered else [b"other"]
    return run


@pytest.mark.parametrize("found", [OutcomeKind.MATCH, OutcomeKind.FLAG])
def test_a_device_that_refuses_is_right_if_it_sends_all_but_what_matches(found: OutcomeKind) -> None:
    assert failures(refusing(found, delivered=False)) == []
    assert failures(refusing(found, delivered=True)) == ["a message was held back, or sent and not to be"]
    (words,) = failures(refusing(OutcomeKind.UNCONFIRMED, delivered=False))[1:]
    assert words == "a message was held back, or sent and not to be"


def test_a_near_design_may_miss_what_its_recall_allows_and_says_so() -> None:
    for matches in (MATCHING, MATCHING - 1):
        assert failures(demo_run(token_psi.DESIGN, matches)) == []
    words = matches_words(demo_run(token_psi.DESIGN, MATCHING - 1))
    assert words == "10 matches, 11 expected, 1 missed at a declared recall of 98.9%"


def listed_run(design: AnyDesign, matches: int, hidden: tuple[str, ...]) -> Any:
    """A run that sent twelve listed pictures, of which these edits hide some, and four others."""
    run = demo_run(design, matches)
    edits = ["identical"] * (12 - len(hidden)) + list(hidden)
    run.workload.sendings = [SimpleNamespace(edit=edit, listed=True) for edit in edits]
    run.workload.sendings += [SimpleNamespace(edit="identical", listed=False)] * 4
    run.oracle = [True] * (12 - len(hidden)) + [False] * (len(hidden) + 4)
    run.sent = [SimpleNamespace(outcome=OutcomeKind.NO_MATCH)] * 16
    return run


def test_listed_pictures_that_an_edit_hides_are_counted_as_missed_and_the_edit_is_named() -> None:
    said = listed_words(listed_run(token_psi.DESIGN, 11, ("caption",)))
    assert said == "12 listed sent, 11 found, 1 missed: a caption hides it"
    said = listed_words(listed_run(token_psi.DESIGN, 10, ("caption",)))
    assert said == "12 listed sent, 10 found, 2 missed: a caption hides 1, the design misses 1"
    said = listed_words(listed_run(oprf_psi.DESIGN, 8, ("caption", "caption", "brighter", "flip")))
    assert said.endswith("8 found, 4 missed: brightening hides 1, a caption hides 2, the edit flip hides 1")
    assert listed_words(listed_run(token_psi.DESIGN, 12, ())) == "12 listed sent, 12 found, 0 missed"
    said = listed_words(listed_run(none.DESIGN, 0, ("caption",) * 12))
    assert said == "12 listed sent, 0 found, 12 missed: the design looks for none"


@pytest.mark.parametrize("outcome", [OutcomeKind.DUE, OutcomeKind.SKIPPED])
def test_pictures_that_were_never_asked_about_are_counted_apart_and_hidden_by_nothing(
    outcome: OutcomeKind,
) -> None:
    unasked = SimpleNamespace(outcome=outcome)
    run = listed_run(oprf_psi.DESIGN, 0, ("caption", "caption"))
    run.sent = [unasked] * 16
    said = listed_words(run)
    assert said == (
        "12 listed sent, 0 found, 12 missed: 12 of them never asked about, since their matching failed"
    )
    assert listed_sent(run).hidden_by == {} and listed_sent(run).unasked == 12
    run = listed_run(oprf_psi.DESIGN, 8, ("caption", "caption"))
    run.sent = [*run.sent[:11], unasked, *run.sent[12:]]
    said = listed_words(run)
    assert said == (
        "12 listed sent, 8 found, 4 missed: a caption hides 1, 1 of them never asked about, since their "
        "matching failed, the design misses 2"
    )


def test_a_crash_is_the_first_thing_that_is_wrong() -> None:
    run = demo_run(oprf_psi.DESIGN, MATCHING - 1, 0)
    run.answered = False
    crash = Crash("start", "KeyError")
    run.audits = {"alice": SimpleNamespace(undeclared_bytes=0, findings=(), crashes=(crash,))}
    assert failures(run)[0] == CRASHED and len(failures(run)) == 4


def test_the_demo_says_how_many_listed_pictures_it_missed_and_what_hid_them(tmp_path: Path) -> None:
    ran = in_process(tmp_path, "demo", "--set-size", "300", "--json", tmp_path / "demo.json")
    made = json.loads((tmp_path / "demo.json").read_bytes())
    rows = [row for row in made["pictures"] if row["listed"]]
    missed = [row["edit"] for row in rows if row["outcome"] != "match"]
    assert (len(rows), missed) == (12, ["caption"]) and made["expected_matches"] == 11
    assert made["listed"] == {"sent": 12, "found": 11, "missed": 1, "hidden_by": {"caption": 1}, "unasked": 0}
    assert "12 listed sent, 11 found, 1 missed: a caption hides it" in ran.out
    assert "every match and nothing else" not in ran.out
    printed = iter(ran.out.splitlines())
    missing = [line for line in demo_in_the_readme() if line not in printed]
    assert missing == [], "the README shows lines that the demo prints, in its order"


def test_misses_that_its_recall_does_not_explain_make_the_demo_wrong() -> None:
    (words,) = failures(demo_run(token_psi.DESIGN, MATCHING - 3))
    assert words == "3 of 11 matches missed; declared recall 98.9%"


def test_an_exact_design_misses_nothing() -> None:
    (words,) = failures(demo_run(oprf_psi.DESIGN, MATCHING - 1))
    assert words == "1 of 11 matches missed; declared recall 100.0%"


@pytest.mark.parametrize("design", [oprf_psi.DESIGN, token_psi.DESIGN], ids=lambda one: one.info.name)
def test_a_match_that_is_none_and_a_report_that_is_missing_make_the_demo_wrong(design: AnyDesign) -> None:
    assert "1 matches are none" in failures(demo_run(design, MATCHING + 1))[0]
    assert "1 matches are none" in failures(demo_run(design, MATCHING, wrong=1))[0]
    (words,) = failures(demo_run(design, MATCHING, MATCHING - 1))
    assert words == "10 reports verified, 11 expected"


def test_a_relation_declares_full_recall_unless_it_says_less() -> None:
    assert Near(31).recall == oprf_psi.DESIGN.info.relation.recall == 1
    assert replace(Near(31), recall=0.5) != Near(31)


def test_a_list_that_one_organisation_endorsed_is_wrong_and_one_that_none_had_to_is_not() -> None:
    run = demo_run(oprf_psi.DESIGN, MATCHING)
    run.endorsers = ("north",)
    assert failures(run) == ["the list was endorsed by fewer than it was to be"]
    run.submitters = run.endorsers = ()
    assert failures(run) == []


def test_an_epoch_that_a_witness_did_not_cosign_is_wrong_and_one_without_a_log_is_not() -> None:
    run = demo_run(oprf_psi.DESIGN, MATCHING)
    run.witnesses = ("w1",)
    assert failures(run) == ["the epoch was logged, and not cosigned by every witness"]
    run.logged = None
    run.witnesses = ()
    assert failures(run) == []


@pytest.mark.parametrize(
    ("design", "end"),
    [
        (oprf_psi.DESIGN, Undeclared.NONE),
        (hash_upload.DESIGN, Undeclared.NONE),
        (VOUCHERS, Undeclared.NONE),
        (provider_scan.DESIGN, Undeclared.NOT_COMPARABLE),
        (HalfSent(), Undeclared.FOUND),
    ],
    ids=lambda one: one.info.name if hasattr(one, "info") else str(one),
)
def test_sessions_in_one_process_are_audited(design: AnyDesign, end: Undeclared) -> None:
    listed = rows([one.hash for one in crops(2, 9)])
    opened_design = opened(publish(design, listed, seeded("bundled")))
    counterpart = Counterpart.of(opened_design, seeded("audit"))
    rng = seeded("asked")
    items = [Picture.from_bytes(one.data) for one in crops(12, 3)]
    sessions = {}
    for number, item in enumerate(items):
        binding = drawn_binding(design, rng)
        sessions[number] = item, run_session(opened_design, item, rng, binding=binding), binding
    counterpart = replace(counterpart, enrolments=opened_design.held)
    findings, comparisons = audit_sessions(counterpart, sessions, items)
    assert Audit(tuple(findings), comparisons=tuple(comparisons)).undeclared is end
