"""The device's cover schedule: at every slot's time one message of one size to the centre.

    prepare --> next fragment of the oldest report, else nothing --(slot due?)--> tick: seal, Submit

Slots are counted from a random offset of the device on. One that was missed, since the device was off, is
not made up for. That a slot is taken is saved before it is sent, so that none is sent twice; what was lost
with it is sent again in the next one. The centre forgets fragments of which it got no more for long: the
report then begins again.

To read a report and to note that a fragment arrived takes milliseconds that cover does not: both are done in
`prepare`, apart from what leaves at a slot's time. A slot that nothing was prepared for bears nothing.
"""

from __future__ import annotations

from typing import Final

from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.cover import Slot, cover, fragment, seal_slot
from msgspec import Struct, field

from blindmatch_client.egress import Call
from blindmatch_client.egress.methods import SUBMIT
from blindmatch_client.reports.reporting import Reporting, WaitingReport
from blindmatch_client.settings.base import Base
from blindmatch_client.settings.config import CoverSchedule
from blindmatch_client.trace import Purpose

SLOT_DEADLINE_S: Final = 30.0
_LAST: Final = "cover/last_slot"
_SIZE: Final = "cover/size"
_OFFSET: Final = "cover/offset"


class _Next(Struct, frozen=True):
    """A fragment for the next slot, and of which report it is."""

    report: WaitingReport
    slot: Slot


class Cover(Struct):
    """Keeps one device's schedule."""

    schedule: CoverSchedule
    base: Base
    reporting: Reporting
    _next: _Next | None = None
    _received: list[tuple[_Next, int]] = field(default_factory=list)

    def prepare(self) -> None:
        """Note what arrived, and read what the next slot will bear: to be called between slots."""
        self.note()
        if self._next is not None:
            return
        self._keep_size()
        waiting = self.reporting.oldest_report()
        if waiting is not None:
            sent = waiting.fragments_sent
            slot = fragment(waiting.body, waiting.report_id, sent, self.schedule.size)
            self._next = _Next(waiting, slot)

    def note(self) -> None:
        """Note what arrived since this was called last."""
        while self._received:
            sent, received = self._received.pop()
            self.reporting.fragment_received(sent.report, sent.slot.count, received)

    def tick(self) -> bool:
        """Send the current slot's message unless that was done; whether it was done now.

        Raises:
            ServiceError: if the centre cannot be reached; the slot has passed all the same.
        """
        slot = (self.base.clock_ms() + self._offset()) // (self.schedule.period_s * 1000)
        number = slot.to_bytes(8, "big")
        last = self.base.store.get(_LAST)
        if last == number or not self.reporting.knows_key():
            self.prepare()
            return False
        self.base.store.put(_LAST, number)
        if last is None:  # in the middle of a slot: the schedule begins with the next one
            return False
        self._send()
        return True

    def _send(self) -> None:
        prepared, self._next = self._next, None
        received = self._submit(prepared.slot if prepared else cover(self.base.rng, self.schedule.size))
        if prepared:
            self._received.append((prepared, received))

    def _submit(self, slot: Slot) -> int:
        """Hand a slot in under a random id; when the centre had it on disk."""
        slot_id = self.base.rng.take(16)
        sealed = seal_slot(slot, slot_id, self.reporting.centre_key())
        call = Call(Party.CENTRE, SUBMIT, Purpose.COVER, None, True, SLOT_DEADLINE_S)
        return self.reporting.hand_in(call, slot_id, sealed)

    def _keep_size(self) -> None:
        """Fragments of one size make a report: after a change of size all are sent once more."""
        size = self.schedule.size.to_bytes(4, "big")
        if self.base.store.get(_SIZE) != size:
            with self.base.store.transaction():
                self.reporting.forget_fragments()
                self.base.store.put(_SIZE, size)

    def _offset(self) -> int:
        """Milliseconds by which this device's slots are apart from others'."""
        kept = self.base.store.get(_OFFSET)
        if kept is None:
            kept = self.base.rng.take(8)
            self.base.store.put(_OFFSET, kept)
        return int.from_bytes(kept, "big") % (self.schedule.period_s * 1000)
