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

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from blindmatch_protocol.contract import Party
from blindmatch_protocol.cover import KEPT_MS, SLOT_SIZES, Slot, cover, fragment, seal_slot
from blindmatch_protocol.randomness import Randomness
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.methods import SUBMIT
from blindmatch_client.errors import DeviceError, MisbehavedError
from blindmatch_client.reporting import Reporting, WaitingReport
from blindmatch_client.store import Store
from blindmatch_client.trace import Purpose

LEAST_PERIOD_S: Final = 5
SLOT_DEADLINE_S: Final = 30.0
_LAST: Final = "cover/last_slot"
_SIZE: Final = "cover/size"
_OFFSET: Final = "cover/offset"
_RECEIVED: Final = "cover/fragment_received"


@dataclass(frozen=True, slots=True)
class CoverSchedule:
    """When slots are, and how large.

    Attributes:
        period_s: seconds from one to the next.
        size: bytes, one of `SLOT_SIZES`. A report larger than that takes several slots.

    Raises:
        DeviceError: if a value is out of range.
    """

    period_s: int
    size: int = SLOT_SIZES[1]

    def __post_init__(self) -> None:
        if self.period_s < LEAST_PERIOD_S or self.size not in SLOT_SIZES:
            sizes = ", ".join(map(str, SLOT_SIZES))
            raise DeviceError(f"a cover schedule has {LEAST_PERIOD_S} seconds or more and a size of {sizes}")


@dataclass(frozen=True, slots=True)
class _Next:
    """A fragment for the next slot, and of which report it is."""

    report: WaitingReport
    slot: Slot


@dataclass(slots=True)
class Cover:
    """Keeps one device's schedule."""

    schedule: CoverSchedule
    egress: Egress
    store: Store
    reporting: Reporting
    rng: Randomness
    clock_ms: Callable[[], int]
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
            self._note(*self._received.pop())

    def tick(self) -> bool:
        """Send the current slot's message unless that was done; whether it was done now.

        Raises:
            ServiceError: if the centre cannot be reached; the slot has passed all the same.
        """
        slot = (self.clock_ms() + self._offset()) // (self.schedule.period_s * 1000)
        number = slot.to_bytes(8, "big")
        last = self.store.get(_LAST)
        if last == number or not self.reporting.knows_key():
            self.prepare()
            return False
        self.store.put(_LAST, number)
        if last is None:  # in the middle of a slot: the schedule begins with the next one
            return False
        self._send()
        return True

    def _send(self) -> None:
        prepared, self._next = self._next, None
        received = self._submit(prepared.slot if prepared else cover(self.rng, self.schedule.size))
        if prepared:
            self._received.append((prepared, received))

    def _note(self, sent: _Next, received: int) -> None:
        """The centre has a fragment, and of those before as many as came in time."""
        before = self.store.get(_RECEIVED)
        with self.store.transaction():
            self.store.put(_RECEIVED, received.to_bytes(8, "big"))
            late = before is not None and received - int.from_bytes(before, "big") > KEPT_MS
            if late and sent.report.fragments_sent:
                self.reporting.forget_fragments()
            else:
                self.reporting.fragment_received(sent.report, sent.slot.count, received)

    def _submit(self, slot: Slot) -> int:
        """Hand a slot in under a random id; when the centre had it on disk."""
        slot_id = self.rng.take(16)
        sealed = seal_slot(slot, slot_id, self.reporting.centre_key())
        call = Call(Party.CENTRE, SUBMIT, Purpose.COVER, None, True, SLOT_DEADLINE_S)
        receipt = self.egress.upload(call, lambda: _parts(slot_id, sealed))
        if receipt.report_id != slot_id:
            raise MisbehavedError(Party.CENTRE, "a receipt names what was handed in")
        return receipt.received_at_ms

    def _keep_size(self) -> None:
        """Fragments of one size make a report: after a change of size all are sent once more."""
        size = self.schedule.size.to_bytes(4, "big")
        if self.store.get(_SIZE) != size:
            with self.store.transaction():
                self.reporting.forget_fragments()
                self.store.put(_SIZE, size)

    def _offset(self) -> int:
        """Milliseconds by which this device's slots are apart from others'."""
        kept = self.store.get(_OFFSET)
        if kept is None:
            kept = self.rng.take(8)
            self.store.put(_OFFSET, kept)
        return int.from_bytes(kept, "big") % (self.schedule.period_s * 1000)


def _parts(slot_id: bytes, sealed: bytes) -> Iterator[pb.SubmitPart]:
    yield pb.SubmitPart(report_id=slot_id, part=pb.Part(size=len(sealed), data=sealed))
