"""Reports and vouchers: what a picture's outcome owes the centre, sealed, kept, and handed in once.

Decided(Match | Flag) --ConfirmedMatch--> Report --HPKE--> kept --> Submit (same id and bytes) --> Receipt

On a cover schedule one message of one size goes to the centre at every slot's time:

    prepare --> next fragment of the oldest report, else nothing --(slot due?)--> tick: seal, Submit

That a slot is taken is saved before it is sent, so that none is sent twice; what was lost with it is sent
again in the next one. To read a report and to note that a fragment arrived takes milliseconds that cover does
not: both are done in `prepare`, apart from what leaves at a slot's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Final

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Fixed, Message, Nested, Text, UInt, Variable
from blindmatch_protocol.codec import Sequence as Several
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Outcome
from blindmatch_protocol.messages.parts import ENVELOPE, SUBMISSION, split
from blindmatch_protocol.messages.report import (
    KEPT_MS,
    MOST_PICTURE_BYTES,
    Report,
    Slot,
    cover,
    fragment,
    seal_report,
    seal_slot,
)
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import CENTRE_KEY, SUBMIT, SUBMIT_VOUCHER
from blindmatch_client.errors import (
    MisbehavedError,
    RefusedError,
    ReportRefusedError,
    ServiceError,
    StoreError,
)
from blindmatch_client.matching.detector import is_confirmed
from blindmatch_client.matching.matching import EPOCH_MOVED
from blindmatch_client.messenger.state import AccountKeeper
from blindmatch_client.settings import Base, Consequence, CoverSchedule
from blindmatch_client.store.outbox import Attached, Outgoing, SendState
from blindmatch_client.store.store_file import ALTERED, Files
from blindmatch_client.trace import Purpose


class ConfirmedMatch(Redacted, Struct, frozen=True):
    """A match, or a flag, that the device has checked by itself; `ReportRefusedError` for any other outcome,
    for a match that a filter alone says, for a label whose hash is not within the design's relation to the
    picture's own, and for a flag of a picture that is not of the design's category."""

    design: bm.AnyDesign
    epoch: int
    item: bm.Item
    number: int
    outcome: Outcome

    def __post_init__(self) -> None:
        if not isinstance(self.outcome, bm.Match | bm.Flag):
            raise ReportRefusedError("report refused: the outcome is neither a match nor a flag")
        if self.label.unconfirmed:
            raise ReportRefusedError("report refused: a filter alone says that the entry is there")
        if not is_confirmed(self.design.info.relation, self.item, self.outcome):
            raise ReportRefusedError(
                "report refused: the picture does not match the opened label, or is not of the category"
            )

    @property
    def label(self) -> bm.Label:
        """The entry's label; zeros for a flag."""
        return self.outcome.label if isinstance(self.outcome, bm.Match) else bm.NO_LABEL

    @property
    def score(self) -> bytes:
        """A flag's score; empty for a match."""
        return self.outcome.encode() if isinstance(self.outcome, bm.Flag) else b""


SUBMIT_DEADLINE_S: Final = 120.0
MOST_KEPT: Final = 64
"""Reports whose standing is kept; beyond that the oldest that was handed in goes."""
_REPORTS: Final = "reports"
SLOT_DEADLINE_S: Final = 30.0
_LAST: Final = "cover/last_slot"
_SIZE: Final = "cover/size"
_OFFSET: Final = "cover/offset"


class KeptReport(Message, tag=0xE8, name="device/report"):
    """A report that was made, and how far it is: times in Unix milliseconds, `received_at_ms` 0 while the
    centre has not all of it; `file` and its SHA-256 until then; `fragments_sent` in slots of a schedule."""

    report_id: Annotated[bytes, Fixed(16)]
    made_at_ms: Annotated[int, UInt(64)]
    received_at_ms: Annotated[int, UInt(64)]
    fragments_sent: Annotated[int, UInt(32)]
    item: Annotated[int, UInt(64)]
    file: Annotated[str, Text(64)]
    digest: Annotated[bytes, Variable(32)]


class _Reports(Message, tag=0xE9, name="device/reports"):
    """All of them, oldest first, and when a fragment of one arrived last; 0 before."""

    reports: Annotated[tuple[KeptReport, ...], Several(Nested(KeptReport), 1 << 16)]
    fragment_at_ms: Annotated[int, UInt(64)]


NO_REPORTS: Final = _Reports((), 0).encode()


class _Voucher(Message, tag=0xEA, name="device/voucher"):
    """A voucher that waits."""

    design: Annotated[str, Text(64)]
    version: Annotated[int, UInt(32)]
    epoch: Annotated[int, UInt(64)]
    item: Annotated[int, UInt(64)]
    body: Annotated[bytes, Variable(16 << 20)]


class Reporting:
    def __init__(self, base: Base, keeper: AccountKeeper, files: Files) -> None:
        centre = base.config.centre
        self._files = files
        self._keeper = keeper
        self._base = base
        self._store = base.store
        self._key = None if centre is None else centre.sealing

    def check_key(self) -> None:
        """Compare the centre's key with the configured one, which alone is ever used, and say whose key this
        account has; `ServiceError` if the centre cannot be reached or answers with another key. Every device
        does so when it registers, before there is anything to report."""
        if self._key is None:
            return
        call = Call(bm.Party.CENTRE, CENTRE_KEY, Purpose.ACCOUNT, idempotent=True)
        own = self._keeper.account
        request = pb.CentreKeyRequest(identity_key=own.identity, franking_key=own.franking_key.key)
        request.franking_key_signature = own.franking_key.signature
        if self._base.egress.unary(call, request).public_key != self._key:
            raise MisbehavedError(bm.Party.CENTRE, "its key must be the one this device was configured with")

    def owe(self, row: Outgoing, load: Callable[[Attached], tuple[bytes, Picture]]) -> bytes | None:
        """Queue the report or voucher that a message's outcome owes, one for a picture (`load` gives its file
        and itself) whatever the number of its recipients; the report's id if it is one. Nothing is sent;
        raises as `queue` if a report is owed that cannot be made."""
        attached = row.attached
        outcome = None if row.attached is None else row.attached.outcome
        if (
            attached is None
            or row.content is None
            or not isinstance(outcome, bm.Match | bm.Flag | bm.Voucher)
        ):
            return None
        if attached.owed:
            return None if isinstance(outcome, bm.Voucher) else attached.owed
        if self._base.config.consequence is not Consequence.REPORT:
            return None
        if isinstance(outcome, bm.Voucher):
            name = attached.owed = self._base.rng.take(16)
            info = self._base.design.info
            body = outcome.body.encode()
            kept = _Voucher(info.name, info.version, attached.epoch, attached.item, body).encode()
            self._store.run("INSERT INTO voucher VALUES (?1, sealed(?2, 'voucher.body', ?1))", name, kept)
            return None
        if isinstance(outcome, bm.Match) and outcome.label.unconfirmed:
            return None  # a filter's word is no evidence: nothing of the message leaves
        data, picture = load(attached)
        confirmed = ConfirmedMatch(self._base.design, attached.epoch, picture, attached.item, outcome)
        attached.owed = self.queue(confirmed, row, data, attached.matched_at_ms)
        return attached.owed

    def queue(self, confirmed: ConfirmedMatch, row: Outgoing, picture: bytes, matched_at_ms: int) -> bytes:
        """Seal and keep a report of a message and its picture; its id. Nothing is sent; `ReportRefusedError`
        if the centre's key is not known or the picture is too large for a report."""
        key = self.centre_key()
        if len(picture) > MOST_PICTURE_BYTES:
            raise ReportRefusedError(f"report refused: a picture is at most {MOST_PICTURE_BYTES} bytes")
        report = self._report(confirmed, row, picture, matched_at_ms)
        name = report.report_id
        sealed = seal_report(report, key)
        held = self._held()
        place = (self._files.write([sealed]), sha256(sealed).digest())
        made = KeptReport(name, self._base.clock_ms(), 0, 0, confirmed.number, *place)
        done = [one.report_id for one in held.reports if not one.file]
        dropped = done[: max(0, len(held.reports) - MOST_KEPT + 1)]
        kept = (one for one in held.reports if one.report_id not in dropped)
        self._put(replace(held, reports=(*kept, made)))
        return name

    def submit_owed(self, rows: Iterable[Outgoing]) -> None:
        """Hand in what is kept, if one of these messages may owe any of it; what has to wait waits."""
        outcomes = [row.attached.outcome for row in rows if row.attached and row.state is SendState.DONE]
        if any(isinstance(one, bm.Match | bm.Flag | bm.Voucher) for one in outcomes):
            self.submit_all()

    def submit_all(self, has_ended: Callable[[int], bool] = lambda epoch: False) -> list[ServiceError]:
        """Hand in what is kept, oldest first, but reports on a cover schedule; the errors of what has to
        wait. A voucher that the centre refuses for its epoch, which `has_ended`, is given up."""
        problems: list[ServiceError] = []
        rows = self._store.all("SELECT name, opened(body, 'voucher.body', name) FROM voucher ORDER BY rowid")
        waiting: list[Callable[[], None]] = [partial(self._submit_voucher, has_ended, *row) for row in rows]
        if self._base.config.cover is None:
            waiting += [partial(self._submit, one) for one in self._held().reports if one.file]
        for submit in waiting:
            try:
                submit()
            except ServiceError as error:
                problems.append(error)
        return problems

    def is_received(self, report_id: bytes) -> bool:
        return any(one.report_id == report_id and not one.file for one in self._held().reports)

    def is_waiting(self, report_id: bytes) -> bool:
        """Has the centre not acknowledged this report yet? What is not kept any more was handed in."""
        return any(one.report_id == report_id and one.file for one in self._held().reports)

    def centre_key(self) -> bytes:
        """The centre's key; `ReportRefusedError` if it is not known."""
        if self._key is None:
            raise ReportRefusedError("report refused: this device is configured without the centre's key")
        return self._key

    def oldest_report(self) -> tuple[KeptReport, bytes] | None:
        """The report that waits longest, and its sealed bytes."""
        one = next((one for one in self._held().reports if one.file), None)
        return None if one is None else (one, self._load(one))

    def fragment_received(self, report: KeptReport, count: int, at_ms: int) -> None:
        """The centre has one more fragment of `report`, of `count`, and of those before as many as came in
        time; with the last one it has the report."""
        held = self._held()
        sent = report.fragments_sent + 1
        late = held.fragment_at_ms and at_ms - held.fragment_at_ms > KEPT_MS and report.fragments_sent
        held = replace(held, fragment_at_ms=at_ms)
        if late:
            self._put(_begun_again(held))
        elif sent == count:
            self._received(held, report.report_id, at_ms, sent)
        else:
            self._put(_changed(held, report.report_id, fragments_sent=sent))

    def forget_fragments(self) -> None:
        """Begin again with the fragments of every report that is not handed in whole."""
        self._put(_begun_again(self._held()))

    def vouchers(self) -> int:
        """How many vouchers are not handed in yet."""
        (vouchers,) = self._store.one("SELECT count(*) FROM voucher") or (0,)
        return int(vouchers)

    def waiting(self) -> int:
        return self.vouchers() + len(self.list_files())

    def list_files(self) -> set[str]:
        return {one.file for one in self._held().reports if one.file}

    def standing(self) -> tuple[KeptReport, ...]:
        """The reports, oldest first; of those that were handed in the newest `MOST_KEPT`."""
        return self._held().reports

    def _report(self, confirmed: ConfirmedMatch, row: Outgoing, picture: bytes, matched_at_ms: int) -> Report:
        info = confirmed.design.info
        account = self._base.config.account
        told = row.disclose(account)
        proof = self._keeper.account.sender_proof(row.recipient, told.opening.commitment)
        return Report(
            report_id=self._base.rng.take(16),
            design=info.name,
            version=info.version,
            epoch=confirmed.epoch,
            label=confirmed.label,
            reporter=account,
            sender=told.sender,
            recipient=told.recipient,
            sent_at_ms=told.sent_at,
            matched_at_ms=matched_at_ms,
            media_type=told.attachment.media_type,
            opening=(told.opening,),
            picture=picture,
            score=confirmed.score,
            stamp=row.stamps[:1] if told.recipient else row.stamps[1:],
            sender_proof=() if proof is None else (proof,),
        )

    def _held(self) -> _Reports:
        return _Reports.decode(self._store.get(_REPORTS) or NO_REPORTS)

    def _put(self, reports: _Reports) -> None:
        self._store.put(_REPORTS, reports.encode())

    def _load(self, one: KeptReport) -> bytes:
        sealed = b"".join(self._files.chunks(one.file))
        if sha256(sealed).digest() != one.digest:
            raise StoreError(ALTERED)
        return sealed

    def _submit(self, one: KeptReport) -> None:
        call = Call(bm.Party.CENTRE, SUBMIT, Purpose.REPORT, one.item, True, SUBMIT_DEADLINE_S)
        received = self.hand_in(call, one.report_id, self._load(one))
        self._received(self._held(), one.report_id, received, 0)

    def _submit_voucher(self, has_ended: Callable[[int], bool], name: bytes, kept: bytes) -> None:
        one = _Voucher.decode(kept)
        head = pb.Envelope(design=one.design, version=one.version, epoch=one.epoch)
        call = Call(bm.Party.CENTRE, SUBMIT_VOUCHER, Purpose.VOUCHER, one.item, True, SUBMIT_DEADLINE_S)
        try:
            self._base.egress.upload(call, lambda: split(ENVELOPE, head, one.body))
        except RefusedError as error:
            if error.status != EPOCH_MOVED or not has_ended(one.epoch):
                raise
            self._store.run("DELETE FROM voucher WHERE name = ?", name)
            words = f"takes no voucher of epoch {one.epoch}, which has ended; it was given up"
            raise ServiceError(bm.Party.CENTRE, words) from error
        self._store.run("DELETE FROM voucher WHERE name = ?", name)

    def _received(self, held: _Reports, report_id: bytes, at_ms: int, fragments: int) -> None:
        told = {"received_at_ms": at_ms, "fragments_sent": fragments, "file": "", "digest": b""}
        self._put(_changed(held, report_id, **told))
        for one in held.reports:
            if one.report_id == report_id and one.file:
                self._files.remove(one.file)

    def hand_in(self, call: Call[pb.SubmitPart, pb.Receipt], name: bytes, sealed: bytes) -> int:
        """Submit something sealed under a name of 16 bytes; when it was on disk there. Raises as `Egress`."""
        head = pb.SubmitPart(report_id=name)
        receipt = self._base.egress.upload(call, lambda: split(SUBMISSION, head, sealed))
        if receipt.report_id != name:
            raise MisbehavedError(bm.Party.CENTRE, "a receipt names what was handed in")
        return receipt.received_at_ms


def _changed(held: _Reports, report_id: bytes, **values: Any) -> _Reports:
    kept = (replace(one, **values) if one.report_id == report_id else one for one in held.reports)
    return replace(held, reports=tuple(kept))


def _begun_again(held: _Reports) -> _Reports:
    kept = (replace(one, fragments_sent=0) if one.file else one for one in held.reports)
    return replace(held, reports=tuple(kept))


class Cover(Struct):
    """Keeps one device's schedule; what is `_next` or `_received` is a fragment, with its report."""

    schedule: CoverSchedule
    base: Base
    reporting: Reporting
    _next: tuple[KeptReport, Slot] | None = None
    _received: list[tuple[KeptReport, int, int]] = field(default_factory=list)

    def prepare(self) -> None:
        """Note what arrived, and read what the next slot will bear: to be called between slots."""
        self.note()
        if self._next is not None:
            return
        size = self.schedule.size.to_bytes(4, "big")
        if self.base.store.get(_SIZE) != size:
            # fragments of one size make a report: after a change of size all are sent once more
            with self.base.store.transaction():
                self.reporting.forget_fragments()
                self.base.store.put(_SIZE, size)
        waiting = self.reporting.oldest_report()
        if waiting is not None:
            report, sealed = waiting
            slot = fragment(sealed, report.report_id, report.fragments_sent, self.schedule.size)
            self._next = report, slot

    def note(self) -> None:
        """Note what arrived since this was called last."""
        while self._received:
            self.reporting.fragment_received(*self._received.pop())

    def tick(self) -> bool:
        """Send the current slot's message unless that was done; whether it was done now; `ServiceError` if
        the centre cannot be reached; the slot has passed all the same."""
        slot = (self.base.clock_ms() + self._offset()) // (self.schedule.period_s * 1000)
        number = slot.to_bytes(8, "big")
        last = self.base.store.get(_LAST)
        if last == number or self.base.config.centre is None:
            self.prepare()
            return False
        self.base.store.put(_LAST, number)
        if last is None:  # in the middle of a slot: the schedule begins with the next one
            return False
        prepared = self._next
        self._next = None
        made = prepared[1] if prepared else cover(self.base.rng, self.schedule.size)
        slot_id = self.base.rng.take(16)
        sealed = seal_slot(made, slot_id, self.reporting.centre_key())
        call = Call(bm.Party.CENTRE, SUBMIT, Purpose.COVER, None, True, SLOT_DEADLINE_S)
        received = self.reporting.hand_in(call, slot_id, sealed)
        if prepared:
            self._received.append((prepared[0], made.count, received))
        return True

    def _offset(self) -> int:
        """Milliseconds by which this device's slots are apart from others'."""
        kept = self.base.store.get(_OFFSET)
        if kept is None:
            kept = self.base.rng.take(8)
            self.base.store.put(_OFFSET, kept)
        return int.from_bytes(kept, "big") % (self.schedule.period_s * 1000)
