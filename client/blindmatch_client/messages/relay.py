"""The device's side of the relay: pre-keys and their upkeep, sealed messages, sealed attachments.

Keys are saved before they are published. What calls for it is the clock, what the relay said last, and how
many one-time pre-keys were used since: never what was sent or matched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from blindmatch_protocol.account_name import is_user
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.content import NAME_MOST, AttachmentRef, ClearMessage
from blindmatch_protocol.messages.franking import MAC_LENGTH, MESSAGE_ID_LENGTH, Stamp
from blindmatch_protocol.messages.parts import PART, Joiner, cut
from blindmatch_protocol.messages.sealed_message import FrankingKey
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_client.egress import Call, Egress, calls, received
from blindmatch_client.errors import MisbehavedError
from blindmatch_client.messenger.state import (
    ONE_TIME_MOST,
    ONE_TIME_PRE_KEYS,
    AccountKeeper,
    PreKeys,
)
from blindmatch_client.store.store import Store
from blindmatch_client.trace import Purpose

T = TypeVar("T")

BLOB_DEADLINE_S: Final = 300.0
RECEIVE_MARGIN_S: Final = 60.0
RECEIVE_MOST_S: Final = 30.0
"""A stream that does not come to rest is left after so long, so that what came is shown."""

MOST_TOGETHER_BYTES: Final = 1 << 20
"""Of messages, with all that is said of them, that wait for those that follow."""

MOST_AHEAD_BYTES: Final = 4 << 20
"""The relay sends so many bytes of messages before it is asked for more."""

MOST_ACKNOWLEDGED: Final = 5000
_LATEST_MS: Final = 253_402_300_800_000
"""The year 10000, which no date that is shown reaches."""

_CLEAR: Final = bytes([ClearMessage.TAG])
SEAL_BYTES: Final = 32
"""A sealed attachment is so much longer than its padded form."""


class RelayClient:
    """Calls to the relay. Every method raises what `Egress` raises."""

    def __init__(
        self, egress: Egress, monotonic: Callable[[], float] = time.monotonic, clear: bool = False
    ) -> None:
        """`monotonic`: seconds, as `time.monotonic` gives them. `clear`: whether the design has no end-to-end
        encryption."""
        self._egress = egress
        self._clear = clear
        self._monotonic = monotonic

    def register(self, keys: PreKeys) -> int:
        """Publish pre-keys in place of those before; how many one-time pre-keys the relay holds now."""
        (own,) = keys.franking_key
        request = pb.RegisterRequest(
            identity_key=keys.identity,
            signed_pre_key=keys.signed_pre_key,
            signed_pre_key_signature=keys.signature,
            one_time_pre_keys=keys.one_time,
            franking_key=own.key,
            franking_key_signature=own.signature,
        )
        call = Call(Party.PROVIDER, calls.REGISTER, Purpose.ACCOUNT, idempotent=True)
        return self._egress.unary(call, request).one_time_pre_keys_held

    def fetch_bundle(self, account: str) -> PreKeys:
        """Another account's pre-keys. Never made again by itself, since each call uses one up."""
        call = Call(Party.PROVIDER, calls.FETCH_BUNDLE, Purpose.ACCOUNT)
        bundle = self._egress.unary(call, pb.BundleRequest(account=account))
        shown = FrankingKey(bundle.franking_key, bundle.franking_key_signature)
        return PreKeys(
            identity=bundle.identity_key,
            signed_pre_key=bundle.signed_pre_key,
            signature=bundle.signed_pre_key_signature,
            one_time=tuple(bundle.one_time_pre_keys),
            franking_key=() if not bundle.franking_key else (shown,),
        )

    def upload(self, size: int, blob: Callable[[], Iterator[bytes]], item: int | None) -> bytes:
        """Store a sealed attachment of `size` bytes, which `blob` gives for each attempt; the id it got. One
        that nobody was told of expires."""
        call = Call(Party.PROVIDER, calls.UPLOAD, Purpose.MESSAGE, item, True, BLOB_DEADLINE_S)
        reply = self._egress.upload(call, lambda: cut(PART, pb.Part(), size, blob()))
        if len(reply.blob_id) not in range(16, 33):
            raise MisbehavedError(Party.PROVIDER, "a blob id is 16 to 32 bytes")
        return reply.blob_id

    def download(self, attachment: AttachmentRef, take: Callable[[Iterator[bytes]], T]) -> T:
        """What `take`, called for each attempt, makes of a sealed attachment of the size that the message
        says."""
        call = Call(Party.PROVIDER, calls.DOWNLOAD, Purpose.MESSAGE, None, True, BLOB_DEADLINE_S)
        size = attachment.padded_size + SEAL_BYTES
        request = pb.DownloadRequest(blob_id=attachment.blob_id)

        def consume(parts: Iterator[pb.Part]) -> T:
            return take(received(call.party, Joiner(PART, size, "attachment", size), parts))

        return self._egress.stream(call, lambda: request, consume)

    def send(self, recipient: str, message_id: bytes, body: bytes, item: int | None) -> tuple[Stamp, ...]:
        """Hand a message over; the relay's stamps on it, the second of which names no recipient. The id makes
        a second call harmless; `DesignError` if it is in the clear where the design is end-to-end encrypted,
        or the reverse."""
        if body.startswith(_CLEAR) is not self._clear:
            raise DesignError("a message is sent end-to-end encrypted or in the clear as the design declares")
        call = Call(Party.PROVIDER, calls.SEND, Purpose.MESSAGE, item, idempotent=True)
        request = pb.SendRequest(recipient=recipient, message_id=message_id)
        if self._clear:
            request.clear = body
        else:
            request.sealed = body
        reply = self._egress.unary(call, request)
        macs = reply.stamp, reply.group_stamp
        stamps = [stamp_of(message_id, reply.accepted_at_ms, mac) for mac in macs]
        return tuple(one for one in stamps if one is not None)

    def receive(self, wait_ms: int, take: Callable[[Sequence[pb.Delivery]], None]) -> None:
        """Give `take` the messages that wait, and those that come until none came for `wait_ms`, together
        what came while something else was asked and what the relay says follows at once; for
        `RECEIVE_MOST_S`, or a little longer."""

        until = self._monotonic() + wait_ms / 1000 + RECEIVE_MOST_S

        def consume(batches: Iterator[list[pb.Delivery]]) -> int:
            size = together = 0
            held: list[pb.Delivery] = []
            try:
                for some in batches:
                    _check(some)
                    held += some
                    size += sum(len(delivery.sealed) + len(delivery.clear) for delivery in some)
                    together += sum(delivery.ByteSize() for delivery in some)
                    if not held[-1].more or together >= MOST_TOGETHER_BYTES:
                        some = held
                        held = []
                        together = 0
                        take(some)
                    if self._monotonic() > until:
                        return 0
                return size
            finally:
                if held:
                    take(held)

        deadline = RECEIVE_MARGIN_S + wait_ms / 1000
        call = Call(Party.PROVIDER, calls.RECEIVE, Purpose.MESSAGE, None, True, deadline)
        request = pb.ReceiveRequest(wait_ms=wait_ms, most_bytes=MOST_AHEAD_BYTES)
        while self._egress.listen(call, request, consume) >= MOST_AHEAD_BYTES:
            continue

    def acknowledge(self, sequences: Sequence[int]) -> None:
        call = Call(Party.PROVIDER, calls.ACKNOWLEDGE, Purpose.MESSAGE, idempotent=True)
        for at in range(0, len(sequences), MOST_ACKNOWLEDGED):
            some = sequences[at : at + MOST_ACKNOWLEDGED]
            self._egress.unary(call, pb.AcknowledgeRequest(sequences=some))

    def fetch_expired(self, after: int) -> pb.ExpiredReply:
        """Messages of this account's that nobody fetched in time, numbered above `after`; what is up to there
        is deleted."""
        call = Call(Party.PROVIDER, calls.FETCH_EXPIRED, Purpose.MESSAGE, idempotent=True)
        reply = self._egress.unary(call, pb.ExpiredRequest(after=after))
        last = after if after <= reply.last else 0
        for one in reply.expired:
            if not last < one.number <= reply.last < 1 << 63:
                raise MisbehavedError(Party.PROVIDER, "numbers of expired messages go up, to the last one")
            if len(one.message_id) != MESSAGE_ID_LENGTH or one.accepted_at_ms >= _LATEST_MS:
                raise MisbehavedError(Party.PROVIDER, "an expired message has an id and a time")
            if not is_user(one.recipient):
                raise MisbehavedError(Party.PROVIDER, "an expired message was for an account")
            last = one.number
        return reply


def stamp_of(message_id: bytes, accepted_at_ms: int, mac: bytes) -> Stamp | None:
    """A stamp as the relay gives it; None if it gives none, or one that has not the form of one."""
    if len(message_id) != MESSAGE_ID_LENGTH or len(mac) != MAC_LENGTH:
        return None
    return Stamp(message_id, accepted_at_ms, mac)


def _check(some: Sequence[pb.Delivery]) -> None:
    for delivery in some:
        if (
            max(delivery.sequence, delivery.accepted_at_ms) >= 1 << 63
            or len(delivery.sender.encode()) > NAME_MOST
        ):
            raise MisbehavedError(Party.PROVIDER, "sequence and time are below 2^63, a sender has a name")


HOUR_MS: Final = 60 * 60 * 1000
ROTATE_AFTER_MS: Final = 7 * 24 * HOUR_MS
"""Age of a signed pre-key at which it is replaced (X3DH, section 2.4: "once a week, or once a month")."""

LOOK_AFTER_MS: Final = 6 * HOUR_MS
"""So often the relay is asked how many one-time pre-keys it holds, by publishing them again."""

FEW: Final = 25
_PUBLISHED: Final = "pre_keys_published"


class Upkeep(Struct, frozen=True):
    keeper: AccountKeeper
    store: Store
    relay: RelayClient
    clock_ms: Callable[[], int]

    def publish(self) -> int:
        """Publish the pre-keys, renewed as far as that is due; how many one-time ones the relay holds."""
        now = self.clock_ms()
        # a clock that was set back must not keep an old key for ever
        if abs(now - self.keeper.account.rotated_at) > ROTATE_AFTER_MS:
            with self.keeper.saving() as account:
                account.rotate_signed_pre_key(now)
        held = self._register(now)
        if held < FEW and self._replace(held):
            held = self._register(now)
        left = self.keeper.account.one_time_left
        self.store.put(_PUBLISHED, now.to_bytes(8, "big") + left.to_bytes(4, "big"))
        return held

    @property
    def published(self) -> bool:
        """Has the relay ever taken them?"""
        return self.store.get(_PUBLISHED) is not None

    def is_due(self) -> bool:
        kept = self.store.get(_PUBLISHED)
        if kept is None:
            return False
        at = int.from_bytes(kept[:8], "big")
        left = int.from_bytes(kept[8:], "big")
        used = left - self.keeper.account.one_time_left
        return used > ONE_TIME_PRE_KEYS - FEW or abs(self.clock_ms() - at) > LOOK_AFTER_MS

    def hasten(self) -> None:
        """Make it time to `publish` again."""
        if self.published:
            self.store.put(_PUBLISHED, bytes(12))

    def _register(self, now: int) -> int:
        held = self.relay.register(self.keeper.account.published())
        with self.keeper.saving() as account:
            account.note_published(now)
        return held

    def _replace(self, held: int) -> bool:
        """Make new ones in place of those `held`, as far as those handed out and not used leave room."""
        count = min(ONE_TIME_PRE_KEYS, ONE_TIME_MOST - self.keeper.account.one_time_kept)
        if 0 < held >= count:
            return False
        with self.keeper.saving() as account:
            account.withdraw_one_time_pre_keys()
            account.add_one_time_pre_keys(count)
        return True
