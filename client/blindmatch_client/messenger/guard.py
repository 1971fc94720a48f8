"""Runs the libraries' coroutines to their end and turns their errors into ours.

The libraries are written as coroutines but await nothing that suspends, so one `send` finishes each.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import doubleratchet
import x3dh
import xeddsa

from blindmatch_client.messenger.errors import (
    MessengerError,
    NotAuthenticError,
    PreKeyUnavailableError,
    ReplayedMessageError,
    TooManySkippedError,
)

_T = TypeVar("_T")


def run(step: Coroutine[Any, Any, _T]) -> _T:
    """The result of a coroutine that never suspends."""
    try:
        step.send(None)
    except StopIteration as done:
        result: _T = done.value
        return result
    step.close()
    raise RuntimeError("a coroutine of the messenger's libraries suspended")


def guarded(
    step: Coroutine[Any, Any, _T],
    disagreed: type[MessengerError] = PreKeyUnavailableError,
    otherwise: type[MessengerError] = NotAuthenticError,
) -> _T:
    """`run`, with the libraries' errors replaced.

    Args:
        disagreed: raised if X3DH refuses what the other party sent.
        otherwise: raised if keys or ciphertext of the other party are not accepted.
    """
    try:
        return run(step)
    except doubleratchet.DuplicateMessageException:
        failure: type[MessengerError] = ReplayedMessageError
    except doubleratchet.DoSProtectionException:
        failure = TooManySkippedError
    except x3dh.KeyAgreementException:
        failure = disagreed
    except (
        doubleratchet.AuthenticationFailedException,
        doubleratchet.DecryptionFailedException,
        xeddsa.XEdDSAException,
        ValueError,
    ):
        failure = otherwise
    raise failure()  # after the except clauses, so that the library's error is not its context
