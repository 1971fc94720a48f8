"""Who can do what has one answer: on the sheet, by actor, among attacks and in the questions on rights."""

from __future__ import annotations

import shutil

import pytest
from blindmatch_simulations.evaluation.assess.results import ATTACKS as ATTACKS_FILE
from blindmatch_simulations.evaluation.assess.results import check_folder
from blindmatch_simulations.evaluation.attacks.adversary import Actor
from blindmatch_simulations.evaluation.attacks.figure import Budget
from blindmatch_simulations.evaluation.attacks.figure import Figure as Achieved
from blindmatch_simulations.evaluation.attacks.run import NOTHING_PLAYED, Ran, results_of
from blindmatch_simulations.evaluation.attacks.table import ATTACKS
from blindmatch_simulations.measure.results import encode
from defusedxml.ElementTree import fromstring
from support.drawn import Drawn, drawn
from support.sample_page import SAMPLE, part_of, words_of

PLAYED = {
    "unmeasured-code": ("enclave",),
    "broken-attestation": ("enclave",),
    "forced-report": ("hash-upload", "partial-hash"),
    "rebuilt-picture": ("hash-upload", "partial-hash", "third-party"),
    "joined-logs": ("oprf-psi", "split-psi"),
    "tried-edits": ("device-classifier",),
    "guessing": ("oprf-psi",),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """The sample's designs with attacks that succeeded."""
    folder = tmp_path_factory.mktemp("actors") / "sample"
    shutil.copytree(SAMPLE, folder)
    succeeded = [
        Ran(ATTACKS[name], design, Achieved("pictures", 1.0, True, 4), Budget(queries=3))
        for name, designs in PLAYED.items()
        for design in designs
    ]
    withstood = Ran(
        ATTACKS["withholding"], "oprf-psi", Achieved("pictures", 0.0, False, 4), Budget(queries=3)
    )
    (folder / ATTACKS_FILE).write_bytes(encode(results_of([*succeeded, withstood])))
    return drawn(folder, check_folder(folder))


def _sheet_cells(made: Drawn, head: str) -> list[str]:
    """Words of the cells of the sheet's row of an option."""
    rows = [one for one in fromstring(made.sheet).iter("tr") if one.find("td") is not None]
    return next([words_of(one) for one in row] for row in rows if head in words_of(row[0]))


def _line(made: Drawn, ident: str, head: str) -> str:
    """The line of a part's tables that begins with `head`."""
    rows = part_of(made, ident).iter("tr")
    return next(words_of(row) for row in rows if len(row) and words_of(row[0]).startswith(head))


def test_whoever_looks_at_every_picture_of_an_imitated_enclave_is_named_alike(made: Drawn) -> None:
    worst = " ".join(_sheet_cells(made, "Secure enclave"))
    assert "provider with vendor looks at every picture" in worst
    assert "here provider alone, played" in worst
    rights = _line(made, "rights", "Confidentiality")
    assert "provider with vendor, in a played attack" in rights
    assert "provider alone, in an attack played on this imitation" in rights
    imitated = _line(made, "actors", "every picture, in this imitation of an enclave")
    assert "with what provider holds: the host's files" in imitated


def test_a_forced_report_is_the_matchers_wherever_it_is_told(made: Drawn) -> None:
    assert "matcher has any picture reported (its sender)" in " ".join(_sheet_cells(made, "hash sent"))
    assert "centre with matcher has any picture" not in made.sheet + made.main
    assert _line(made, "topics", "Forced reports").startswith(
        "Forced reportsmatcher has any picture reported"
    )
    assert "centre, where matcher has a picture reported" in _line(made, "rights", "Confidentiality")
    exposed = _line(made, "actors", "any picture that the matcher has devices report")
    assert "with what matcher holds" in exposed


def test_coarse_copies_of_what_is_sent_are_named_among_who_reads_pictures(made: Drawn) -> None:
    rights = _line(made, "rights", "Confidentiality")
    assert "third party, as a coarse copy, in a played attack" in rights
    assert "matcher, as a coarse copy, in a played attack" in rights


def test_an_attack_is_by_the_parties_that_its_design_has(made: Drawn) -> None:
    heads = _line(made, "attacks", "logs joined")
    assert "matcher with provider; or party A with party B with provider:" in heads
    assert "party A with party B with provider" in made.opened("attack.joined-logs.split-psi")


def test_an_actor_gets_nothing_more_in_attacks_that_were_played_alone(made: Drawn) -> None:
    part = part_of(made, "actors")
    firsts = [words_of(row[0]) for row in part.iter("tr") if len(row)]
    assert NOTHING_PLAYED in firsts and "nothing more" not in firsts
    assert "what is declared besides" in words_of(part)


def test_a_user_who_tries_edits_on_a_model_is_counted_among_users(made: Drawn) -> None:
    assert Actor.USER in ATTACKS["tried-edits"].means.actors
    assert Actor.USER in ATTACKS["fixed-edits"].means.actors
    assert "user who cheats 1 (0; 1)" in words_of(fromstring(made.sheet))
    assert "which edit is not flagged" in _line(made, "actors", "which edit is not flagged")
