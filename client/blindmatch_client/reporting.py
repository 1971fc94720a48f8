"""Reports and vouchers: what a picture's outcome owes the centre, sealed, kept, and handed in once.

Decided(Match | Flag) --ConfirmedMatch--> Report --HPKE--> kept --> Submit (same id and bytes) --> Receipt
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from blindmatch_protocol.contract import Flag, Match, Party, Voucher
from blindmatch_protocol.parts import ENVELOPE, SUBMISSION, split
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.redacted import Redacted
from blindmatch_protocol.report import MOST_PICTURE_BYTES, Report, seal_report
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from msgspec import Struct

from blindmatch_client.base import Base
from blindmatch_client.confirmed import ConfirmedMatch
from blindmatch_client.consequence import Consequence
from blindmatch_client.egress import Call
from blindmatch_client.egress.methods import CENTRE_KEY, SUBMIT, SUBMIT_VOUCHER
from blindmatch_client.errors import MisbehavedError, ReportRefusedError, ServiceError
from blindmatch_client.keys import AccountKeeper
from blindmatch_client.outgoing import Attached, Outgoing, SendState
from blindmatch_client.trace import Purpose

SUBMIT_DEADLINE_S: Final = 120.0
_REPORT, _VOUCHER = "report", "voucher"


class ReportStanding(Struct, frozen=True):
    """How far a report is; times in Unix milliseconds, `received_at_ms` None while the centre has not all of
    it, `fragments_sent` in slots of a cover schedule."""

    report_id: bytes
    made_at_ms: int
    received_at_ms: int | None
    fragments_sent: int


class WaitingReport(Redacted, Struct, frozen=True):
    """A sealed report that is not handed in yet, and how many of its fragments are."""

    report_id: bytes
    body: bytes
    fragments_sent: int


class Reporting:
    """An account's reports and vouchers."""

    def __init__(self, base: Base, keeper: AccountKeeper) -> None:
        centre = base.config.centre
        self._keeper = keeper
        self._base = base
        self._store = base.store
        self._key = None if centre is None else centre.sealing

    def check_key(self) -> None:
        """Ask the centre for its key, and hold it against the configured one, which alone is ever used; and
        say whose key this account has.

        Every device does so when it registers, so that a centre with another key is noticed before there is
        anything to report.

        Raises:
            ServiceError: if the centre cannot be reached or answers with another key.
        """
        if self._key is None:
            return
        call = Call(Party.CENTRE, CENTRE_KEY, Purpose.ACCOUNT, idempotent=True)
        own = self._keeper.account.published()
        request = pb.CentreKeyRequest(identity_key=own.identity, franking_key=own.franking_key.key)
        request.franking_key_signature = own.franking_key.signature
        if self._base.egress.unary(call, request).public_key != self._key:
            raise MisbehavedError(Party.CENTRE, "its key must be the one this device was configured with")

    def owe(self, row: Outgoing, load: Callable[[Attached], tuple[bytes, Picture]]) -> bytes | None:
        """Queue the report or voucher that a message's outcome owes, one for a picture whatever the number of
        its recipients; the report's id if it is one. Nothing is sent.

        Args:
            load: gives a picture's file and the picture.

        Raises:
            ReportRefusedError: if a report is owed that cannot be made.
        """
        attached, outcome = row.attached, None if row.attached is None else row.attached.outcome
        if attached is None or row.content is None or not isinstance(outcome, Match | Flag | Voucher):
            return None
        queued = self._store.one("SELECT report_id, kind FROM submission WHERE item = ?", attached.item)
        if queued is not None:
            return bytes(queued[0]) if queued[1] == _REPORT else None
        if self._base.config.consequence is not Consequence.REPORT:
            return None
        if isinstance(outcome, Voucher):
            voucher = outcome.body.encode()
            self._keep(_VOUCHER, self._base.rng.take(16), attached.epoch, attached.item, voucher)
            return None
        if isinstance(outcome, Match) and outcome.label.unconfirmed:
            return None  # a filter's word is no evidence: nothing of the message leaves
        data, picture = load(attached)
        confirmed = ConfirmedMatch(self._base.design, attached.epoch, picture, attached.item, outcome)
        return self.queue(confirmed, row, data, attached.matched_at_ms)

    def queue(self, confirmed: ConfirmedMatch, row: Outgoing, picture: bytes, matched_at_ms: int) -> bytes:
        """Seal and keep a report of a message and its picture; its id. Nothing is sent.

        Raises:
            ReportRefusedError: if the centre's key is not known or the picture is too large for a report.
        """
        key = self.centre_key()
        if len(picture) > MOST_PICTURE_BYTES:
            raise ReportRefusedError(f"report refused: a picture is at most {MOST_PICTURE_BYTES} bytes")
        report = self._report(confirmed, row, picture, matched_at_ms)
        self._keep(_REPORT, report.report_id, confirmed.epoch, confirmed.number, seal_report(report, key))
        return report.report_id

    def submit_owed(self, rows: Iterable[Outgoing]) -> None:
        """Hand in what is kept, if one of these messages may owe any of it; what has to wait waits."""
        outcomes = [row.attached.outcome for row in rows if row.attached and row.state is SendState.DONE]
        if any(isinstance(one, Match | Flag | Voucher) for one in outcomes):
            self.submit_all()

    def submit_all(self) -> list[ServiceError]:
        """Hand in what is kept, oldest first; the errors of what has to wait. Reports that leave on a cover
        schedule are left to it.
        """
        problems: list[ServiceError] = []
        rows = self._store.all(
            "SELECT report_id, kind, design, version, epoch, item, opened(body, 'submission.body', report_id)"
            " FROM submission WHERE received_at_ms IS NULL AND (kind = ? OR ?) ORDER BY made_at_ms, rowid",
            _VOUCHER,
            self._base.config.cover is None,
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

    def _report(self, confirmed: ConfirmedMatch, row: Outgoing, picture: bytes, matched_at_ms: int) -> Report:
        info, account = confirmed.design.info, self._base.config.account
        told = row.disclosed(account)
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
            stamp=() if row.stamp is None else (row.stamp,),
            sender_proof=() if proof is None else (proof,),
        )

    def _keep(self, kind: str, report_id: bytes, epoch: int, number: int, body: bytes) -> None:
        info, now = self._base.design.info, self._base.clock_ms()
        self._store.run(
            "INSERT INTO submission VALUES (?1, ?2, ?3, ?4, ?5, ?6, sealed(?7, 'submission.body', ?1), ?8, 0,"
            " NULL)",
            *(report_id, kind, info.name, info.version, epoch, number, body, now),
        )

    def _submit(self, report_id: bytes, kind: str, declared: list[object], item: int, body: bytes) -> None:
        if kind == _REPORT:
            call = Call(Party.CENTRE, SUBMIT, Purpose.REPORT, item, True, SUBMIT_DEADLINE_S)
            received = self.hand_in(call, report_id, body)
        else:
            design, version, epoch = declared
            head = pb.Envelope(design=str(design))
            head.version, head.epoch = int(str(version)), int(str(epoch))
            voucher = Call(Party.CENTRE, SUBMIT_VOUCHER, Purpose.VOUCHER, item, True, SUBMIT_DEADLINE_S)
            received = self._base.egress.upload(voucher, lambda: split(ENVELOPE, head, body)).received_at_ms
        self._received(report_id, received)

    def _received(self, report_id: bytes, at_ms: int) -> None:
        self._store.run(
            "UPDATE submission SET received_at_ms = ?, body = sealed(x'', 'submission.body', report_id)"
            " WHERE report_id = ?",
            at_ms,
            report_id,
        )

    def hand_in(self, call: Call[pb.SubmitPart, pb.Receipt], name: bytes, sealed: bytes) -> int:
        """Submit something sealed under a name of 16 bytes; when the centre had it on disk.

        Raises:
            ServiceError: if the centre cannot be reached, refuses or misbehaves.
        """
        head = pb.SubmitPart(report_id=name)
        receipt = self._base.egress.upload(call, lambda: split(SUBMISSION, head, sealed))
        if receipt.report_id != name:
            raise MisbehavedError(Party.CENTRE, "a receipt names what was handed in")
        return receipt.received_at_ms
