"""gRPC statuses in plain words, as one small error tree."""

from __future__ import annotations

from typing import Final

import grpc
from blindmatch_protocol.contract import Party

from blindmatch_client.errors import RefusedError, ServiceError, ServiceUnavailableError, UnreachedError

NO_CONNECTION: Final = "failed to connect to all addresses"
"""How gRPC's words begin where a call was never sent."""

DETAIL_MOST: Final = 200

RETRY_AFTER: Final = "retry-after-ms"
"""Trailing metadata by which a server says when it would answer."""

_UNAVAILABLE: Final = {
    grpc.StatusCode.UNAVAILABLE: (
        "cannot be reached: check that it runs, its address, and that both certificates are of one authority"
    ),
    grpc.StatusCode.DEADLINE_EXCEEDED: "did not answer in time: it may be overloaded, try again later",
    grpc.StatusCode.CANCELLED: "broke the call off: try again later",
    grpc.StatusCode.ABORTED: "broke the call off: try again later",
    grpc.StatusCode.INTERNAL: "failed inside: its operator must look at it",
    grpc.StatusCode.UNKNOWN: "failed inside: its operator must look at it",
    grpc.StatusCode.DATA_LOSS: "lost data: its operator must look at it",
}

_ADVICE: Final = {
    grpc.StatusCode.UNAUTHENTICATED: "check the device's certificate",
    grpc.StatusCode.PERMISSION_DENIED: "this account may not do that",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "a limit was reached, try again later",
    grpc.StatusCode.FAILED_PRECONDITION: "the set or the state it speaks of is another, fetch it anew",
    grpc.StatusCode.ALREADY_EXISTS: "it is taken: choose another name",
    grpc.StatusCode.NOT_FOUND: "check the name",
    grpc.StatusCode.UNIMPLEMENTED: "it runs another version or another design",
}


def translate(party: Party, error: grpc.RpcError) -> ServiceError:
    """The error of this room that stands for `error` of a call to `party`."""
    code, detail, wait = _status(error)
    if code is grpc.StatusCode.UNAVAILABLE and detail.startswith(NO_CONNECTION):
        return UnreachedError(party, _UNAVAILABLE[code])
    if code in _UNAVAILABLE:
        return ServiceUnavailableError(party, _UNAVAILABLE[code])
    advice = _ADVICE.get(code, "asking again will not help")
    return RefusedError(party, code.name, printable(detail), advice, wait)


def _status(error: object) -> tuple[grpc.StatusCode, str, int | None]:
    """What a failed call raises is both an error and the call itself; the types do not say so."""
    if not isinstance(error, grpc.Call):
        return grpc.StatusCode.UNKNOWN, "", None
    trailing = dict(error.trailing_metadata() or ())
    return error.code(), error.details() or "", _milliseconds(trailing.get(RETRY_AFTER))


def _milliseconds(text: str | bytes | None) -> int | None:
    """A number of at most nine digits, or None."""
    known = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 10
    return int(str(text)) if known else None


def printable(text: str) -> str:
    """Another party's words, made safe for a terminal and a log."""
    cut = text[:DETAIL_MOST]
    return "".join(letter if letter.isprintable() else "?" for letter in cut)
