"""Which unknown matters: every output of a run with one figure at a time moved to its ends (a tornado)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from blindmatch_simulations.evaluation.population.behaviour import Behaviour, Range
from blindmatch_simulations.evaluation.population.inputs import Inputs, figures, with_value
from blindmatch_simulations.evaluation.population.model import model
from blindmatch_simulations.evaluation.population.outputs import OUTPUTS, of_expected, of_run

ACCOUNTS: Final = ("accounts", "number")
MEASURED: Final = ("recall", "false_rate", "unnoticed")


class Moved(Struct, frozen=True):
    """An output, expected, with one figure at its low and at its high end.

    Attributes:
        input: the figure, ``part.field`` of the inputs or ``measured.NAME`` of the results file.
    """

    output: str
    input: str
    at_low: float
    at_high: float
    base: float

    @property
    def width(self) -> float:
        """How far the two are apart."""
        return abs(self.at_high - self.at_low)


def tornado(inputs: Inputs, behaviour: Behaviour, accounts: int, days: int) -> list[Moved]:
    """All outputs that move at all, the widest first for each output, by the closed form."""
    base = _expected(inputs, behaviour, accounts, days)
    moved = []
    for name, ends in _ends(inputs, behaviour, accounts):
        low, high = (_expected(*end, days) for end in ends)
        for output, value in base.items():
            if output in low and output in high:
                moved.append(Moved(output, name, low[output], high[output], value))
    order = list(OUTPUTS)
    kept = [one for one in moved if one.width > 0]
    return sorted(kept, key=lambda one: (order.index(one.output), -one.width, one.input))


def _ends(
    inputs: Inputs, behaviour: Behaviour, accounts: int
) -> list[tuple[str, list[tuple[Inputs, Behaviour, int]]]]:
    """What each figure is moved to; accounts too, in proportion if the run has others than the file."""
    made = []
    for part, field, figure in figures(inputs):
        rate = part == "false_matches"
        if figure.low is None or figure.high is None or (rate and not behaviour.assumed):
            continue
        ends = []
        for end in (figure.low, figure.high):
            others = round(accounts * end / figure.value) if (part, field) == ACCOUNTS else accounts
            its = replace(behaviour, false_rate=Range.exactly(end)) if rate else behaviour
            ends.append((with_value(inputs, part, field, end), its, max(1, others)))
        made.append((f"{part}.{field}", ends))
    for name in MEASURED:
        both = [_with(behaviour, name, end) for end in ("low", "high")]
        made.append((f"measured.{name}", [(inputs, one, accounts) for one in both]))
    return made


def _with(behaviour: Behaviour, name: str, end: str) -> Behaviour:
    changed: dict[str, Any] = {name: Range.exactly(getattr(behaviour, name).at(end))}
    return replace(behaviour, **changed)


def _expected(inputs: Inputs, behaviour: Behaviour, accounts: int, days: int) -> Mapping[str, float]:
    found = of_expected(model(inputs, behaviour, accounts, days))
    return {name: float(of_run(name, rows)[0]) for name, rows in found.items()}
