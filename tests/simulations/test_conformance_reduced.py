"""A design of large sizes is checked in reduced ones; its own are looked at once, and the reader is told."""

from __future__ import annotations

from typing import ClassVar

from blindmatch_protocol import contract as bm
from blindmatch_protocol.designs import hash_upload
from blindmatch_protocol.designs.hash_upload import HashUpload
from blindmatch_simulations.evaluation.conformance.fixtures import FEWER, Fixtures
from blindmatch_simulations.evaluation.conformance.run import Options, check_design
from blindmatch_simulations.testbed.inprocess.verdict import Result, Verdict
from msgspec.structs import replace


class Whole(HashUpload):
    """Its reduced form is hash-upload."""

    info: ClassVar[bm.Info] = replace(HashUpload.info, name="dummy-whole")

    def reduced(self) -> bm.AnyDesign:
        return hash_upload.DESIGN


class Misses(Whole):
    """Finds nothing in its own sizes, by the same steps."""

    info: ClassVar[bm.Info] = replace(Whole.info, relation=bm.Near(64))


class OtherSteps(Whole):
    """Is other code in its own sizes, and finds nothing there."""

    def receive(self, *arguments: object) -> bm.Done:
        return bm.Done(bm.NoMatch())


def results(design: bm.AnyDesign, *checks: str) -> dict[str, Result]:
    return {one.check: one for one in check_design(design, Options(only=list(checks))).results}


def test_checks_run_on_the_reduced_form_with_fewer_runs() -> None:
    fixtures = Fixtures(Whole(), runs=(32, 48))
    assert (fixtures.design, fixtures.runs) == (hash_upload.DESIGN, (32 // FEWER, 48 // FEWER))
    assert Fixtures(Whole(), runs=(32, 48), full_size=True).runs == (32, 48)
    assert Fixtures(hash_upload.DESIGN, runs=(32, 48)).runs == (32, 48)


def test_its_own_sizes_are_looked_at_once_and_the_verdict_says_where_the_others_ran() -> None:
    found = results(Whole(), "outcomes", "full size")
    assert found["full size"].verdict is Verdict.PASSED
    assert "all other checks ran on hash-upload" in found["full size"].reason
    broken = results(Misses(), "outcomes", "full size")
    assert (broken["outcomes"].verdict, broken["full size"].verdict) == (Verdict.PASSED, Verdict.FAILED)


def test_what_holds_of_other_steps_is_not_taken_for_the_designs_own() -> None:
    found = results(OtherSteps(), "outcomes", "full size")
    verdicts = (found["outcomes"].verdict, found["full size"].verdict)
    assert verdicts == (Verdict.FAILED, Verdict.NOT_APPLICABLE)


def test_a_design_that_is_checked_as_it_is_has_nothing_more_to_be_looked_at() -> None:
    assert results(hash_upload.DESIGN, "full size")["full size"].verdict is Verdict.NOT_APPLICABLE
