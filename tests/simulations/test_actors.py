"""By actor: what attack rows say of who can do what beyond end-to-end encryption without detection."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_simulations.data import committed
from blindmatch_simulations.evaluation.assess.results import ATTACKS as ATTACKS_FILE
from blindmatch_simulations.evaluation.assess.results import check_folder
from blindmatch_simulations.evaluation.attacks.adversary import Actor, Left, Means
from blindmatch_simulations.evaluation.attacks.arena import Arena, Attack, Pair
from blindmatch_simulations.evaluation.attacks.figure import Budget
from blindmatch_simulations.evaluation.attacks.figure import Figure as Achieved
from blindmatch_simulations.evaluation.attacks.metadata import PREVENTED
from blindmatch_simulations.evaluation.attacks.run import (
    NOTHING_PLAYED,
    AttackRow,
    NotPlayed,
    Ran,
    Trace,
    by_actor,
    results_of,
    run_attack,
    trace_of,
)
from blindmatch_simulations.evaluation.attacks.table import ATTACKS, pairs
from blindmatch_simulations.measure.results import encode, sealed
from blindmatch_simulations.testbed.deployment.registry import all_designs, load_design
from defusedxml.ElementTree import fromstring
from msgspec import UNSET
from msgspec.structs import replace
from support.assess_page import results_folder
from support.command import in_process
from support.drawn import drawn

DESIGNS = [one.design for one in all_designs().values()]


def ran(attack: Attack, design: str, succeeded: bool) -> Ran:
    return Ran(attack, design, Achieved("pictures", float(succeeded), succeeded, 4), Budget(queries=3))


def rows(**succeeded: bool) -> Sequence[AttackRow | NotPlayed]:
    """Of every attack and design, each as it is claimed, but for those that are named."""
    every = pairs(DESIGNS)
    played = [
        ran(
            one.attack,
            one.design.info.name,
            succeeded.get(one.attack.name.replace("-", "_"), not one.attack.claimed),
        )
        for one in every
        if not one.unplayed
    ]
    return results_of(played, unplayed=[one for one in every if one.unplayed]).rows


def cell(found: Sequence[AttackRow | NotPlayed], actor: Actor, design: str) -> set[str]:
    """What is newly exposed; or that it is nothing, or not played."""
    return {words[1] for words, designs in by_actor(found).items() if words[0] == actor and design in designs}


def exposes(*names: str) -> set[str]:
    return {ATTACKS[name].exposes for name in names}


@pytest.mark.parametrize(
    ("parties", "conduct", "stolen", "actors"),
    [
        ({bm.Party.DEVICE}, bm.Adversary.MALICIOUS, False, {Actor.USER}),
        ({bm.Party.DEVICE}, bm.Adversary.SEMI_HONEST, True, {Actor.THIEF}),
        ({bm.Party.PROVIDER}, bm.Adversary.MALICIOUS, False, {Actor.GOVERNMENT, Actor.PROVIDER}),
        ({bm.Party.CENTRE}, bm.Adversary.SEMI_HONEST, False, {Actor.GOVERNMENT, Actor.CENTRE}),
        (
            {bm.Party.CURATOR},
            bm.Adversary.MALICIOUS,
            False,
            {Actor.GOVERNMENT, Actor.LIST_OWNER, Actor.FOREIGN},
        ),
        ({bm.Party.MATCHER}, bm.Adversary.SEMI_HONEST, False, {Actor.GOVERNMENT, Actor.FOREIGN}),
    ],
)
def test_who_acts_follows_from_whom_an_attack_holds(
    parties: set[bm.Party], conduct: bm.Adversary, stolen: bool, actors: set[Actor]
) -> None:
    assert set(Means(frozenset(parties), conduct, "", stolen).actors) == actors


def test_every_attack_says_what_it_exposes_and_every_actor_has_one() -> None:
    assert all(one.exposes for one in ATTACKS.values())
    assert {actor for one in ATTACKS.values() for actor in one.means.actors} == set(Actor)


@pytest.mark.parametrize("left", [one for one in Left if one.proof], ids=lambda one: one.name)
def test_what_verifies_a_file_is_a_command(left: Left, tmp_path: Path) -> None:
    assert left.proof is not None
    program, *words = left.proof.command.split()
    assert program == "blindmatch" and in_process(tmp_path, *words, "--help").code == 0


def test_what_nobody_notices_leaves_no_file() -> None:
    assert Left.NOTHING.proof is None
    assert {one.left for one in ATTACKS.values()} == set(Left), "one that no attack leaves is none"


def test_only_what_a_messenger_without_detection_lacks_is_new() -> None:
    beyond = {name for name, one in ATTACKS.items() if trace_of(one).beyond_e2ee}
    assert {"dual-purpose", "guessing", "unmatched", "rebuilt-collisions"} <= beyond
    assert not beyond & {"first-contact", "ghost-recipient", "substituted-key", "recorded-messages"}
    assert {word for actor in Actor for word in cell(rows(), actor, "none")} <= {NOTHING_PLAYED, "not played"}
    assert cell(rows(), Actor.PROVIDER, "none") == {NOTHING_PLAYED}, (
        "first-contact: played elsewhere, the same here"
    )


def test_a_cell_has_what_succeeded_and_nothing_else() -> None:
    assert cell(rows(), Actor.LIST_OWNER, "oprf-psi") == exposes("dual-purpose")
    changed = rows(withholding=True, dual_purpose=False)
    assert cell(changed, Actor.LIST_OWNER, "oprf-psi") == exposes("withholding")


def test_a_cell_without_a_row_is_not_played() -> None:
    made = results_of([ran(ATTACKS["guessing"], "oprf-psi", True)]).rows
    assert cell(made, Actor.THIEF, "oprf-psi") == exposes("guessing")
    assert cell(made, Actor.USER, "oprf-psi") == {"not played"}
    old = [replace(one, trace=UNSET) if isinstance(one, AttackRow) else one for one in made]
    assert cell(old, Actor.THIEF, "oprf-psi") == {"not played"}, "a file of before says nothing"


def test_the_command_says_by_actor_what_was_played_and_what_was_not(tmp_path: Path) -> None:
    made = in_process(tmp_path, "attack", "run", "guessing", "--design", "oprf-psi", "--json", "-")
    trace = made.json["rows"][0]["trace"]
    assert trace["actors"] == [Actor.GOVERNMENT, Actor.THIEF, Actor.FOREIGN]
    assert trace["beyond_e2ee"] is True and trace["proof"] is None and trace["notices"] == "nobody"
    words = " ".join(made.err.split())
    assert "By actor" in words and "not played" in words
    planted = in_process(tmp_path, "attack", "run", "one-share", "--weakened", "--json", "-")
    assert planted.code == 0 and "By actor" not in planted.err, "a planted weakness is nobody's"


def drawn_table(folder: Path) -> dict[str, list[tuple[str, set[str]]]]:
    """By actor: what its lines in the page's fold say, and of which designs."""
    (fold,) = (one for one in drawn(folder, check_folder(folder)).tree().iter() if one.get("id") == "actors")
    made: dict[str, list[tuple[str, set[str]]]] = {}
    for row in fold.iter("tr"):
        held = [" ".join("".join(one.itertext()).split()) for one in row if one.get("role") != "columnheader"]
        if len(held) == 1:
            at = made.setdefault(held[0], [])
        elif held:
            at.append((held[0].split(" (")[0], set(held[1].split(", "))))
    return made


CALLED: dict[str, str] = committed("plain")["called"]
HOLDERS = {
    "matcher, third party": {"matcher", "third_party", "party_a", "party_b"},
    "vendor": {"vendor"},
}
"""Who acts besides: by whom an attack holds."""


@pytest.mark.parametrize("changed", [{}, {"withholding": True, "dual_purpose": False, "unmatched": False}])
def test_the_page_has_the_cells_that_the_command_has(changed: dict[str, bool], tmp_path: Path) -> None:
    folder = results_folder(tmp_path)
    found = rows(**changed)
    (folder / ATTACKS_FILE).write_bytes(encode(sealed(replace(results_of([]), rows=tuple(found)))))
    page = drawn_table(folder)
    assert list(page) == [CALLED.get(actor, actor) for actor in Actor] + list(HOLDERS), "by one name each"
    for holder, parties in HOLDERS.items():
        held = [one for one in found if isinstance(one, AttackRow) and parties & {*one.adversary.parties}]
        traces = [one.trace for one in held if one.succeeded and one.trace]
        said = {words for words, _ in page[holder]} - {NOTHING_PLAYED, "not played"}
        assert held and said == {one.exposes for one in traces if one.beyond_e2ee}
    for actor in Actor:
        shown: dict[str, set[str]] = {}
        for words, designs in page[CALLED.get(actor, actor)]:
            shown.setdefault(words, set()).update(designs)
        wanted: dict[str, set[str]] = {}
        for said, designs in by_actor(found).items():
            if said[0] == actor:
                wanted.setdefault(said[1], set()).update(designs)
        assert shown == wanted, actor


def test_the_page_counts_what_each_actor_newly_gets_and_who_notices(tmp_path: Path) -> None:
    folder = results_folder(tmp_path)
    assert "who acts" not in drawn(folder, check_folder(folder)).words("abuse"), "no attacks were played"
    lacking = Pair(ATTACKS["framing"], SimpleNamespace(info=SimpleNamespace(name="quoted")), "needs a <list>")
    played = [ran(ATTACKS[name], "quoted", True) for name in ("dual-purpose", "poisoned-list", "guessing")]
    (folder / ATTACKS_FILE).write_bytes(encode(results_of(played, unplayed=[lacking])))
    made = drawn(folder, check_folder(folder))
    words = made.words("abuse")
    assert re.search("curator2 .1., e.g. who [^0-9]*2: people who look at a report2", words), "in one design"
    assert re.search("thief of a key1 .1.: .*?00", words)
    assert "centrenot played" in words
    assert "blindmatch report verify" in made.words("actors")
    beyond = [trace_of(ATTACKS[name]) for name in ("dual-purpose", "poisoned-list", "guessing")]
    unseen, bare = (sum(map(wanted, beyond)) for wanted in (_unnoticed, _without_file))
    sheet = " ".join("".join(fromstring(made.sheet).itertext()).split())
    said = f"3 played attacks exposed more than 0b: {unseen} nobody could notice, {bare} leave no"
    held = "leave a report's evidence, held by whoever gets it from the centre."
    assert f"{said} file; {3 - bare} {held}" in sheet
    by_actor = "government order 3 (2; 1); provider not played; curator 2 (2; 1); centre not played"
    assert f"by actors, who overlap: {by_actor}; thief" in sheet
    assert "; matcher, third party 1 (0; 1); vendor not played. " in sheet, "guessing needs a matcher's key"
    assert "list owner" not in sheet + words and "servers, if they" not in made.main
    assert "its sender" in trace_of(ATTACKS["forced-report"]).notices, "as the design declares"


def _unnoticed(one: Trace) -> bool:
    return one.notices == Left.NOTHING.notices


def _without_file(one: Trace) -> bool:
    return one.proof is None


def prevented(name: str, design: str = "oprf-psi") -> dict[str, float]:
    arena = Arena(load_design(design), thorough=False)
    return dict(run_attack(ATTACKS[name], arena).figure.parts)


@pytest.mark.parametrize("design", ["oprf-psi", "device-list"])
def test_a_device_that_warns_tells_its_sender_and_nobody_else(design: str) -> None:
    assert prevented("warned", design) == {
        "listed pictures told by other calls": 0,
        "listed pictures of which the sender is told": PREVENTED,
        "listed pictures that arrive": PREVENTED,
        "other pictures that arrive": PREVENTED,
        "reports at the centre": 0,
    }


def test_a_device_that_refuses_tells_by_the_missing_message() -> None:
    found = prevented("refused")
    assert found["listed pictures told by other calls"] == PREVENTED
    assert found["listed pictures that arrive"] == found["reports at the centre"] == 0
    assert found["other pictures that arrive"] == PREVENTED


def test_a_device_that_reports_all_the_same_is_found_out() -> None:
    figure = run_attack(ATTACKS["warned"], Arena(load_design("oprf-psi"), thorough=False), True).figure
    assert figure.succeeded and figure.parts["reports at the centre"] == PREVENTED


def test_prevention_stands_on_the_page_with_what_it_does_not_say(tmp_path: Path) -> None:
    folder = results_folder(tmp_path)
    rans = [
        run_attack(ATTACKS[name], Arena(load_design("oprf-psi"), thorough=False))
        for name in ("warned", "refused")
    ]
    (folder / ATTACKS_FILE).write_bytes(encode(results_of(rans)))
    words = drawn(folder, check_folder(folder)).words("prevention")
    assert "warn: oprf-psitold of 4 of 4 listed pictures4 of 4 listed, 4 of 4 others0 reports0 of 4" in words
    assert "0 of 4 listed, 4 of 4 others0 reports4 of 4 matches, since no message follows the query" in words
    assert "Recall and false matches are those of the design" in words and "Times are not looked at" in words
