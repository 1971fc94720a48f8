"""Talk to the relay: publish and renew pre-keys, send and fetch sealed messages and attachments.

Keys are saved before they are published. When they are published depends on the clock, on the relay's last
answer, and on the one-time pre-keys used since: never on what was sent or matched.
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
"""A stream that never pauses is left after this time, so that what came is shown."""

MOST_TOGETHER_BYTES: Final = 1 << 20
"""Bytes of deliveries that are gathered, while more follow, before they are taken together."""

MOST_AHEAD_BYTES: Final = 4 << 20
"""Bytes of messages that the relay sends before it is asked for more."""

MOST_ACKNOWLEDGED: Final = 5000
_LATEST_MS: Final = 253_402_300_800_000
"""The year 10000, which `datetime` cannot show."""

_CLEAR: Final = bytes([ClearMessage.TAG])
SEAL_BYTES: Final = 32
"""Bytes by which a sealed attachment is longer than its padded form."""


class RelayClient:
    """Calls to the relay. Every method raises what `Egress` raises."""

    def __init__(
        self, egress: Egress, monotonic: Callable[[], float] = time.monotonic, clear: bool = False
    ) -> None:
        """Take the way to the relay.

        Args:
            monotonic: Returns seconds, as `time.monotonic`.
            clear: True if the design has no end-to-end encryption.
        """
        self._egress = egress
        self._clear = clear
        self._monotonic = monotonic

    def register(self, keys: PreKeys) -> int:
        """Publish pre-keys in place of those before; return how many one-time ones the relay holds now."""
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
        """Fetch another account's pre-keys. It is never retried, since each call uses up one of them."""
        call = Call(Party.PROVIDER, calls.FETCH_BUNDLE, Purpose.ACCOUNT)
        bundle = self._egress.unary(call, pb.BundleRequest(account=account))
        franking_key = FrankingKey(bundle.franking_key, bundle.franking_key_signature)
        return PreKeys(
            identity=bundle.identity_key,
            signed_pre_key=bundle.signed_pre_key,
            signature=bundle.signed_pre_key_signature,
            one_time=tuple(bundle.one_time_pre_keys),
            franking_key=() if not bundle.franking_key else (franking_key,),
        )

    def upload(self, size: int, blob: Callable[[], Iterator[bytes]], item: int | None) -> bytes:
        """Store a sealed attachment, and return its id. It expires if no message names it.

        Args:
            size: Its length in bytes.
            blob: Returns its content; called once for each attempt.
            item: Number of its picture, or None.
        """
        call = Call(Party.PROVIDER, calls.UPLOAD, Purpose.MESSAGE, item, True, BLOB_DEADLINE_S)
        reply = self._egress.upload(call, lambda: cut(PART, pb.Part(), size, blob()))
        if len(reply.blob_id) not in range(16, 33):
            raise MisbehavedError(Party.PROVIDER, "a blob id is 16 to 32 bytes")
        return reply.blob_id

    def download(self, attachment: AttachmentRef, take: Callable[[Iterator[bytes]], T]) -> T:
        """Fetch a sealed attachment of the size that the message says.

        Returns:
            What `take` returns for its content; it is called once for each attempt.
        """
        call = Call(Party.PROVIDER, calls.DOWNLOAD, Purpose.MESSAGE, None, True, BLOB_DEADLINE_S)
        size = attachment.padded_size + SEAL_BYTES
        request = pb.DownloadRequest(blob_id=attachment.blob_id)

        def consume(parts: Iterator[pb.Part]) -> T:
            return take(received(call.party, Joiner(PART, size, "attachment", size), parts))

        return self._egress.stream(call, lambda: request, consume)

    def send(self, recipient: str, message_id: bytes, body: bytes, item: int | None) -> tuple[Stamp, ...]:
        """Hand a message over. Its id makes a second call harmless.

        Returns:
            The relay's stamps on it; the second names no recipient.

        Raises:
            DesignError: It is in the clear though the design is end-to-end encrypted, or the reverse.
        """
        if body.startswith(_CLEAR) is not self._clear:
            raise DesignError("a message is sent end-to-end encrypted or in the clear as the design declares")
        call = Call(Party.PROVIDER, calls.SEND, Purpose.MESSAGE, item, idempotent=True)
        request = pb.SendRequest(recipient=recipient, message_id=message_id)
        if self._clear:
            request.clear = body
        else:
            request.sealed = body
        reply = self._egress.unary(call, request)
        macs = (reply.stamp, reply.group_stamp)
        stamps = [build_stamp(message_id, reply.accepted_at_ms, mac) for mac in macs]
        return tuple(stamp for stamp in stamps if stamp is not None)

    def receive(self, wait_ms: int, take: Callable[[Sequence[pb.Delivery]], None]) -> None:
        """Give `take` the messages that wait, and those that come until none came for `wait_ms`.

        Messages that the relay says follow at once are taken together. It returns after `RECEIVE_MOST_S`, or
        a little later, even if messages keep coming.
        """
        until = self._monotonic() + wait_ms / 1000 + RECEIVE_MOST_S

        def consume(batches: Iterator[list[pb.Delivery]]) -> int:
            received_bytes = 0
            held_bytes = 0
            held: list[pb.Delivery] = []
            try:
                for batch in batches:
                    _check_deliveries(batch)
                    held += batch
                    received_bytes += sum(len(delivery.sealed) + len(delivery.clear) for delivery in batch)
                    held_bytes += sum(delivery.ByteSize() for delivery in batch)
                    if not held[-1].more or held_bytes >= MOST_TOGETHER_BYTES:
                        together = held
                        # emptied before `take`, which may fail: `finally` must not give them once more
                        held = []
                        held_bytes = 0
                        take(together)
                    if self._monotonic() > until:
                        return 0
                return received_bytes
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
            part = sequences[at : at + MOST_ACKNOWLEDGED]
            self._egress.unary(call, pb.AcknowledgeRequest(sequences=part))

    def fetch_expired(self, after: int) -> pb.ExpiredReply:
        """Fetch which messages of this account expired, numbered above `after`.

        The relay deletes its notes up to `after`.
        """
        call = Call(Party.PROVIDER, calls.FETCH_EXPIRED, Purpose.MESSAGE, idempotent=True)
        reply = self._egress.unary(call, pb.ExpiredRequest(after=after))
        last = after if after <= reply.last else 0
        for expired in reply.expired:
            if not last < expired.number <= reply.last < 1 << 63:
                raise MisbehavedError(Party.PROVIDER, "numbers of expired messages go up, to the last one")
            if len(expired.message_id) != MESSAGE_ID_LENGTH or expired.accepted_at_ms >= _LATEST_MS:
                raise MisbehavedError(Party.PROVIDER, "an expired message has an id and a time")
            if not is_user(expired.recipient):
                raise MisbehavedError(Party.PROVIDER, "an expired message was for an account")
            last = expired.number
        return reply


def build_stamp(message_id: bytes, accepted_at_ms: int, mac: bytes) -> Stamp | None:
    """Build a stamp from what the relay gives; None if it gives none, or a malformed one."""
    if len(message_id) != MESSAGE_ID_LENGTH or len(mac) != MAC_LENGTH:
        return None
    return Stamp(message_id, accepted_at_ms, mac)


def _check_deliveries(deliveries: Sequence[pb.Delivery]) -> None:
    for delivery in deliveries:
        if (
            max(delivery.sequence, delivery.accepted_at_ms) >= 1 << 63
            or len(delivery.sender.encode()) > NAME_MOST
        ):
            raise MisbehavedError(Party.PROVIDER, "sequence and time are below 2^63, a sender has a name")


HOUR_MS: Final = 60 * 60 * 1000
ROTATE_AFTER_MS: Final = 7 * 24 * HOUR_MS
"""Age of a signed pre-key at which it is replaced (X3DH, section 2.4: "once a week, or once a month")."""

LOOK_AFTER_MS: Final = 6 * HOUR_MS
"""Time between publications of the pre-keys, which also tell how many one-time ones the relay holds."""

FEW: Final = 25
"""One-time pre-keys below which new ones are made."""
_PUBLISHED: Final = "pre_keys_published"


class Upkeep(Struct, frozen=True):
    """Publishes an account's pre-keys and renews them."""

    keeper: AccountKeeper
    store: Store
    relay: RelayClient
    clock_ms: Callable[[], int]

    def publish(self) -> int:
        """Publish the pre-keys, renewed as far as due; return how many one-time ones the relay holds."""
        now = self.clock_ms()
        # a clock that was set back must not keep an old key for ever
        if abs(now - self.keeper.account.rotated_at) > ROTATE_AFTER_MS:
            with self.keeper.saving() as account:
                account.rotate_signed_pre_key(now)
        held = self._register(now)
        if held < FEW and self._renew_one_time(held):
            held = self._register(now)
        left = self.keeper.account.one_time_left
        self.store.put(_PUBLISHED, now.to_bytes(8, "big") + left.to_bytes(4, "big"))
        return held

    @property
    def is_published(self) -> bool:
        """True once the relay has taken them."""
        return self.store.get(_PUBLISHED) is not None

    def is_due(self) -> bool:
        """Tell if it is time to publish them again; False before they were published first."""
        kept = self.store.get(_PUBLISHED)
        if kept is None:
            return False
        published_at_ms = int.from_bytes(kept[:8], "big")
        left_then = int.from_bytes(kept[8:], "big")
        used = left_then - self.keeper.account.one_time_left
        return used > ONE_TIME_PRE_KEYS - FEW or abs(self.clock_ms() - published_at_ms) > LOOK_AFTER_MS

    def hasten(self) -> None:
        """Make `publish` due."""
        if self.is_published:
            self.store.put(_PUBLISHED, bytes(12))  # published in 1970

    def _register(self, now: int) -> int:
        held = self.relay.register(self.keeper.account.get_published_keys())
        with self.keeper.saving() as account:
            account.note_published(now)
        return held

    def _renew_one_time(self, held: int) -> bool:
        """Make new one-time pre-keys in place of the `held` ones; return False if there is no room for more.

        Those that were handed out and not used take room: a message under way may still use them.
        """
        count = min(ONE_TIME_PRE_KEYS, ONE_TIME_MOST - self.keeper.account.one_time_kept)
        if 0 < held >= count:
            return False
        with self.keeper.saving() as account:
            account.withdraw_one_time_pre_keys()
            account.add_one_time_pre_keys(count)
        return True
