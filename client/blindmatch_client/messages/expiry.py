"""Messages that the relay deleted because nobody fetched them: their sender is told.

    device --after--> relay: what expired since, by ascending number; what the device has is deleted there
    each becomes an ended row (store/ended.py), saved with the number that is asked for next

What calls for it is the clock alone, once an hour: a device that was away asks at its first connection. It is
the relay's word, which could also name messages that came, or leave some out; whom a message was for the
device knows by itself while it keeps it (recovery.py). While `ROOM` of them were not shown to the user the
rest stays at the relay, so that it cannot drive other outcomes out.
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
_STATE: Final = "expired"
_TAG: Final = b"blindmatch/device/expired/1"


class Expiry(Struct, frozen=True):
    base: Base
    relay: RelayClient
    ended: EndedMessages
    recovery: Recovery

    def ask(self) -> None:
        """Ask the relay what expired, if that is due, and keep it; one that cannot be reached, or knows of no
        such call, is asked next time."""
        asked_at_ms, after = self._state()
        now = self.base.clock_ms()
        # a clock that was set back must not silence it for ever
        if asked_at_ms is not None and abs(now - asked_at_ms) < ASK_AFTER_MS:
            return
        with suppress(ServiceError):
            reply = self.relay.fetch_expired(after)
            # numbers that were not given out are of a relay that lost its database
            self._keep(reply.expired, min(after, reply.last), now)

    def _keep(self, expired: Sequence[pb.Expired], after: int, now: int) -> None:
        held = self.ended.all()
        room = min(ROOM - sum(one.state is EndState.EXPIRED for one in held), MOST_ENDED - len(held))
        taken = expired[: max(0, room)]
        with self.base.store.transaction():
            for one in taken:
                self._keep_one(one)
            reached = max([after, *(one.number for one in taken)])
            self.base.store.put(_STATE, now.to_bytes(8, "big") + reached.to_bytes(8, "big"))

    def _keep_one(self, one: pb.Expired) -> None:
        known = self.recovery.forget_expired(one.message_id)
        if known is not None and not known.by_user:
            return
        recipient = one.recipient if known is None else known.recipient
        # a name of its own: what came of its picture may not have been shown yet
        row = sha256(_TAG + one.message_id).digest()[: len(one.message_id)]
        self.ended.keep(
            Ended(
                number=0,
                row=row,
                message_id=one.message_id,
                queued_at_ms=one.accepted_at_ms,
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
