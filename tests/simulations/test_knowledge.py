"""What is declared to be known of a list, for every built-in design."""

from __future__ import annotations

from itertools import combinations

import pytest
from blindmatch_protocol import contract as bm
from blindmatch_protocol.contract import ListKnowledge, Party
from blindmatch_protocol.designs import hash_upload, none, oprf_psi, token_psi
from blindmatch_simulations.evaluation.conformance.fixtures import Fixtures
from blindmatch_simulations.evaluation.conformance.leakage.list_secrecy import check_list_knowledge
from blindmatch_simulations.testbed.deployment.registry import built_in_designs
from blindmatch_simulations.testbed.inprocess.verdict import BrokenError
from dummy_designs import SHARES

DEVICE = frozenset({Party.DEVICE})
MATCHER = frozenset({Party.MATCHER})


def test_what_is_known_of_a_list_is_ordered() -> None:
    mixed = [ListKnowledge.TESTABLE, ListKnowledge.HASHES, ListKnowledge.NOTHING]
    assert sorted(mixed) == [one for one in ListKnowledge if one in mixed]
    for less, more in combinations(ListKnowledge, 2):
        assert less < more
        assert less <= more
        assert more > less
        assert not less >= more


def test_a_value_compares_with_itself_and_with_its_name_alone() -> None:
    assert ListKnowledge.SIZE >= ListKnowledge.SIZE <= ListKnowledge("size")
    with pytest.raises(ValueError, match="much"):
        assert ListKnowledge.SIZE >= "much"


def test_a_coalition_knows_what_the_best_of_its_members_knows() -> None:
    alone = {Party.DEVICE: ListKnowledge.SIZE, Party.MATCHER: ListKnowledge.HASHES}
    assert ListKnowledge.joined(DEVICE | MATCHER, alone) is ListKnowledge.HASHES
    assert ListKnowledge.joined(frozenset({Party.PROVIDER}), alone) is ListKnowledge.NOTHING
    assert ListKnowledge.joined(frozenset(), alone) is ListKnowledge.NOTHING


@pytest.mark.parametrize("design", [one.design for one in built_in_designs()], ids=lambda one: one.info.name)
def test_a_larger_coalition_of_a_built_in_design_knows_no_less(design: bm.AnyDesign) -> None:
    parties = {*design.info.parties, Party.DEVICE, Party.PROVIDER}
    for party in parties:
        alone = design.list_knowledge(frozenset({party}))
        assert all(design.list_knowledge(frozenset({party, other})) >= alone for other in parties)


def test_a_design_is_tested_alone_where_its_device_can_test_guesses() -> None:
    class Told(none.NoDetection):
        def list_knowledge(self, parties: frozenset[Party]) -> ListKnowledge:
            return ListKnowledge.joined(parties, {Party.DEVICE: ListKnowledge.HASHES})

    assert Told().alone
    assert not none.DESIGN.alone
    assert not token_psi.DESIGN.alone


@pytest.mark.parametrize(
    "design", [oprf_psi.DESIGN, hash_upload.DESIGN, SHARES], ids=lambda one: one.info.name
)
def test_stored_files_show_what_is_declared_of_the_list(design: bm.AnyDesign) -> None:
    passed = check_list_knowledge(Fixtures(design))
    assert passed.figures["upper_bounds"] == []


@pytest.mark.parametrize("less", [ListKnowledge.NOTHING, ListKnowledge.SIZE])
def test_stored_files_that_show_more_of_the_list_than_is_declared_are_found(less: ListKnowledge) -> None:
    class SaysLess(type(oprf_psi.DESIGN)):  # type: ignore[misc]
        def list_knowledge(self, parties: frozenset[Party]) -> ListKnowledge:
            return less

    shown = "size" if less is ListKnowledge.NOTHING else "testable"
    with pytest.raises(
        BrokenError, match=f"declared to show {less} of the list, and stored files show {shown}"
    ):
        check_list_knowledge(Fixtures(SaysLess()))
