"""Reports and vouchers: what a picture's outcome owes the centre, sealed, kept, and handed in once.

    Decided(Match) --ConfirmedMatch--> Report --HPKE--> kept --> Submit (same id, same bytes) --> Receipt

A `Report` is made of a `ConfirmedMatch` and of nothing else, and a `ConfirmedMatch` that is not one
cannot be made: it compares the device's own hash with the opened label's, again, itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from blindmatch_protocol.contract import AnyDesign, Item, Match, Outcome, Party
from blindmatch_protocol.franking import CommitmentOpening, Shown
from blindmatch_protocol.randomness import Randomness
from blindmatch_protocol.report import MOST_PICTURE_BYTES, Report, seal_report
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb

from blindmatch_client.detector import is_confirmed
from blindmatch_client.egress import Call, Egress
from blindmatch_client.egress.methods import CENTRE_KEY, SUBMIT, SUBMIT_VOUCHER
from blindmatch_client.errors import MisbehavedError, ReportRefusedError, ServiceError
from blindmatch_client.relay import sized_parts
from blindmatch_client.store import Store
from blindmatch_client.trace import Purpose
from blindmatch_client.transport import envelopes

SUBMIT_DEADLINE_S: Final = 120.0
_REPORT, _VOUCHER = "report", "voucher"


@dataclass(frozen=True, slots=True, repr=False)
class ConfirmedMatch:
    """A match that the device has checked by itself.

    Attributes:
        design: the design that found it.
        epoch: of the set it was found in.
        item: the picture.
        number: the picture's number.
        outcome: a `Match`.

    Raises:
        ReportRefusedError: for any other outcome, for a match that a filter alone says, and for a label
            whose hash is not within the design's relation to the picture's own.
    """

    design: AnyDesign
    epoch: int
    item: Item
    number: int
    outcome: Outcome

    def __post_init__(self) -> None:
        if not isinstance(self.outcome, Match):
            raise ReportRefusedError("report refused: the outcome is not a match")
        if self.outcome.label.unconfirmed:
            raise ReportRefusedError("report refused: a filter alone says that the entry is there")
        if not is_confirmed(self.design.info.relation, self.item, self.outcome):
            raise ReportRefusedError(
                "report refused: the opened label is of an entry the picture does not match"
            )

    @property
    def match(self) -> Match:
        """The outcome."""
        assert isinstance(self.outcome, Match)
        return self.outcome


@dataclass(frozen=True, slots=True, repr=False)
class Reported:
    """What a report tells beside the match: what `disclose` shows of the message, and the picture."""

    shown: Shown
    opening: CommitmentOpening
    picture: bytes
    matched_at_ms: int


@dataclass(frozen=True, slots=True)
class ReportStanding:
    """How far a report is; times in Unix milliseconds, `received_at_ms` None while the centre has not all of
    it, `fragments_sent` in slots of a cover schedule."""

    report_id: bytes
    made_at_ms: int
    received_at_ms: int | None
    fragments_sent: int


@dataclass(frozen=True, slots=True, repr=False)
class WaitingReport:
    """A sealed report that is not handed in yet, and how many of its fragments are."""

    report_id: bytes
    body: bytes
    fragments_sent: int


class Reporting:
    """An account's reports and vouchers.

    Args:
        egress: the way out.
        store: keeps what is not handed in yet.
        account: the reporter.
        key: the centre's, from the configuration: X25519, 32 bytes; None: nothing can be reported.
        rng: for report ids.
        clock_ms: Unix time in milliseconds.
    """

    def __init__(
        self,
        egress: Egress,
        store: Store,
        account: str,
        key: bytes | None,
        rng: Randomness,
        clock_ms: Callable[[], int],
    ) -> None:
        self._egress = egress
        self._key = key
        self._store = store
        self._account = account
        self._rng = rng
        self._clock_ms = clock_ms

    def check_key(self) -> None:
        """Ask the centre for its key, and hold it against the configured one, which alone is ever used.

        Every device does so when it registers, so that a centre with another key is noticed before there is
        anything to report.

        Raises:
            ServiceError: if the centre cannot be reached or answers with another key.
        """
        if self._key is None:
            return
        call = Call(Party.CENTRE, CENTRE_KEY, Purpose.ACCOUNT, idempotent=True)
        if self._egress.unary(call, pb.CentreKeyRequest()).public_key != self._key:
            raise MisbehavedError(Party.CENTRE, "its key must be the one this device was configured with")

    def queue(self, confirmed: ConfirmedMatch, reported: Reported) -> bytes:
        """Seal and keep a report; its id. Nothing is sent.

        Raises:
            ReportRefusedError: if the centre's key is not known or the picture is too large for a report.
        """
        key = self.centre_key()
        if len(reported.picture) > MOST_PICTURE_BYTES:
            raise ReportRefusedError(f"report refused: a picture is at most {MOST_PICTURE_BYTES} bytes")
        report = self._report(confirmed, reported)
        self._keep(
            _REPORT,
            report.report_id,
            confirmed.design,
            confirmed.epoch,
            confirmed.number,
            seal_report(report, key),
        )
        return report.report_id

    def queue_voucher(self, design: AnyDesign, epoch: int, number: int, body: bytes) -> bytes:
        """Keep a voucher; the id it is kept under here. Nothing is sent."""
        voucher_id = self._rng.take(16)
        self._keep(_VOUCHER, voucher_id, design, epoch, number, body)
        return voucher_id

    def submit_all(self, reports: bool = True) -> list[ServiceError]:
        """Hand in what is kept, oldest first; the errors of what has to wait.

        Without `reports` vouchers alone: the others leave on a cover schedule.
        """
        problems: list[ServiceError] = []
        rows = self._store.all(
            "SELECT report_id, kind, design, version, epoch, item, opened(body, 'submission.body', report_id)"
            " FROM submission WHERE received_at_ms IS NULL AND (kind = ? OR ?) ORDER BY made_at_ms, rowid",
            _VOUCHER,
            reports,
        )
        for report_id, kind, *declared, item, body in rows:
            try:
                self._submit(report_id, kind, declared, item, body)
            except ServiceError as error:
                problems.append(error)
        return problems

    def is_received(self, report_id: bytes) -> bool:
        """Has the centre acknowledged it?"""
        query = "SELECT received_at_ms FROM submission WHERE report_id = ?"
        row = self._store.one(query, report_id)
        return row is not None and row[0] is not None

    def knows_key(self) -> bool:
        """Is the centre's key known?"""
        return self._key is not None

    def centre_key(self) -> bytes:
        """The centre's key.

        Raises:
            ReportRefusedError: if it is not known.
        """
        if self._key is None:
            raise ReportRefusedError("report refused: this device is configured without the centre's key")
        return self._key

    def oldest_report(self) -> WaitingReport | None:
        """The report that waits longest."""
        row = self._store.one(
            "SELECT report_id, opened(body, 'submission.body', report_id), fragments_sent FROM submission"
            " WHERE received_at_ms IS NULL AND kind = ? ORDER BY made_at_ms, rowid LIMIT 1",
            _REPORT,
        )
        return None if row is None else WaitingReport(*row)

    def fragment_received(self, report: WaitingReport, count: int, at_ms: int) -> None:
        """The centre has one more fragment of `report`, of `count`; with the last one it has the report."""
        sent = report.fragments_sent + 1
        query = "UPDATE submission SET fragments_sent = ? WHERE report_id = ?"
        with self._store.transaction():
            self._store.run(query, sent, report.report_id)
            if sent == count:
                self._received(report.report_id, at_ms)

    def forget_fragments(self) -> None:
        """Begin again with the fragments of every report that is not handed in whole."""
        self._store.run("UPDATE submission SET fragments_sent = 0 WHERE received_at_ms IS NULL")

    def has_submission(self, item: int) -> bool:
        """Has the picture with this number got its report or voucher?"""
        return self._store.one("SELECT 1 FROM submission WHERE item = ?", item) is not None

    def report_of(self, item: int) -> bytes | None:
        """Id of the report on the picture with this number."""
        query = "SELECT report_id FROM submission WHERE item = ? AND kind = ?"
        row = self._store.one(query, item, _REPORT)
        return None if row is None else bytes(row[0])

    def waiting(self) -> int:
        """How many reports and vouchers are not handed in yet."""
        row = self._store.one("SELECT count(*) FROM submission WHERE received_at_ms IS NULL")
        return 0 if row is None else int(row[0])

    def standing(self) -> list[ReportStanding]:
        """All reports, oldest first."""
        rows = self._store.all(
            "SELECT report_id, made_at_ms, received_at_ms, fragments_sent FROM submission WHERE kind = ?"
            " ORDER BY made_at_ms, rowid",
            _REPORT,
        )
        return [ReportStanding(*row) for row in rows]

    def _report(self, confirmed: ConfirmedMatch, reported: Reported) -> Report:
        info, shown = confirmed.design.info, reported.shown
        return Report(
            report_id=self._rng.take(16),
            design=info.name,
            version=info.version,
            epoch=confirmed.epoch,
            label=confirmed.match.label,
            reporter=self._account,
            sender=shown.sender,
            recipient=shown.recipient,
            sent_at_ms=shown.sent_at,
            matched_at_ms=reported.matched_at_ms,
            media_type=shown.attachment.media_type,
            opening=(reported.opening,),
            picture=reported.picture,
        )

    def _keep(
        self, kind: str, report_id: bytes, design: AnyDesign, epoch: int, number: int, body: bytes
    ) -> None:
        info = design.info
        self._store.run(
            "INSERT INTO submission VALUES (?1, ?2, ?3, ?4, ?5, ?6, sealed(?7, 'submission.body', ?1), ?8, 0,"
            " NULL)",
            report_id,
            kind,
            info.name,
            info.version,
            epoch,
            number,
            body,
            self._clock_ms(),
        )

    def _submit(self, report_id: bytes, kind: str, declared: list[object], item: int, body: bytes) -> None:
        if kind == _REPORT:
            receipt = self._submit_report(report_id, item, body)
        else:
            design, version, epoch = declared
            head = pb.Envelope(design=str(design))
            head.version, head.epoch = int(str(version)), int(str(epoch))
            call = Call(Party.CENTRE, SUBMIT_VOUCHER, Purpose.VOUCHER, item, True, SUBMIT_DEADLINE_S)
            receipt = self._egress.upload(call, lambda: envelopes(head, body))
        self._received(report_id, receipt.received_at_ms)

    def _received(self, report_id: bytes, at_ms: int) -> None:
        self._store.run(
            "UPDATE submission SET received_at_ms = ?, body = sealed(x'', 'submission.body', report_id)"
            " WHERE report_id = ?",
            at_ms,
            report_id,
        )

    def _submit_report(self, report_id: bytes, item: int, body: bytes) -> pb.Receipt:
        call = Call(Party.CENTRE, SUBMIT, Purpose.REPORT, item, True, SUBMIT_DEADLINE_S)
        receipt = self._egress.upload(call, lambda: _submit_parts(report_id, body))
        if receipt.report_id != report_id:
            raise MisbehavedError(Party.CENTRE, "a receipt names the report that was handed in")
        return receipt


def _submit_parts(report_id: bytes, body: bytes) -> Iterator[pb.SubmitPart]:
    for number, part in enumerate(sized_parts(body)):
        yield pb.SubmitPart(report_id=report_id if number == 0 else b"", part=part)
