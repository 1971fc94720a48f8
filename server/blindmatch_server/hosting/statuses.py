"""Which gRPC status an exception ends in, and what the caller is told.

Texts of our own errors name a field and a rule and are passed on; whatever else was raised becomes
``internal error``, since a foreign exception's text may quote what it choked on.
"""

from __future__ import annotations

import errno
import sqlite3

import grpc
from blindmatch_protocol.codec.errors import (
    BlindmatchError,
    DesignError,
    EpochMismatchError,
    PictureError,
    ProtocolError,
)
from msgspec import Struct

from blindmatch_server.storage.errors import RateError, RefusedError
from blindmatch_server.storage.workspace import StorageError

_STORAGE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


class Refusal(Struct, frozen=True):
    """How a call ends.

    Attributes:
        trailing: metadata sent with it.
        foreseen: False if the error is ours to look into.
    """

    code: grpc.StatusCode
    text: str
    trailing: tuple[tuple[str, str], ...] = ()
    foreseen: bool = True


def refusal_of(error: Exception) -> Refusal:
    """The status for `error`; see the module's text."""
    match error:
        case RateError():
            wait = ("retry-after-ms", str(error.retry_after_ms))
            return Refusal(error.status, str(error), (wait,))
        case RefusedError():
            return Refusal(error.status, str(error))
        case EpochMismatchError() | DesignError():
            return Refusal(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        case ProtocolError() | PictureError():
            return Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        case TimeoutError():
            return Refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "the call took too long")
        case _ if _is_storage(error):
            return Refusal(grpc.StatusCode.UNAVAILABLE, "storage failed: nothing was kept", (), False)
        case BlindmatchError() | _:
            return Refusal(grpc.StatusCode.INTERNAL, "internal error", (), False)


def _is_storage(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, StorageError) else error
    return isinstance(cause, sqlite3.OperationalError) or (
        isinstance(cause, OSError) and cause.errno in _STORAGE
    )
