"""The device's side of the relay: pre-keys, sealed messages, sealed attachments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Final, TypeVar

from blindmatch_protocol.content import AttachmentRef
from blindmatch_protocol.contract import Party
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.ahead import batches
from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.methods import (
    ACKNOWLEDGE,
    DOWNLOAD,
    FETCH_BUNDLE,
    RECEIVE,
    REGISTER,
    SEND,
    UPLOAD,
)
from blindmatch_client.errors import MisbehavedError
from blindmatch_client.messenger import FetchedBundle, PreKeyPublication
from blindmatch_client.trace import Purpose
from blindmatch_client.transport import parts_of

T = TypeVar("T")

BLOB_DEADLINE_S: Final = 300.0
RECEIVE_MARGIN_S: Final = 60.0
RECEIVE_MOST_S: Final = 30.0
"""A stream that does not come to rest is left after so long, so that what came is shown."""

MOST_ACKNOWLEDGED: Final = 5000
SEAL_BYTES: Final = 32
"""A sealed attachment is so much longer than its padded form."""


class RelayClient:
    """Calls to the relay. Every method raises what `Egress` raises."""

    def __init__(self, egress: Egress, monotonic: Callable[[], float] = time.monotonic) -> None:
        """`monotonic`: seconds, as `time.monotonic` gives them."""
        self._egress = egress
        self._monotonic = monotonic

    def register(self, keys: PreKeyPublication) -> int:
        """Publish pre-keys in place of those before; how many one-time pre-keys the relay holds now."""
        request = pb.RegisterRequest(
            identity_key=keys.identity,
            signed_pre_key=keys.signed_pre_key,
            signed_pre_key_signature=keys.signature,
            one_time_pre_keys=keys.one_time,
        )
        call = Call(Party.PROVIDER, REGISTER, Purpose.ACCOUNT, idempotent=True)
        return self._egress.unary(call, request).one_time_pre_keys_held

    def fetch_bundle(self, account: str) -> FetchedBundle:
        """Another account's pre-keys. Never made again by itself, since each call uses one up."""
        call = Call(Party.PROVIDER, FETCH_BUNDLE, Purpose.ACCOUNT)
        bundle = self._egress.unary(call, pb.BundleRequest(account=account))
        return FetchedBundle(
            identity=bundle.identity_key,
            signed_pre_key=bundle.signed_pre_key,
            signature=bundle.signed_pre_key_signature,
            one_time=tuple(bundle.one_time_pre_keys),
        )

    def upload(self, size: int, blob: Callable[[], Iterator[bytes]], item: int | None) -> bytes:
        """Store a sealed attachment of `size` bytes; the id it got. One that nobody was told of expires.

        `blob` gives its bytes, and is called once for each attempt.
        """
        call = Call(Party.PROVIDER, UPLOAD, Purpose.MESSAGE, item, True, BLOB_DEADLINE_S)
        reply = self._egress.upload(call, lambda: _parts(size, blob()))
        if len(reply.blob_id) not in range(16, 33):
            raise MisbehavedError(Party.PROVIDER, "a blob id is 16 to 32 bytes")
        return reply.blob_id

    def download(self, attachment: AttachmentRef, take: Callable[[Iterator[bytes]], T]) -> T:
        """What `take` makes of a sealed attachment, which has exactly the size that the message says.

        `take` is called once for each attempt.
        """
        call = Call(Party.PROVIDER, DOWNLOAD, Purpose.MESSAGE, None, True, BLOB_DEADLINE_S)
        size = attachment.padded_size + SEAL_BYTES
        request = pb.DownloadRequest(blob_id=attachment.blob_id)
        return self._egress.stream(call, lambda: request, lambda parts: take(_checked(parts, size)))

    def send(self, recipient: str, message_id: bytes, sealed: bytes, item: int | None) -> int:
        """Hand a message over; when the relay accepted it. The id makes a second call harmless."""
        call = Call(Party.PROVIDER, SEND, Purpose.MESSAGE, item, idempotent=True)
        request = pb.SendRequest(recipient=recipient, message_id=message_id, sealed=sealed)
        return self._egress.unary(call, request).accepted_at_ms

    def receive(self, wait_ms: int, take: Callable[[Sequence[pb.Delivery]], None]) -> None:
        """Give `take` the messages that wait, and those that come until none came for `wait_ms`, as many
        together as came while it was busy; for `RECEIVE_MOST_S`, or a little longer."""

        def consume(deliveries: Iterator[pb.Delivery]) -> None:
            until = self._monotonic() + wait_ms / 1000 + RECEIVE_MOST_S
            with closing(batches(deliveries, pb.Delivery.ByteSize)) as ahead:
                for some in ahead:
                    take(some)
                    if self._monotonic() > until:
                        return

        deadline = RECEIVE_MARGIN_S + wait_ms / 1000
        call = Call(Party.PROVIDER, RECEIVE, Purpose.MESSAGE, None, True, deadline)
        self._egress.stream(call, lambda: pb.ReceiveRequest(wait_ms=wait_ms), consume)

    def acknowledge(self, sequences: Sequence[int]) -> None:
        """Tell the relay that these messages are on disk here."""
        call = Call(Party.PROVIDER, ACKNOWLEDGE, Purpose.MESSAGE, idempotent=True)
        for at in range(0, len(sequences), MOST_ACKNOWLEDGED):
            some = sequences[at : at + MOST_ACKNOWLEDGED]
            self._egress.unary(call, pb.AcknowledgeRequest(sequences=some))


def sized_parts(data: bytes) -> Iterator[pb.Part]:
    """`data` in parts, the first of which bears its size."""
    for number, part in enumerate(parts_of(data)):
        yield pb.Part(size=len(data) if number == 0 else 0, data=part)


def _parts(size: int, chunks: Iterator[bytes]) -> Iterator[pb.Part]:
    """Chunks of up to 512 KiB as parts, the first of which bears the whole size."""
    for number, chunk in enumerate(chunks):
        yield pb.Part(size=size if number == 0 else 0, data=chunk)


def _checked(parts: Iterator[pb.Part], size: int) -> Iterator[bytes]:
    """The data of `parts`, which must be `size` bytes together."""
    left = size
    for number, part in enumerate(parts):
        if part.size != (size if number == 0 else 0):
            raise MisbehavedError(Party.PROVIDER, "the first part, and no other, bears the blob's size")
        left -= len(part.data)
        if left < 0:
            break
        yield part.data
    if left:
        raise MisbehavedError(Party.PROVIDER, "a blob has the size that was announced")
