"""What a check says, each with a reason; never a bare boolean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError
from msgspec import Struct, field

from blindmatch_simulations.testbed.inprocess.telling import shown_value


class Verdict(StrEnum):
    """Not comparable if a check that applies found nothing to hold the design against; not checked if it did
    not come to its end."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    NOT_COMPARABLE = "not comparable"
    NOT_CHECKED = "not checked"


class BrokenError(BlindmatchError):
    """A design broke a rule: at `step`, such as ``publish``, ``start``, ``answer`` of a role, a message's
    name or a game; `evidence` is what is needed to look at it, by name, bytes in hexadecimal."""

    def __init__(self, step: str, rule: str, **evidence: object) -> None:
        self.step = step
        self.rule = rule
        self.evidence = {name: shown_value(value) for name, value in evidence.items()}
        super().__init__(f"{step}: {rule}")


class NotApplicableError(BlindmatchError):
    """A check has nothing to test in this design; the text says why."""


class NotComparableError(BlindmatchError):
    """A check applies, and there was nothing to compare with, so that it says nothing; the text says why."""


class NotCheckedError(BlindmatchError):
    """A check did not come to its end, which says nothing of the design; the text says why."""


class Passed(Struct, frozen=True):
    """A check found nothing wrong: in what, and the figures it measured on the way."""

    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)


class Result(Struct, frozen=True):
    """One check's verdict.

    Attributes:
        step, rule: where a failure happened and which rule it broke; empty otherwise.
        evidence: what is needed to look at a failure, by name; ``trace`` of a crash has one frame a line.
    """

    check: str
    verdict: Verdict
    reason: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    step: str = ""
    rule: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)


def refused(
    step: str, what: str, act: Callable[[], object], kind: type[Exception] = ProtocolError, **evidence: object
) -> bool:
    """Does `act` end in an error of this kind? `BrokenError` if it ends in another one; it says that `what`
    does."""
    try:
        act()
    except (kind, BrokenError) as error:
        if isinstance(error, BrokenError):
            raise
        return True
    except Exception as error:
        rule = f"{what} ends in {type(error).__name__}, not in {kind.__name__}"
        raise BrokenError(step, rule, **evidence) from error
    return False
