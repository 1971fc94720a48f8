"""The life of a report: one table of transitions, and nothing beside it."""

from __future__ import annotations

import itertools

import pytest
from blindmatch_server.centre.store import LEGAL, Cause, PreconditionError, State, check_transition

EVERY = list(itertools.product(State, State, Cause))


@pytest.mark.parametrize(("before", "after", "cause"), EVERY)
def test_what_the_table_does_not_name_is_refused_in_words_that_name_both_states(
    before: State, after: State, cause: Cause
) -> None:
    if LEGAL.get((before, after)) is cause:
        check_transition(before, after, cause)
        return
    with pytest.raises(PreconditionError) as caught:
        check_transition(before, after, cause)
    assert f" {before} " in f"{caught.value} "
    assert f" {after} " in f"{caught.value} "


def test_every_report_can_be_closed_and_only_a_complaint_opens_a_closed_one() -> None:
    reached = {State.RECEIVED}
    for _ in State:
        reached |= {after for before, after in LEGAL if before in reached}
    assert reached == set(State)
    for state in set(State) - {State.CLOSED}:
        steps = {state}
        for _ in State:
            steps |= {after for before, after in LEGAL if before in steps}
        assert State.CLOSED in steps
    assert {cause for (before, _), cause in LEGAL.items() if before is State.CLOSED} == {Cause.COMPLAINT}


def test_the_machine_decides_nothing() -> None:
    assert [pair for pair, cause in LEGAL.items() if cause is Cause.CHECKS] == [
        (State.RECEIVED, State.CHECKED)
    ]
