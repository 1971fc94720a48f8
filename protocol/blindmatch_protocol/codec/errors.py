"""The error tree of every room starts here.

An error text names the field and the rule that was broken; it never holds a secret, a hash of a
picture or message content.
"""

from __future__ import annotations


class BlindmatchError(Exception):
    """Root of all errors blindmatch raises on purpose."""


class ProtocolError(BlindmatchError):
    """Bytes or values from another party broke a rule of the protocol.

    Args:
        step: the message or step, e.g. ``"oprf-psi/request"``.
        rule: the rule that was broken, in words.
        field: the field it was broken by, if one can be named.
    """

    def __init__(self, step: str, rule: str, field: str | None = None) -> None:
        self.step = step
        self.rule = rule
        self.field = field
        super().__init__(f"{step}: {f'field {field}: ' if field else ''}{rule}")

    def __reduce__(self) -> tuple[type[ProtocolError], tuple[str, str, str | None]]:
        """So that it can come from a worker process."""
        return type(self), (self.step, self.rule, self.field)


class EpochMismatchError(ProtocolError):
    """The other party speaks of another epoch than the one in force."""


class UnopenedError(ProtocolError):
    """A reply that another party carried cannot be opened: nobody can tell which of the two broke it."""


class GroupError(BlindmatchError):
    """An operation met the identity, a zero scalar or bytes that are no element; `row` is the first that it
    failed on. libsodium does not say which; `check_elements` and `check_scalars` do. In an operation whose
    scalars are known to be good, the elements are to blame."""

    def __init__(self, operation: str, row: int) -> None:
        self.operation = operation
        self.row = row
        super().__init__(f"{operation}: row {row} has or gives no proper element")


class DesignError(BlindmatchError):
    """A design was asked for something that its declaration or its parameters rule out."""


class NotInstalledError(BlindmatchError):
    """A design needs what is not installed."""

    def __init__(self, design: str, how: str) -> None:
        self.design = design
        self.how = how
        super().__init__(f"{design}: not installed ({how})")


class PictureError(BlindmatchError):
    """Bytes could not be taken as a picture: unreadable, empty, too large or not what they claim."""


class SetFileError(BlindmatchError):
    """A set file is truncated, altered, of another version, design or epoch."""
