"""Ask the relay which messages of this account expired unfetched, and tell the user.

    device --after--> relay: what expired since, by ascending number; it deletes its notes up to `after`
    each becomes an ended row (store/ended.py), saved with the number to ask from next time

The clock alone decides when to ask, once an hour; a device that was away asks at its first connection. A
lying relay could also name messages that were fetched, or leave some out. The recipient is taken from the
device's own copy of the message while that is kept (recovery.py). Once `ROOM` expired messages wait to be
shown, the rest stays at the relay, so that it cannot push other outcomes out of the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Final

from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_client.errors import ServiceError
from blindmatch_client.messages.notices import OutcomeKind
from blindmatch_client.messages.recovery import Recovery
from blindmatch_client.messages.relay import HOUR_MS, RelayClient
from blindmatch_client.settings import Base
from blindmatch_client.store.ended import MOST_ENDED, Ended, EndedMessages, EndState

ASK_AFTER_MS: Final = HOUR_MS
ROOM: Final = 256
"""Most expired messages that wait on the device to be shown."""
_STATE: Final = "expired"
_TAG: Final = b"blindmatch/device/expired/1"


class Expiry(Struct, frozen=True):
    """Asks the relay what expired, and keeps that for the user."""

    base: Base
    relay: RelayClient
    ended: EndedMessages
    recovery: Recovery

    def ask(self) -> None:
        """Ask the relay what expired, if that is due, and keep it.

        A relay that cannot be reached, or has no such call, is asked again next time.
        """
        asked_at_ms, after = self._state()
        now = self.base.clock_ms()
        # a clock that was set back must not stop the asking for ever
        if asked_at_ms is not None and abs(now - asked_at_ms) < ASK_AFTER_MS:
            return
        with suppress(ServiceError):
            reply = self.relay.fetch_expired(after)
            # a relay that lost its database counts from the start again
            self._keep(reply.expired, min(after, reply.last), now)

    def _keep(self, expired: Sequence[pb.Expired], after: int, now: int) -> None:
        held = self.ended.all()
        held_expired = sum(ended.state is EndState.EXPIRED for ended in held)
        room = min(ROOM - held_expired, MOST_ENDED - len(held))
        taken = expired[: max(0, room)]
        with self.base.store.transaction():
            for message in taken:
                self._keep_one(message)
            reached = max([after, *(message.number for message in taken)])
            self.base.store.put(_STATE, now.to_bytes(8, "big") + reached.to_bytes(8, "big"))

    def _keep_one(self, message: pb.Expired) -> None:
        known = self.recovery.forget_expired(message.message_id)
        if known is not None and not known.by_user:
            return
        recipient = message.recipient if known is None else known.recipient
        # a row of its own: what came of the message's picture may not have been shown yet
        row = sha256(_TAG + message.message_id).digest()[: len(message.message_id)]
        self.ended.keep(
            Ended(
                number=0,
                row=row,
                message_id=message.message_id,
                queued_at_ms=message.accepted_at_ms,
                recipient=recipient,
                state=EndState.EXPIRED,
                outcome=OutcomeKind.EXPIRED,
            )
        )

    def _state(self) -> tuple[int | None, int]:
        """Return when the relay was asked last, None before, and the highest number that is kept."""
        kept = self.base.store.get(_STATE)
        if kept is None:
            return None, 0
        return int.from_bytes(kept[:8], "big"), int.from_bytes(kept[8:], "big")
