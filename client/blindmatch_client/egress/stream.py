"""A call of a method with many requests and replies, driven by whoever waits for it.

    send --> wait: nothing (sent) | a reply | how it ended

It uses what gRPC's calls with one reply are made of (`grpc._cython`); a call that goes nowhere is tried at
import (docs/decisions/0019-the-line-has-no-threads.md).
"""

from __future__ import annotations

from typing import Any, Final

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined] # the stub names no submodule

from blindmatch_client.egress.calls import SENT, Ending

_RECEIVED, _BEGUN, _ENDED = "received", "begun", "ended"
_CODES: Final = {code.value[0]: code.name for code in grpc.StatusCode}
_NO_FLAGS: Final = 0


class Stream:
    """One call without a deadline; one thread waits at a time, any may send.

    Attributes:
        due: of how many steps that were begun the end was not waited for.
    """

    def __init__(self, channel: grpc.Channel, path: str) -> None:
        begin = cygrpc.SendInitialMetadataOperation((), _NO_FLAGS)
        end = cygrpc.ReceiveStatusOnClientOperation(_NO_FLAGS)
        begun = cygrpc.ReceiveInitialMetadataOperation(_NO_FLAGS)
        steps = (((begin, end), _ENDED), ((begun,), _BEGUN))
        held: Any = channel
        self._call = held._channel.segregated_call(
            cygrpc.PropagationConstants.GRPC_PROPAGATE_DEFAULTS,
            path.encode(),
            None,
            None,
            (),
            None,
            steps,
            None,
        )
        self.due = len(steps)
        self._receive()

    def send(self, request: bytes) -> None:
        """Begin to send a request; the next one once `wait` has said that it is sent."""
        self._begin(cygrpc.SendMessageOperation(request, _NO_FLAGS), SENT)

    def wait(self) -> bytes | str:
        """Wait for the next thing that happens: a reply, or else its name; `Ending` if it is the end."""
        event = self._call.next_event()
        self.due -= 1
        if event.tag is _ENDED:
            status = event.batch_operations[-1]
            trailing = dict(status.trailing_metadata() or ())
            raise Ending(_CODES.get(status.code(), "UNKNOWN"), status.details() or "", trailing)
        reply: bytes | None = event.batch_operations[0].message() if event.tag is _RECEIVED else None
        if reply is None:
            return str(event.tag)
        self._receive()
        return reply

    def cancel(self) -> None:
        self._call.cancel(cygrpc.StatusCode.cancelled, "")

    def _receive(self) -> None:
        self._begin(cygrpc.ReceiveMessageOperation(_NO_FLAGS), _RECEIVED)

    def _begin(self, operation: Any, tag: str) -> None:
        self.due += bool(self._call.operate((operation,), tag))


def _check_interface() -> None:
    """Begin a call that goes nowhere, and end it: what `grpc._cython` has no more fails at import;
    `ImportError` if it does not come to its end as it must."""
    with grpc.insecure_channel("unix:/dev/null") as channel:
        stream, code = Stream(channel, "/"), ""
        stream.cancel()
        while stream.due:
            try:
                stream.wait()
            except Ending as ending:
                code = ending.code
    if code not in ("CANCELLED", "UNAVAILABLE"):  # whichever comes first
        raise ImportError(f"grpc._cython of another version: a call to nobody ended as {code or 'nothing'}")


_check_interface()
