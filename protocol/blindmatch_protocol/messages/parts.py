"""Bytes too large for one message, and attachments: how they are cut into parts, and how parts are joined.

A whole that is too large is refused before it is read, and so is a stream that ends early, goes on too long,
or has an empty part or a second head. Attachments are padded by Padmé, sealed under a key of their own, named
by their digest; everything works piece by piece, so that one is never whole in memory.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import reduce
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message as Wire
from msgspec import Struct

from blindmatch_protocol.codec import Buffer
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.crypto.symmetric import KEY_LENGTH, TAG_LENGTH, Opening, Sealing
from blindmatch_protocol.messages.content import (
    AttachmentRef,
    AttachmentUnpadding,
    padded_attachment_length,
    padding_of,
)
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

W = TypeVar("W", bound=Wire)

PART_BYTES: Final = 256 << 10
"""Bytes of data in a part; any other cut is accepted."""

MOST_SMALL_BYTES: Final = 960 << 10
"""A body up to here fits one Envelope; `Info.large_bodies` is for the others."""

MOST_BODY_BYTES: Final = 256 << 20
"""No body or reply is longer."""


class Form(Struct, Generic[W], frozen=True):
    """Where a kind of part keeps what belongs to the whole.

    Attributes:
        kind: the protobuf message.
        size: path of the field with the length of the whole.
        data: path of the field with the part's bytes.
        offset: path of the field that says from which byte on they follow; empty if there is none.
    """

    kind: type[W]
    size: str
    data: str
    offset: str = ""

    def first(self, head: W, size: int, data: Buffer) -> W:
        """A part with all fields of `head`."""
        part = self.part(data)
        part.MergeFrom(head)
        _put(part, self.size, size)
        return part

    def part(self, data: Buffer) -> W:
        part = self.kind()
        _put(part, self.data, bytes(data))
        return part


PART: Final = Form(pb.Part, "size", "data")
ENVELOPE: Final = Form(pb.Envelope, "body_size", "body")
SUBMISSION: Final = Form(pb.SubmitPart, "part.size", "part.data")
ENROLMENT: Final = Form(pb.EnrolPart, "head.size", "data", "offset")


def pieces(data: Buffer, offset: int = 0) -> Iterator[bytes]:
    """`data` from `offset` on, in pieces of one part each; one empty piece if nothing is left."""
    view = memoryview(data)
    for at in range(offset, max(len(view), offset + 1), PART_BYTES):
        yield bytes(view[at : at + PART_BYTES])


def cut(form: Form[W], head: W, size: int, data: Iterable[Buffer]) -> Iterator[W]:
    """The parts of a byte string; the first one bears `head` and the length of the whole, whichever offset
    `data` begins at."""
    parts = iter(data)
    yield form.first(head, size, next(parts, b""))
    yield from map(form.part, parts)


def split(form: Form[W], head: W, data: Buffer) -> Iterator[W]:
    return cut(form, head, len(data), pieces(data))


class Joiner(Generic[W]):
    """Checks parts as they come.

    Args:
        most: bytes of a whole that are accepted.
        least: the same from below; `most` if the length is known.
        offset: from which byte on the parts follow, if they do not say so themselves.
        check: looks at the first part before its data is read.

    Attributes:
        size: length of the whole; 0 before.
    """

    __slots__ = ("_check", "_first", "_form", "_left", "_range", "_step", "size")

    def __init__(
        self,
        form: Form[W],
        most: int,
        step: str,
        least: int = 1,
        offset: int = 0,
        check: Callable[[W], None] = lambda first: None,
    ) -> None:
        self._form = form
        self._step = step
        self._check = check
        self._range = least, most
        self._left = -offset
        self._first = True
        self.size = 0

    def begin(self, first: W | None) -> W:
        """Look at the first part, whose data `take` still has to see; the part; `ProtocolError` if there is
        none, or its size is none that is accepted."""
        least, most = self._range
        if first is None:
            raise self._broken("no part was sent")
        self._check(first)
        self.size = _of(first, self._form.size)
        if not least <= self.size <= most:
            raise self._broken(f"must be {least} to {most} bytes, not {self.size}", self._form.size)
        self._left += self.size - (_of(first, self._form.offset) if self._form.offset else 0)
        return first

    def take(self, part: W) -> bytes:
        """The data of a part; `ProtocolError` if it is empty, bears more than is left, or another field in a
        later part."""
        data: bytes = _of(part, self._form.data)
        if not self._first and part != self._form.part(data):
            raise self._broken("only the first part bears more than data")
        if not data and (self._left or not self._first):
            raise self._broken("a part must not be empty", self._form.data)
        if len(data) > self._left:
            raise self._broken(f"more than the {self.size} bytes announced", self._form.data)
        self._left = self._left - len(data)
        self._first = False
        return data

    def finish(self) -> None:
        """Check that all announced bytes came; `ProtocolError` if not."""
        if self._left:
            raise self._broken(f"truncated: {self._left} of {self.size} bytes missing", self._form.data)

    def _broken(self, rule: str, field: str | None = None) -> ProtocolError:
        return ProtocolError(self._step, rule, field)


def single(envelope: pb.Envelope, step: str) -> bytes:
    """The body of an envelope that is not one of several; `ProtocolError` if it says another size than it
    has."""
    if envelope.body_size not in (0, len(envelope.body)):
        raise ProtocolError(step, "must be the length of the body", "body_size")
    return envelope.body


def joined(joiner: Joiner[W], parts: Iterator[W]) -> Iterator[bytes]:
    """The data of `parts`. Raises what `joiner` raises; not the whole before it has come to its end."""
    yield joiner.take(joiner.begin(next(parts, None)))
    yield from map(joiner.take, parts)
    joiner.finish()


async def begun(joiner: Joiner[W], parts: AsyncIterator[W]) -> tuple[W, AsyncIterator[bytes]]:
    """The first of `parts`, and the data of all of them, its own included. Raises what `joiner` raises."""
    first = joiner.begin(await anext(parts, None))
    return first, _data(joiner, first, parts)


async def whole(data: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in data])


async def _data(joiner: Joiner[W], first: W, rest: AsyncIterator[W]) -> AsyncIterator[bytes]:
    yield joiner.take(first)
    async for part in rest:
        yield joiner.take(part)
    joiner.finish()


def _of(part: Wire, path: str) -> Any:
    return attrgetter(path)(part)


def _put(part: Wire, path: str, value: Any) -> None:
    *outer, name = path.split(".")
    setattr(reduce(getattr, outer, part), name, value)


ATTACHMENT_TAG: Final = b"blindmatch/messenger/attachment/v1"
"""Associated data of a sealed attachment."""

BLOB_ID_LENGTH: Final = 16


class AttachmentError(ProtocolError):
    """An attachment is not the one that the message names."""

    def __init__(self) -> None:
        super().__init__("attachment", "is not the one that the message names")


class AttachmentSealing:
    """Seals one attachment: iterate over `blob`, then ask for `ref`."""

    __slots__ = ("_blob_id", "_digest", "_key", "_length")

    def __init__(self, randomness: Randomness) -> None:
        """`randomness` gives 48 bytes: the key, and a blob id in place of the one the relay will assign."""
        self._key = randomness.take(KEY_LENGTH)
        self._blob_id = randomness.take(BLOB_ID_LENGTH)
        self._digest = hashlib.sha256()
        self._length = 0

    def blob(self, data: Iterable[bytes]) -> Iterator[bytes]:
        """The blob for the relay, piece by piece. To be called once."""
        sealing = Sealing(self._key, ATTACHMENT_TAG)
        for piece in data:
            self._digest.update(piece)
            self._length += len(piece)
            yield sealing.update(piece)
        for piece in padding_of(padded_attachment_length(self._length) - self._length - 1):
            yield sealing.update(piece)
        yield sealing.finish()

    def ref(self, media_type: str) -> AttachmentRef:
        """The reference for the message, once `blob` has come to its end."""
        return AttachmentRef(
            blob_id=self._blob_id,
            key=self._key,
            digest=self._digest.digest(),
            padded_size=padded_attachment_length(self._length),
            media_type=media_type,
        )


class AttachmentOpening:
    """Opens one blob piece by piece. What `update` gives is *not* authentic before `finish` has returned."""

    __slots__ = ("_digest", "_left", "_opening", "_ref", "_tag", "_unpadding")

    def __init__(self, ref: AttachmentRef) -> None:
        self._ref = ref
        self._opening = Opening(ref.key, ATTACHMENT_TAG)
        self._unpadding = AttachmentUnpadding()
        self._digest = hashlib.sha256()
        self._left = ref.padded_size
        self._tag = b""

    def update(self, piece: bytes) -> Iterator[bytes]:
        """What of the attachment follows from `piece`; to be iterated to its end before the next call."""
        sealed = piece[: self._left]
        tag = piece[self._left :]
        self._left -= len(sealed)
        self._tag += tag
        if len(self._tag) > TAG_LENGTH:
            raise AttachmentError
        for data in self._unpadding.update(self._opening.update(sealed)):
            self._digest.update(data)
            yield data

    def finish(self) -> None:
        """Check everything that went through `update`; `AttachmentError` if size, seal, padding or digest are
        not what the reference says."""
        try:
            self._opening.finish(self._tag)
            self._unpadding.finish(self._ref.padded_size)
        except ProtocolError as error:
            raise AttachmentError from error
        if self._left or not hmac.compare_digest(self._digest.digest(), self._ref.digest):
            raise AttachmentError


def opened(blob: Iterable[bytes], ref: AttachmentRef) -> Iterator[bytes]:
    """The attachment, piece by piece; not authentic before the iteration has come to its end;
    `AttachmentError` at the end, or when the blob turns out to be too long."""
    opening = AttachmentOpening(ref)
    for piece in blob:
        yield from opening.update(piece)
    opening.finish()


def verified(blob: Iterable[bytes], ref: AttachmentRef) -> Iterator[bytes]:
    """`blob` itself, passed on; raises as `opened` does, at the latest at its end."""
    opening = AttachmentOpening(ref)
    for piece in blob:
        for _ in opening.update(piece):
            pass
        yield piece
    opening.finish()


def open_attachment(blob: bytes, ref: AttachmentRef) -> bytes:
    """The attachment whose sealed form `blob` is; `AttachmentError` if size, seal, padding or digest are not
    what `ref` says."""
    return b"".join(opened(pieces(blob), ref))
