"""What a design does, as an assessment measured it; nothing of it is a constant of this program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_simulations.evaluation.assess.observed import KeyUse
from blindmatch_simulations.evaluation.population.inputs import Inputs
from blindmatch_simulations.measure.results import Figure

LITERATURE: Final = "literature"
COSTS: Final = (
    "server_cpu_ms", "query_up_bytes", "query_down_bytes", "report_bytes", "setup_bytes", "update_bytes",
)  # fmt: skip


class Range(Struct, frozen=True):
    """An estimate with the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    @staticmethod
    def exactly(value: float) -> Range:
        """A figure without an interval."""
        return Range(value, value, value)

    def at(self, end: str) -> float:
        """The ``value``, ``low`` or ``high``."""
        return float(getattr(self, end))


class Behaviour(Struct, frozen=True):
    """Attributes:
    recall: share of known pictures found, for the mix of edits of the inputs.
    false_rate: false matches for each picture that is not known.
    unnoticed: share of what a client that never asks sends, of which nobody learns.
    asks: whether anything is asked of a server, so that an outage matters.
    costs: figures of cost by name; None with a reason where they were not measured.
    entries: of the list it was measured with.
    key: limits of a role's key, if the design has any.
    assumed: whether `false_rate` is the rate of the inputs, which no assessment measured.
    """

    recall: Range
    false_rate: Range
    unnoticed: Range
    asks: bool
    costs: Mapping[str, Figure] = field(default_factory=dict)
    entries: int = 0
    key: KeyUse | None = None
    assumed: bool = False

    def at(self, end: str, unnoticed: str) -> Behaviour:
        """The same with `recall` and `false_rate` at an end of their intervals, and `unnoticed` at one."""
        recall, false = Range.exactly(self.recall.at(end)), Range.exactly(self.false_rate.at(end))
        return replace(
            self, recall=recall, false_rate=false, unnoticed=Range.exactly(self.unnoticed.at(unnoticed))
        )


def literature(inputs: Inputs) -> Behaviour:
    """A matcher that finds everything, with the false matches of the literature."""
    one, zero, rate = Range.exactly(1), Range.exactly(0), Range.exactly(inputs.false_matches.rate.value)
    unknown = {name: Figure(None, "not measured: no design") for name in COSTS}
    return Behaviour(one, rate, zero, False, unknown, assumed=True)
