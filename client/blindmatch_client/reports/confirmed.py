"""What a report may be made of: a `ConfirmedMatch`, and nothing else.

One that is none cannot be made: it compares the device's own hash with the opened label's, again, itself.
"""

from __future__ import annotations

from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import NO_LABEL, AnyDesign, Flag, Item, Label, Match, Outcome
from msgspec import Struct

from blindmatch_client.errors import ReportRefusedError
from blindmatch_client.matching.detector import is_confirmed


class ConfirmedMatch(Redacted, Struct, frozen=True):
    """A match, or a flag, that the device has checked by itself.

    Attributes:
        design: the design that found it.
        epoch: of the set it was found in.
        outcome: a `Match` or a `Flag`.

    Raises:
        ReportRefusedError: for any other outcome, for a match that a filter alone says, for a label whose
            hash is not within the design's relation to the picture's own, and for a flag of a picture that
            is not of the design's category.
    """

    design: AnyDesign
    epoch: int
    item: Item
    number: int
    outcome: Outcome

    def __post_init__(self) -> None:
        if not isinstance(self.outcome, Match | Flag):
            raise ReportRefusedError("report refused: the outcome is neither a match nor a flag")
        if self.label.unconfirmed:
            raise ReportRefusedError("report refused: a filter alone says that the entry is there")
        if not is_confirmed(self.design.info.relation, self.item, self.outcome):
            raise ReportRefusedError(
                "report refused: the picture does not match the opened label, or is not of the category"
            )

    @property
    def label(self) -> Label:
        """Of the entry; zeros of a flag."""
        return self.outcome.label if isinstance(self.outcome, Match) else NO_LABEL

    @property
    def score(self) -> bytes:
        """Of a flag; empty of a match."""
        return self.outcome.encode() if isinstance(self.outcome, Flag) else b""
