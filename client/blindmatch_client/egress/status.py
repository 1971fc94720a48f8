"""gRPC statuses in plain words, as one small error tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blindmatch_protocol.contract import Party

from blindmatch_client.errors import RefusedError, ServiceError, ServiceUnavailableError, UnreachedError

if TYPE_CHECKING:
    import grpc

NO_CONNECTION: Final = "failed to connect to all addresses"
"""How gRPC's words begin where a call was never sent."""

DETAIL_MOST: Final = 200

RETRY_AFTER: Final = "retry-after-ms"
"""Trailing metadata by which a server says when it would answer."""

SENT: Final = "sent"
"""What happens on a stream once a request has left."""

_UNAVAILABLE: Final = {
    "UNAVAILABLE": (
        "cannot be reached: check that it runs, its address, and that both certificates are of one authority"
    ),
    "DEADLINE_EXCEEDED": "did not answer in time: it may be overloaded, try again later",
    "CANCELLED": "broke the call off: try again later",
    "ABORTED": "broke the call off: try again later",
    "INTERNAL": "failed inside: its operator must look at it",
    "UNKNOWN": "failed inside: its operator must look at it",
    "DATA_LOSS": "lost data: its operator must look at it",
}

_ADVICE: Final = {
    "UNAUTHENTICATED": "check the device's certificate",
    "PERMISSION_DENIED": "this account may not do that",
    "RESOURCE_EXHAUSTED": "a limit was reached, try again later",
    "FAILED_PRECONDITION": "the set or the state it speaks of is another, fetch it anew",
    "ALREADY_EXISTS": "it is taken: choose another name",
    "NOT_FOUND": "check the name",
    "UNIMPLEMENTED": "it runs another version or another design",
}


class Ending(Exception):  # noqa: N818 - OK is one, too
    """How a stream ended.

    Attributes:
        code: the status, by its name.
        details: the other party's words.
        trailing: metadata that came with it.
    """

    def __init__(self, code: str, details: str, trailing: dict[str, str | bytes]) -> None:
        super().__init__(code)
        self.code, self.details, self.trailing = code, details, trailing


def translate(party: Party, error: grpc.RpcError) -> ServiceError:
    """The error of this room that stands for `error` of a call to `party`."""
    return failure(party, *_status(error))


def failure(party: Party, code: str, detail: str = "", retry_after_ms: int | None = None) -> ServiceError:
    """The error of this room that stands for a status, by its name."""
    if code == "UNAVAILABLE" and detail.startswith(NO_CONNECTION):
        return UnreachedError(party, _UNAVAILABLE[code])
    if code in _UNAVAILABLE:
        return ServiceUnavailableError(party, _UNAVAILABLE[code])
    advice = _ADVICE.get(code, "asking again will not help")
    return RefusedError(party, code, printable(detail), advice, retry_after_ms)


def _status(error: object) -> tuple[str, str, int | None]:
    """What a failed call raises is both an error and the call itself; the types do not say so."""
    import grpc

    if not isinstance(error, grpc.Call):
        return "UNKNOWN", "", None
    trailing = dict(error.trailing_metadata() or ())
    return error.code().name, error.details() or "", milliseconds(trailing.get(RETRY_AFTER))


def milliseconds(text: str | bytes | None) -> int | None:
    """A number of at most nine digits, or None."""
    known = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 10
    return int(str(text)) if known else None


def printable(text: str, most: int = DETAIL_MOST) -> str:
    """Another party's words, `most` characters of them, made safe for a terminal and a log."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:most])
