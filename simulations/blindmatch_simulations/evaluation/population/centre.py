"""The centre: reports queue first come, first decided, by so many people in so many shifts."""

from __future__ import annotations

import numpy as np
from msgspec import Struct

from blindmatch_simulations.evaluation.population.inputs import Centre
from blindmatch_simulations.evaluation.population.model import Floats

WEEK = 7


class Worked(Struct, frozen=True):
    """Of each day, float64 (runs, days).

    Attributes:
        backlog: reports that wait at its end.
        oldest: days since the oldest of them came.
        people: reviewers that the reports and complaints of this day keep busy.
        forwarded_true, forwarded_false, dismissed_true: by what was decided, and what the report was.
        complaints: of accounts that were wrongly forwarded.
        delay: days from report to authority, mean of what was decided; if nothing was, as the day before.
    """

    backlog: Floats
    oldest: Floats
    people: Floats
    forwarded_true: Floats
    forwarded_false: Floats
    dismissed_true: Floats
    complaints: Floats
    delay: Floats


class _Queue:
    """Cohorts of reports by the day they came, of several runs; what was decided of them so far."""

    def __init__(self, true: Floats, false: Floats, whole: bool) -> None:
        self._whole = whole
        self.came = np.ascontiguousarray((true + false).T)
        self._false = np.ascontiguousarray(false.T)
        days, runs = self.came.shape
        self._until = [
            np.concatenate([np.zeros((1, runs)), np.cumsum(rows, axis=0)])
            for rows in (self.came, self._false, self.came * np.arange(days)[:, None])
        ]
        self._at = np.arange(runs)
        self._decided = np.zeros((3, runs))
        self.first = np.zeros(runs, np.int64)

    def waiting(self, day: int) -> Floats:
        left: Floats = self._until[0][day + 1] - self._decided[0]
        return left

    def decide(self, number: Floats) -> tuple[Floats, Floats, Floats]:
        done = self._decided[0] + number
        last = len(self.came) - 1
        came, false, days = self._until
        while (over := (self.first < last) & (came[self.first + 1, self._at] <= done)).any():
            self.first = self.first + over
        here = (self.first, self._at)
        part = done - came[here]
        share = self._false[here] / np.maximum(self.came[here], 1e-300)
        found = false[here] + part * share
        found = np.floor(found + 0.5) if self._whole else found
        now = np.stack([done, found, days[here] + part * self.first])
        step = now - self._decided
        self._decided = now
        return step[0], step[1], step[2]


def worked(true: Floats, false: Floats, centre: Centre, rng: np.random.Generator | None) -> Worked:
    """What becomes of reports, (runs, days) each; without `rng` in fractions, as expected. Of one day, true
    and false ones are decided in proportion."""
    runs, days = true.shape
    queue = _Queue(true, false, rng is not None)
    rows = np.zeros((8, days, runs))
    owed, spare, wait = np.zeros((3, runs))
    for day in range(days):
        shift = centre.staff.value * centre.day_minutes.value * (day % WEEK < centre.days_a_week.value)
        on_complaints = np.minimum(owed, shift)
        spare = spare + shift - on_complaints
        able = spare / centre.minutes.value
        waiting = queue.waiting(day)
        number = np.minimum(waiting, np.floor(able) if rng is not None else able)
        spare = np.where(number < waiting, spare - number * centre.minutes.value, 0.0)
        decided, wrong, came = queue.decide(number)
        forwarded_false = _part(wrong, centre.passes_false.value, rng)
        dismissed = _part(decided - wrong, centre.dismisses_true.value, rng)
        complaints = _part(forwarded_false, centre.complains.value, rng)
        owed = owed - on_complaints + complaints * centre.complaint_minutes.value
        left = waiting - number
        wait = np.where(
            decided > 0, day - came / np.maximum(decided, 1e-300) + centre.transfer_days.value, wait
        )
        busy = queue.came[day] * centre.minutes.value + complaints * centre.complaint_minutes.value
        rows[:, day] = (
            left, np.where(left > 0, day - queue.first, 0),
            busy / centre.day_minutes.value * WEEK / centre.days_a_week.value,
            decided - wrong - dismissed, forwarded_false, dismissed, complaints, wait,
        )  # fmt: skip
    return Worked(*rows.transpose(0, 2, 1))


def _part(number: Floats, share: float, rng: np.random.Generator | None) -> Floats:
    """So many of `number`, drawn or expected."""
    if rng is None:
        return number * share
    return rng.binomial(number.astype(np.int64), share).astype(np.float64)
