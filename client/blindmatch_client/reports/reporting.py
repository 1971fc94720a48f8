"""Make the report or voucher that an outcome calls for, seal it, keep it, and hand it in once.

Decided(Match | Flag) --ConfirmedMatch--> Report --HPKE--> kept --> Submit (same id and bytes) --> Receipt

On a cover schedule one message of one size goes to the centre in every slot:

    prepare --> next fragment of the oldest report, else cover --(slot due?)--> tick: seal, Submit

The device saves that a slot is used before it sends anything in it, so that no slot is used twice; a fragment
that was lost is sent again in the next slot. Reading a report, and noting that a fragment arrived, take
milliseconds that cover does not. Both are done in `prepare`, so that they do not delay a slot's message.
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
    """A match, or a flag, that the device has checked by itself.

    Making one raises `ReportRefusedError` for

    - any other outcome,
    - a match that a filter alone shows,
    - a label whose hash is not within the design's relation to the picture's own,
    - a flag of a picture that is not of the design's category.
    """

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
"""Reports that are kept on record; beyond that the oldest that was handed in is dropped."""
_REPORTS: Final = "reports"
SLOT_DEADLINE_S: Final = 30.0
_LAST: Final = "cover/last_slot"
_SIZE: Final = "cover/size"
_OFFSET: Final = "cover/offset"


class KeptReport(Message, tag=0xE8, name="device/report"):
    """A report that was made, and how far it has come."""

    report_id: Annotated[bytes, Fixed(16)]
    made_at_ms: Annotated[int, UInt(64)]
    received_at_ms: Annotated[int, UInt(64)]
    """When the centre had all of it, Unix time in milliseconds; 0 before that."""
    fragments_sent: Annotated[int, UInt(32)]
    """Fragments that arrived in slots of a cover schedule."""
    item: Annotated[int, UInt(64)]
    file: Annotated[str, Text(64)]
    """Name of its sealed file; empty once the centre has it."""
    digest: Annotated[bytes, Variable(32)]
    """SHA-256 of that file; empty once the centre has it."""


class _Reports(Message, tag=0xE9, name="device/reports"):
    """All reports, oldest first, and when a fragment of one arrived last; 0 before the first."""

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
    """The reports and vouchers of one account."""

    def __init__(self, base: Base, keeper: AccountKeeper, files: Files) -> None:
        centre = base.config.centre
        self._files = files
        self._keeper = keeper
        self._base = base
        self._store = base.store
        self._key = None if centre is None else centre.sealing

    def check_key(self) -> None:
        """Compare the centre's key with the configured one, and give the centre this account's keys.

        Only the configured key is ever used. Every device does this when it registers, before it has anything
        to report, so that the call discloses nothing.

        Raises:
            ServiceError: The centre cannot be reached, or answers with another key.
        """
        if self._key is None:
            return
        call = Call(bm.Party.CENTRE, CENTRE_KEY, Purpose.ACCOUNT, idempotent=True)
        own = self._keeper.account
        request = pb.CentreKeyRequest(identity_key=own.identity, franking_key=own.franking_key.key)
        request.franking_key_signature = own.franking_key.signature
        if self._base.egress.unary(call, request).public_key != self._key:
            raise MisbehavedError(bm.Party.CENTRE, "its key must be the one this device was configured with")

    def queue_owed(self, row: Outgoing, load: Callable[[Attached], tuple[bytes, Picture]]) -> bytes | None:
        """Queue the report or voucher that a message's outcome calls for. Nothing is sent.

        There is one for each picture, whatever the number of its recipients.

        Args:
            load: Returns a picture's file and the picture.

        Returns:
            The report's id; None if no report is due.

        Raises:
            ReportRefusedError: A report is due that cannot be made.
        """
        attached = row.attached
        if attached is None or row.content is None:
            return None
        outcome = attached.outcome
        if not isinstance(outcome, bm.Match | bm.Flag | bm.Voucher):
            return None
        if attached.owed:
            return None if isinstance(outcome, bm.Voucher) else attached.owed
        if self._base.config.consequence is not Consequence.REPORT:
            return None
        if isinstance(outcome, bm.Voucher):
            attached.owed = self._queue_voucher(attached, outcome)
            return None
        if isinstance(outcome, bm.Match) and outcome.label.unconfirmed:
            return None  # a filter's word is no evidence: nothing of the message leaves
        data, picture = load(attached)
        confirmed = ConfirmedMatch(self._base.design, attached.epoch, picture, attached.item, outcome)
        attached.owed = self.queue(confirmed, row, data, attached.matched_at_ms)
        return attached.owed

    def _queue_voucher(self, attached: Attached, voucher: bm.Voucher) -> bytes:
        """Keep a voucher; return its name."""
        name = self._base.rng.take(16)
        info = self._base.design.info
        body = voucher.body.encode()
        kept = _Voucher(info.name, info.version, attached.epoch, attached.item, body).encode()
        self._store.run("INSERT INTO voucher VALUES (?1, sealed(?2, 'voucher.body', ?1))", name, kept)
        return name

    def queue(self, confirmed: ConfirmedMatch, row: Outgoing, picture: bytes, matched_at_ms: int) -> bytes:
        """Seal and keep a report of a message and its picture. Nothing is sent.

        Returns:
            The report's id.

        Raises:
            ReportRefusedError: The centre's key is not known, or the picture is too large for a report.
        """
        key = self.get_centre_key()
        if len(picture) > MOST_PICTURE_BYTES:
            raise ReportRefusedError(f"report refused: a picture is at most {MOST_PICTURE_BYTES} bytes")
        report = self._build_report(confirmed, row, picture, matched_at_ms)
        sealed = seal_report(report, key)
        held = self._load_reports()
        new = KeptReport(
            report_id=report.report_id,
            made_at_ms=self._base.clock_ms(),
            received_at_ms=0,
            fragments_sent=0,
            item=confirmed.number,
            file=self._files.write([sealed]),
            digest=sha256(sealed).digest(),
        )
        handed_in = [kept.report_id for kept in held.reports if not kept.file]
        dropped = handed_in[: max(0, len(held.reports) - MOST_KEPT + 1)]
        rest = (kept for kept in held.reports if kept.report_id not in dropped)
        self._save_reports(replace(held, reports=(*rest, new)))
        return report.report_id

    def submit_owed(self, rows: Iterable[Outgoing]) -> None:
        """Hand in what is kept, if one of these messages called for a report or voucher."""
        outcomes = [row.attached.outcome for row in rows if row.attached and row.state is SendState.DONE]
        if any(isinstance(outcome, bm.Match | bm.Flag | bm.Voucher) for outcome in outcomes):
            self.submit_all()

    def submit_all(self, has_ended: Callable[[int], bool] = lambda epoch: False) -> list[ServiceError]:
        """Hand in what is kept, oldest first, except for reports on a cover schedule.

        Args:
            has_ended: Tells if an epoch has ended. A voucher that the centre refuses for such an epoch is
                given up.

        Returns:
            The errors of what must wait, or was given up.
        """
        problems: list[ServiceError] = []
        rows = self._store.all("SELECT name, opened(body, 'voucher.body', name) FROM voucher ORDER BY rowid")
        waiting: list[Callable[[], None]] = [partial(self._submit_voucher, has_ended, *row) for row in rows]
        if self._base.config.cover is None:
            reports = self._load_reports().reports
            waiting += [partial(self._submit, report) for report in reports if report.file]
        for submit in waiting:
            try:
                submit()
            except ServiceError as error:
                problems.append(error)
        return problems

    def is_received(self, report_id: bytes) -> bool:
        """Tell if this report is on record as acknowledged by the centre."""
        return any(
            report.report_id == report_id and not report.file for report in self._load_reports().reports
        )

    def is_waiting(self, report_id: bytes) -> bool:
        """Tell if the centre has not acknowledged this report yet; what is not on record was handed in."""
        return any(report.report_id == report_id and report.file for report in self._load_reports().reports)

    def get_centre_key(self) -> bytes:
        """Return the centre's key.

        Raises:
            ReportRefusedError: It is not known.
        """
        if self._key is None:
            raise ReportRefusedError("report refused: this device is configured without the centre's key")
        return self._key

    def load_oldest(self) -> tuple[KeptReport, bytes] | None:
        """Load the report that waits longest, and its sealed bytes; None if none waits."""
        for report in self._load_reports().reports:
            if report.file:
                return report, self._load(report)
        return None

    def note_fragment(self, report: KeptReport, count: int, at_ms: int) -> None:
        """Note that one more fragment of `report` arrived; with the last one the centre has the report.

        Args:
            count: Fragments of the whole report.
            at_ms: When it arrived, in Unix milliseconds by the centre's clock.
        """
        held = self._load_reports()
        sent = report.fragments_sent + 1
        # the centre drops fragments that wait longer than this for the next one
        is_late = held.fragment_at_ms and at_ms - held.fragment_at_ms > KEPT_MS and report.fragments_sent
        held = replace(held, fragment_at_ms=at_ms)
        if is_late:
            self._save_reports(_restart_fragments(held))
        elif sent == count:
            self._note_received(held, report.report_id, at_ms, sent)
        else:
            self._save_reports(_replace_report(held, report.report_id, fragments_sent=sent))

    def forget_fragments(self) -> None:
        """Start again with the first fragment of every report that is not handed in whole."""
        self._save_reports(_restart_fragments(self._load_reports()))

    def count_vouchers(self) -> int:
        """Count the vouchers that are not handed in yet."""
        (count,) = self._store.one("SELECT count(*) FROM voucher") or (0,)
        return int(count)

    def count_waiting(self) -> int:
        """Count the vouchers and reports that are not handed in yet."""
        return self.count_vouchers() + len(self.list_files())

    def list_files(self) -> set[str]:
        """List the files of reports that are not handed in yet."""
        return {report.file for report in self._load_reports().reports if report.file}

    def list_reports(self) -> tuple[KeptReport, ...]:
        """List the reports, oldest first; past `MOST_KEPT` the oldest that were handed in are missing."""
        return self._load_reports().reports

    def _build_report(
        self, confirmed: ConfirmedMatch, row: Outgoing, picture: bytes, matched_at_ms: int
    ) -> Report:
        info = confirmed.design.info
        account = self._base.config.account
        evidence = row.disclose(account)
        proof = self._keeper.account.prove_sender(row.recipient, evidence.opening.commitment)
        return Report(
            report_id=self._base.rng.take(16),
            design=info.name,
            version=info.version,
            epoch=confirmed.epoch,
            label=confirmed.label,
            reporter=account,
            sender=evidence.sender,
            recipient=evidence.recipient,
            sent_at_ms=evidence.sent_at,
            matched_at_ms=matched_at_ms,
            media_type=evidence.attachment.media_type,
            opening=(evidence.opening,),
            picture=picture,
            score=confirmed.score,
            stamp=row.stamps[:1] if evidence.recipient else row.stamps[1:],
            sender_proof=() if proof is None else (proof,),
        )

    def _load_reports(self) -> _Reports:
        return _Reports.decode(self._store.get(_REPORTS) or NO_REPORTS)

    def _save_reports(self, reports: _Reports) -> None:
        self._store.put(_REPORTS, reports.encode())

    def _load(self, report: KeptReport) -> bytes:
        sealed = b"".join(self._files.chunks(report.file))
        if sha256(sealed).digest() != report.digest:
            raise StoreError(ALTERED)
        return sealed

    def _submit(self, report: KeptReport) -> None:
        call = Call(bm.Party.CENTRE, SUBMIT, Purpose.REPORT, report.item, True, SUBMIT_DEADLINE_S)
        received_at_ms = self.hand_in(call, report.report_id, self._load(report))
        self._note_received(self._load_reports(), report.report_id, received_at_ms, 0)

    def _submit_voucher(self, has_ended: Callable[[int], bool], name: bytes, kept: bytes) -> None:
        voucher = _Voucher.decode(kept)
        head = pb.Envelope(design=voucher.design, version=voucher.version, epoch=voucher.epoch)
        call = Call(bm.Party.CENTRE, SUBMIT_VOUCHER, Purpose.VOUCHER, voucher.item, True, SUBMIT_DEADLINE_S)
        try:
            self._base.egress.upload(call, lambda: split(ENVELOPE, head, voucher.body))
        except RefusedError as error:
            if error.status != EPOCH_MOVED or not has_ended(voucher.epoch):
                raise
            self._store.run("DELETE FROM voucher WHERE name = ?", name)
            words = f"takes no voucher of epoch {voucher.epoch}, which has ended; it was given up"
            raise ServiceError(bm.Party.CENTRE, words) from error
        self._store.run("DELETE FROM voucher WHERE name = ?", name)

    def _note_received(self, held: _Reports, report_id: bytes, at_ms: int, fragments: int) -> None:
        """Save that the centre has a report, then remove the file, which is needed until that is saved."""
        changes = {"received_at_ms": at_ms, "fragments_sent": fragments, "file": "", "digest": b""}
        self._save_reports(_replace_report(held, report_id, **changes))
        for report in held.reports:
            if report.report_id == report_id and report.file:
                self._files.remove(report.file)

    def hand_in(self, call: Call[pb.SubmitPart, pb.Receipt], name: bytes, sealed: bytes) -> int:
        """Submit sealed bytes under a name of 16 bytes. Raises as `Egress`.

        Returns:
            When the centre had them on disk, in Unix milliseconds.
        """
        head = pb.SubmitPart(report_id=name)
        receipt = self._base.egress.upload(call, lambda: split(SUBMISSION, head, sealed))
        if receipt.report_id != name:
            raise MisbehavedError(bm.Party.CENTRE, "a receipt names what was handed in")
        return receipt.received_at_ms


def _replace_report(held: _Reports, report_id: bytes, **changes: Any) -> _Reports:
    reports = (
        replace(report, **changes) if report.report_id == report_id else report for report in held.reports
    )
    return replace(held, reports=tuple(reports))


def _restart_fragments(held: _Reports) -> _Reports:
    reports = (replace(report, fragments_sent=0) if report.file else report for report in held.reports)
    return replace(held, reports=tuple(reports))


class Cover(Struct):
    """Sends one device's messages in the slots of its cover schedule.

    Attributes:
        _next: the fragment for the next slot, with its report; None for cover.
        _received: fragments that arrived and are not noted yet: the report, its number of fragments, when.
    """

    schedule: CoverSchedule
    base: Base
    reporting: Reporting
    _next: tuple[KeptReport, Slot] | None = None
    _received: list[tuple[KeptReport, int, int]] = field(default_factory=list)

    def prepare(self) -> None:
        """Note what arrived, and read the fragment for the next slot. Call it between slots."""
        self.note_arrived()
        if self._next is not None:
            return
        size = self.schedule.size.to_bytes(4, "big")
        if self.base.store.get(_SIZE) != size:
            # the fragments of a report have one size: after a change of size all are sent again
            with self.base.store.transaction():
                self.reporting.forget_fragments()
                self.base.store.put(_SIZE, size)
        oldest = self.reporting.load_oldest()
        if oldest is not None:
            report, sealed = oldest
            slot = fragment(sealed, report.report_id, report.fragments_sent, self.schedule.size)
            self._next = (report, slot)

    def note_arrived(self) -> None:
        """Save which fragments arrived since the last call."""
        while self._received:
            self.reporting.note_fragment(*self._received.pop())

    def tick(self) -> bool:
        """Send the current slot's message unless that was done.

        Returns:
            True if it was sent now.

        Raises:
            ServiceError: The centre cannot be reached; the slot is used up all the same.
        """
        slot = (self.base.clock_ms() + self._load_offset()) // (self.schedule.period_s * 1000)
        number = slot.to_bytes(8, "big")
        last = self.base.store.get(_LAST)
        if last == number or self.base.config.centre is None:
            self.prepare()
            return False
        self.base.store.put(_LAST, number)
        if last is None:  # the device started in the middle of a slot: the schedule begins with the next one
            return False
        prepared = self._next
        self._next = None
        content = prepared[1] if prepared else cover(self.base.rng, self.schedule.size)
        slot_id = self.base.rng.take(16)
        sealed = seal_slot(content, slot_id, self.reporting.get_centre_key())
        call = Call(bm.Party.CENTRE, SUBMIT, Purpose.COVER, None, True, SLOT_DEADLINE_S)
        received_at_ms = self.reporting.hand_in(call, slot_id, sealed)
        if prepared:
            self._received.append((prepared[0], content.count, received_at_ms))
        return True

    def _load_offset(self) -> int:
        """Load the milliseconds by which this device's slots are apart from others'; draw them at first."""
        kept = self.base.store.get(_OFFSET)
        if kept is None:
            kept = self.base.rng.take(8)
            self.base.store.put(_OFFSET, kept)
        return int.from_bytes(kept, "big") % (self.schedule.period_s * 1000)
