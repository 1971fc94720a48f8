"""What the page claims: facts by name, figures with what they stand on, and nothing that a design denies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from blindmatch_client.facts import device_facts
from blindmatch_client.failure import FAILURE_FACTS
from blindmatch_simulations.assess import judging, severity, store
from blindmatch_simulations.assess.observed import Check, Declared, FactSeen, KeyUse
from blindmatch_simulations.assess.results import Design, Measured
from blindmatch_simulations.deployment.registry import built_in_designs
from blindmatch_simulations.measure.advantage import resolution
from blindmatch_simulations.report.calculating import inputs
from blindmatch_simulations.report.markup import number
from blindmatch_simulations.report.page import report
from msgspec.structs import replace
from support.assess_page import outline, results_folder, view
from support.assess_rows import EDITS, observed, row


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return results_folder(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text("utf-8")


LISTS = Check(
    "list games", "", "passed", "semi-honest device: no distinguisher in this suite exceeded 0.285",
    {"known_to": {}, "semi-honest device": {"interval": [-0.04, 0.285], "held_out_runs": 256}}, 1.0,
)  # fmt: skip


def drawn(folder: Path, checks: tuple[Check, ...], why: str = "") -> str:
    """The report of one design with these checks."""
    results = store.check(folder)
    return report(folder, replace(results, designs=(Design(measured=row(observed(), checks, why)),)))


def declaring(*leaks: tuple[str, str, str], **changes: Any) -> Measured:
    """A design that declares a fact to a party, by (party, adversary, name)."""
    declared = tuple(
        Declared((who,), adversary, "design", (FactSeen(name, f"that is {name}"),))
        for who, adversary, name in leaks
    )
    seen = observed()
    return row(replace(seen, design=replace(seen.design, declared=declared, **changes)))


def test_facts_are_named_most_severe_first_and_not_counted(folder: Path) -> None:
    honest = "semi-honest"
    leaks = [("matcher", honest, name) for name in ("query_time", "query_count", "every_hash", "my.own")]
    one = declaring(*leaks, learns=("device", "server"))
    assert [fact.name for fact in severity.told_to_servers(one.design)] == [
        "my.own", "every_hash", "outcome", "query_count", "query_time",
    ]  # fmt: skip
    page = report(folder, replace(store.check(folder), designs=(Design(measured=one),)))
    matrix = view(page, "matrix")
    assert "my.own, every_hash, outcome, query_count, query_time" in matrix
    assert "my.own (undeclared severity)" in matrix
    assert "facts</span>" not in matrix and not re.search(r"\d+ facts", matrix)
    scan = declaring(("provider", honest, "query_time"), ("provider", honest, "content"))
    assert severity.told_to_servers(scan.design)[0].name == "content", "two facts may be worse than four"


def test_what_only_a_device_learns_stands_last_if_its_severity_is_undeclared() -> None:
    facts = [FactSeen("my.own", ""), FactSeen("set_size", ""), FactSeen("any_hash", "")]
    assert [fact.name for fact in severity.by_severity(facts, device=True)] == [
        "any_hash",
        "set_size",
        "my.own",
    ]


def test_every_fact_that_this_program_declares_has_a_severity() -> None:
    names = {fact.name for one in built_in_designs() for leak in one.design.leakage() for fact in leak.facts}
    messenger = [
        *device_facts().values(),
        *(facts for mode in FAILURE_FACTS.values() for facts in mode.values()),
    ]
    names |= {fact.name for facts in messenger for fact in facts}
    assert {name for name in names if severity.kind_of(name) == severity.UNDECLARED} == set()
    assert severity.kind_of("my.content") == severity.UNDECLARED, "a plug-in's own, whatever it is called"


def secrecy(folder: Path, one: Measured) -> str:
    page = report(folder, replace(store.check(folder), designs=(Design(measured=one),)))
    return view(page, "secrecy").partition("Set-up bytes a device")[0]


def test_what_is_said_of_a_list_is_what_the_design_declares(folder: Path) -> None:
    """Neither English words nor names of parameters make a fact, and none is denied that is declared."""
    parameters = {"k": 24, "bands": 10, "probes": 16, "account_evaluations": 1600, "all_evaluations": 3200}
    plain = declaring(("matcher", "semi-honest", "query_time"), parameters=parameters)
    assert "none declared" in secrecy(folder, plain)
    assert "evaluations" not in secrecy(folder, plain)
    assert "all accounts together have no limit" in secrecy(folder, plain)
    own = secrecy(
        folder, declaring(("matcher", "malicious", "my.catalogue"), ("device", "semi-honest", "list"))
    )
    assert "that is my.catalogue" in own and "that is list" in own
    assert "none declared" not in own and "not secret" not in own
    worded = declaring(("matcher", "semi-honest", "query_time"))
    words = tuple(
        replace(d, facts=(FactSeen("query_time", "when the list is asked"),)) for d in worded.design.declared
    )
    assert "when the list is asked" not in secrecy(
        folder, replace(worded, design=replace(worded.design, declared=words))
    )
    limited = replace(plain, key=KeyUse(160, 1 << 20, 1 << 24))
    assert "6\u202f553 pictures an account under one key, 104\u202f857 all accounts together" in secrecy(
        folder, limited
    )


def test_the_calculators_fields_have_the_bounds_of_its_inputs(page: str) -> None:
    fields = {attrs["id"]: attrs for tag, attrs in outline(page).seen if tag == "input"}
    for one in inputs():
        field = fields[f"in-{one.ident}"]
        assert (float(field["min"] or ""), float(field["max"] or "")) == (one.least, one.most)
        assert "required" in field and field["step"] == "any"
    assert float(fields["items"]["min"] or "") == float(fields["rate"]["min"] or "") == 0


def test_the_resolution_of_a_game_stands_beside_its_bound(folder: Path) -> None:
    game = Check("games", "", "passed", "", {"m": {"interval": [-0.3, 0.4135], "held_out_runs": 48}}, 1.0)
    page = drawn(folder, (game,))
    assert f"({number(resolution(48))} by guessing, 48 runs)" in view(page, "matrix")
    assert f"at most 0.413 (99 % interval; 48 runs, {resolution(48):.3f} by guessing)" in view(page, "learns")


def test_a_design_without_matches_has_no_intervals_on_the_page(folder: Path) -> None:
    seen = observed()
    none = replace(seen.design, distance=None, roles={}, declared=())
    rows = tuple(replace(one, matched=False) for one in seen.pictures)
    one = row(replace(seen, design=none, pictures=rows, harness=()), (LISTS,), "")
    page = report(folder, replace(store.check(folder), designs=(Design(measured=one),)))
    assert "Found: nothing to measure: the design matches nothing." in view(page, "summary")
    assert view(page, "recall").count("nothing to measure</span>") == len(EDITS) + len(judging.DISTANCES)
    assert "<figure>" not in view(page, "recall")
    assert "nothing to measure: the design matches nothing" in view(page, "secrecy")


def test_an_audit_that_compared_nothing_has_no_undeclared_bytes_and_tests_nobody(folder: Path) -> None:
    blind = replace(observed().audit, comparable=False)
    page = report(
        folder,
        replace(store.check(folder), designs=(Design(measured=row(replace(observed(), audit=blind))),)),
    )
    assert "Undeclared, in an audit of 2 sessions: not measured" in view(page, "summary")
    assert "tested</span>" not in view(page, "learns").partition("The messenger, whatever")[0]
    assert view(page, "learns").count(judging.NOT_COMPARABLE) == 1


def test_the_filter_of_the_crops_stands_beside_recall(page: str) -> None:
    for name in ("summary", "matrix", "recall"):
        assert "60 bits apart" in " ".join(view(page, name).split()), name
