"""Errors of the server room; each text may be shown to whoever caused it.

BlindmatchError
|-- RefusedError        a call is refused with a gRPC status
|   |-- NotFoundError, ConflictError, QuotaError, OutOfRangeError, ForbiddenError, ...
|-- StateError          a file the service needs is missing or bad    -> exit code 4
|-- PortTakenError      the address cannot be bound                   -> exit code 3
"""

from __future__ import annotations

from blindmatch_protocol.codec.errors import BlindmatchError


class RefusedError(BlindmatchError):
    """A call is refused; `str` is sent to the caller and so holds nothing secret.

    Args:
        step: the method or message, e.g. ``"relay/send"``.
        rule: the rule that was broken, in words.
        field: the field it was broken by, if one can be named.

    Attributes:
        status: of gRPC, by name: devices and commands meet these errors without loading gRPC.
    """

    status = "INVALID_ARGUMENT"

    def __init__(self, step: str, rule: str, field: str | None = None) -> None:
        super().__init__(f"{step}: {f'field {field}: ' if field else ''}{rule}")


class UnauthenticatedError(RefusedError):
    """The caller's certificate names no identity of this deployment, has run out, or is revoked."""

    status = "UNAUTHENTICATED"


class ForbiddenError(RefusedError):
    """The caller is known and may not call this method."""

    status = "PERMISSION_DENIED"


class NotFoundError(RefusedError):
    """What a field names does not exist."""

    status = "NOT_FOUND"


class ConflictError(RefusedError):
    """Something else is already stored under this name."""

    status = "ALREADY_EXISTS"


class PreconditionError(RefusedError):
    """The call does not fit the server's state: its epoch, a key that has ended or is another than an
    enrolment's, a state that does not follow a report's own, a log."""

    status = "FAILED_PRECONDITION"


class OutOfRangeError(RefusedError):
    """An offset lies outside what it points into."""

    status = "OUT_OF_RANGE"


class UnsupportedError(RefusedError):
    """The server runs another design or another version of it."""

    status = "UNIMPLEMENTED"


class QuotaError(RefusedError):
    """A quota is used up, such as the evaluations under a key, for this account or for all."""

    status = "RESOURCE_EXHAUSTED"


class UnavailableError(RefusedError):
    """Another server that is needed refused or cannot be asked, or this one is shutting down."""

    status = "UNAVAILABLE"


class GoneError(RefusedError):
    """The caller hung up while it was answered."""

    status = "CANCELLED"


class RateError(QuotaError):
    """Too many calls; `retry_after_ms` says when the next one may come."""

    def __init__(self, step: str, retry_after_ms: int) -> None:
        super().__init__(step, f"too many calls: try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class SlowError(RefusedError):
    """The caller did not send, or did not take, in time."""

    status = "DEADLINE_EXCEEDED"


class StateError(BlindmatchError):
    """A file the service needs is missing, altered or of another version."""


class PortTakenError(BlindmatchError):
    """The address could not be bound."""
