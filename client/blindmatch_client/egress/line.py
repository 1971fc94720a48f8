"""A line: one stream to a party on which calls are made (`Connect` in the .proto), from any thread.

call --Ask--> stream ... stream --Answer{number}--> a thread that reads --> the call of that number
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from google.protobuf.message import DecodeError, Message

from blindmatch_client.egress.calls import Entry, failure, printable, translate
from blindmatch_client.errors import MisbehavedError, ServiceError

if TYPE_CHECKING:
    import grpc

MOST_HELD_BYTES: Final = 8 << 20
"""Of the answers to one call that nobody has taken yet; a party that sends more misbehaves."""


class Line:
    """An open line; made by `Channels.line`."""

    def __init__(self, party: Party, channel: grpc.Channel, path: str) -> None:
        self._party = party
        self._changed = threading.Condition()
        self._calls: dict[int, Replies] = {}
        self._unsent: SimpleQueue[bytes] = SimpleQueue()
        self._next = 0
        self._end: ServiceError | None = None
        call: Any = channel.stream_stream(path)
        self._stream = call(iter(self._unsent.get, b""))
        self._reader = threading.Thread(target=self._read, name=f"line to {party}", daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        """Is nothing taken on it any more?"""
        return self._end is not None

    def call(self, field: str, request: bytes, entry: Entry) -> Replies:
        """Make a call.

        Args:
            field: of `Ask`, which names its method.

        Raises what ended the line, if it has ended.
        """
        with self._changed:
            if self._end is not None:
                raise self._end
            replies = self._calls[self._next] = Replies(self, self._party, self._next, field, entry)
            self._next += 1
            self._unsent.put(_framed(field, request))
        return replies

    def wait(self, answers: deque[Any], until: float) -> None:
        """Wait until one of a call's `answers` is there; `ServiceError` if the line has ended, or there is
        none at `until`."""
        with self._changed:
            while not answers:
                if self._end is not None:
                    raise self._end
                if not self._changed.wait(max(0.0, until - time.monotonic())) and not answers:
                    self._finish(failure(self._party, "DEADLINE_EXCEEDED"))

    def forget(self, number: int) -> None:
        """No more answers are expected for a call."""
        self._calls.pop(number, None)

    def close(self) -> None:
        """End the line and all calls on it; none is made on it any more."""
        with self._changed:
            self._finish(failure(self._party, "CANCELLED"))
        self._reader.join()

    def _finish(self, end: ServiceError) -> None:
        if self._end is None:
            self._end = end
            self._unsent.put(b"")
            self._stream.cancel()
            self._changed.notify_all()

    def _read(self) -> None:
        import grpc  # with the first call

        end = failure(self._party, "CANCELLED")
        try:
            for raw in self._stream:
                with self._changed:
                    self._take(raw)
                    self._changed.notify_all()
        except grpc.RpcError as error:
            end = translate(self._party, error)
        with self._changed:
            self._finish(end)

    def _take(self, raw: bytes) -> None:
        try:
            answer = pb.Answer.FromString(raw)
        except DecodeError:
            self._finish(MisbehavedError(self._party, "not an Answer"))
            return
        replies = self._calls.get(answer.number)
        if replies is not None and replies.put(answer, len(raw)) > MOST_HELD_BYTES:
            self._finish(MisbehavedError(self._party, "more is sent than was asked for"))


class Replies:
    """What is answered to one call."""

    def __init__(self, line: Line, party: Party, number: int, field: str, entry: Entry) -> None:
        self._line = line
        self._entry = entry
        self._party = party
        self._number = number
        self._field = field
        self._answers: deque[tuple[pb.Answer, int]] = deque()
        self._held = 0

    def put(self, answer: pb.Answer, size: int) -> int:
        """Add an answer of `size` bytes; how many bytes nobody has taken."""
        self._held += size
        self._answers.append((answer, size))
        return self._held

    def one(self, seconds: float) -> Message:
        """The reply. Raises `ServiceError` if there is none in time, or something else."""
        try:
            return self._reply(time.monotonic() + seconds)[1]
        finally:
            self._line.forget(self._number)

    def batches(self, seconds: float) -> Generator[list[Message]]:
        """Many replies until they end; together those that came while another answer was waited for. Raises
        as `one`; a line that is left before that is closed, since nothing else ends the call."""
        until, ended = time.monotonic() + seconds, False
        try:
            while not ended:
                batch: list[Message] = []
                while not ended and (not batch or self._answers):
                    name, reply = self._reply(until, "ended")
                    ended = name == "ended"
                    batch += [reply] if name == self._field else []
                if batch:
                    yield batch
        finally:
            self._line.forget(self._number)
            if not ended:
                self._line.close()

    def _reply(self, until: float, *others: str) -> tuple[str, Message]:
        self._line.wait(self._answers, until)
        answer, size = self._answers.popleft()
        self._held -= size
        name = str(answer.WhichOneof("reply"))
        if name not in (self._field, "refused", *others):
            raise MisbehavedError(self._party, "a call on a line has its own reply")
        reply: Any = getattr(answer, name)
        if name == "refused":
            raise failure(self._party, printable(reply.status), reply.text, reply.retry_after_ms or None)
        self._entry.reply_bytes += reply.ByteSize()
        return name, reply


def _framed(field: str, request: bytes) -> bytes:
    length, size = bytearray(), len(request)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    tag = pb.Ask.DESCRIPTOR.fields_by_name[field].number << 3 | 2
    return bytes([tag, *length, size]) + request
