"""What the centre checks before a person looks at a report, each check with a verdict of its own
(docs/reference/wire.md).

That is the machine's part; what becomes of the report is for a person to decide (decisions.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from sqlite3 import Connection
from typing import TypeAlias

import numpy as np
from blindmatch_proofs.franking import (
    verify_designated,
    verify_opening,
    verify_signature,
    verify_stamp,
)
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import PictureError, ProtocolError
from blindmatch_protocol.contract import Category
from blindmatch_protocol.contract.relation import NO_ENTRIES
from blindmatch_protocol.messages.franking import FrankingMode
from blindmatch_protocol.messages.report import Report, open_report
from blindmatch_protocol.messages.sealed_message import Curve25519Key, FrankingKey
from blindmatch_protocol.picture.decode import Picture
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_server.centre import notices, store
from blindmatch_server.centre.assessment import (
    Assessment,
    Check,
    Facts,
    NotAvailable,
    Verdict,
    settle_once,
    subject_of,
)
from blindmatch_server.centre.keys import (
    SAME_PICTURE,
    CentreKeys,
    Deployed,
    Reference,
    References,
    check_design,
    check_reporter,
    distance,
)
from blindmatch_server.hosting.authority import Identity, Kind, identity_of
from blindmatch_server.hosting.event_log import Clock, EventLog, milliseconds
from blindmatch_server.hosting.limits import nothing_left
from blindmatch_server.storage.blobs import Blobs
from blindmatch_server.storage.database import Database, reading
from blindmatch_server.storage.errors import ConflictError, StateError

_NOT_TOLD = NotAvailable("the centre was not told what is deployed")
_NO_ENTRY = NotAvailable("a flag has no entry", needed=False)


class Verifier(Struct, frozen=True):
    """What checking needs.

    Attributes:
        deployed: what reports may be about; None if the centre was not told.
        references: the centre's copy of the list; None if it has none.
        mode: what messages bear of their sender's key.
    """

    keys: CentreKeys
    deployed: Deployed | None = None
    references: References | None = None
    mode: FrankingMode = FrankingMode.STAMP

    def assess(
        self, sealed: bytes, report_id: bytes, submitter: Identity, identity: bytes | None = None
    ) -> Assessment:
        """Check a sealed report that `submitter`, with this identity key, handed in; whatever it
        holds, this returns."""
        try:
            report = open_report(sealed, report_id, self.keys.sealing)
        except ProtocolError as error:
            return Assessment({Check.SEALED: Failed(str(error))}, Facts())
        return _Examination(self, report, submitter, identity).run()


class _Examination(Struct):
    """One opened report under examination; later checks use what earlier ones found."""

    verifier: Verifier
    report: Report
    submitter: Identity
    identity: bytes | None
    reference: Reference | None = None
    picture: Picture | None = None
    pdq_distance: int | None = None
    second_distance: int | None = None
    score: float | None = None
    verdicts: dict[Check, Verdict] = field(default_factory=dict)

    def run(self) -> Assessment:
        checks: dict[Check, Callable[[], Verdict]] = {
            Check.SEALED: Passed,
            Check.DESIGN: self._design,
            Check.REPORTER: self._reporter,
            Check.LABEL: self._label,
            Check.PICTURE: self._picture,
            Check.RELATION: self._relation,
            Check.FRANKING: self._franking,
            Check.STAMP: self._stamp,
            Check.SENDER: self._sender,
            Check.SECOND: self._second,
        }
        for name, check in checks.items():
            self.verdicts[name] = check()
        return Assessment(self.verdicts, self._facts(), subject_of(self.report))

    def _design(self) -> Verdict:
        deployed = self.verifier.deployed
        return _NOT_TOLD if deployed is None else check_design(self.report, deployed)

    def _reporter(self) -> Verdict:
        deployed = self.verifier.deployed
        if deployed is None:
            return _NOT_TOLD
        return check_reporter(self.report, self.submitter, deployed.design.info)

    def _category(self) -> Category | None:
        relation = self.verifier.deployed.design.info.relation if self.verifier.deployed else None
        return relation if isinstance(relation, Category) else None

    def _label(self) -> Verdict:
        if self.report.flag is not None or self._category() is not None:
            if self.verifier.deployed is None:
                return _NOT_TOLD
            if self.report.flag is None:
                return Failed("where a category is recognised flags are reported, and nothing else")
            if self._category() is None:
                return Failed("a flag is reported where a category is recognised, and nowhere else")
            return _NO_ENTRY
        if self.verifier.references is None:
            return NotAvailable(store.NO_LIST)
        label = self.report.label
        try:
            reference = self.verifier.references.lookup(label.entry_id)
        except StateError:  # a copy may be under way; the check is made again when another file is in place
            return NotAvailable(store.UNREADABLE_LIST)
        if reference is None or (reference.entry_hash, reference.salt) != (label.entry_hash, label.salt):
            return Failed(store.UNKNOWN_LABEL)
        self.reference = reference
        deployed = self.verifier.deployed
        return Passed() if deployed is None else deployed.endorsed(self.report.epoch, label)

    def _picture(self) -> Verdict:
        picture = Picture.from_bytes(self.report.picture)
        try:
            _ = picture.fingerprint
        except PictureError as error:
            return Failed(str(error))
        self.picture = picture
        return Passed()

    def _relation(self) -> Verdict:
        if self.picture is None:
            return NotAvailable("there is no picture")
        if self.report.flag is not None:
            return self._of_category(self.picture)
        entry = np.frombuffer(self.report.label.entry_hash, np.uint8).reshape(1, 32)
        self.pdq_distance = distance(self.picture.hash, self.report.label.entry_hash)
        if self.verifier.deployed is None:
            return _NOT_TOLD
        if not self.verifier.deployed.design.info.relation.holds(self.picture, entry)[0]:
            return Failed("the picture does not match the label's hash")
        return Passed()

    def _of_category(self, picture: Picture) -> Verdict:
        category = self._category()
        if category is None:
            return NotAvailable("no category is recognised here")
        self.score = score = category.score(picture)
        scored = replace(category, score=lambda item: score)  # a classifier takes time: it is run once
        if not scored.matches(picture, NO_ENTRIES):
            return Failed(f"the picture is not of the category {category.words}")
        return Passed()

    def _franking(self) -> Verdict:
        if self.report.opening:
            return verify_opening(self.report.evidence)
        may_report = isinstance(self.verdicts[Check.REPORTER], Passed)
        if may_report and self.submitter.kind is not Kind.DEVICE:
            return NotAvailable("the reporter sees pictures in the clear", needed=False)
        return Failed("no commitment is opened")

    def _stamp(self) -> Verdict:
        if not self.report.opening:
            return self.verdicts[Check.FRANKING]
        if not self.report.stamp:
            return Failed("the relay has not stamped the message")
        report = self.report
        (opening,) = self.report.opening
        (stamp,) = self.report.stamp
        key = self.verifier.keys.stamp
        commitment = opening.commitment
        return verify_stamp(stamp, commitment, report.sender, report.recipient, key)

    def _sender(self) -> Verdict:
        if not self.report.opening:
            return self.verdicts[Check.FRANKING]
        if self.verifier.mode is FrankingMode.STAMP:
            return NotAvailable("messages are stamped here, and no more", needed=False)
        if self.identity is None:
            return NotAvailable("the sender's device never said which key it has")
        if not self.report.sender_proof:
            return Failed("the sender's key does not vouch for the message")
        (opening,) = self.report.opening
        (proof,) = self.report.sender_proof
        if self.verifier.mode is FrankingMode.SIGNATURE:
            return verify_signature(opening.commitment, proof.proof, self.identity)
        return verify_designated(opening.commitment, proof, self.identity, self.verifier.keys.judge)

    def _second(self) -> Verdict:
        if self.picture is None:
            return NotAvailable("there is no picture")
        if self.report.flag is not None:
            return _NO_ENTRY
        if self.reference is None or self.reference.second_hash is None:
            return NotAvailable("the centre has no second hash of this entry")
        mine = self.verifier.keys.hasher.hash(self.picture.luminance)
        self.second_distance = distance(mine, self.reference.second_hash)
        if self.second_distance > SAME_PICTURE:
            return Failed("the second hash says another picture")
        return Passed()

    def _facts(self) -> Facts:
        report = self.report
        claimed = self.report.flag
        stamped = isinstance(self.verdicts[Check.STAMP], Passed) and report.stamp
        height, width = self.picture.pixels.shape[:2] if self.picture else (0, 0)
        return Facts(
            design=report.design,
            version=report.version,
            epoch=report.epoch,
            entry_id=report.label.entry_id,
            # the centre's own of a flagged picture; the reporter's where the centre has none
            score=self.score if self.score is not None or claimed is None else claimed.score,
            pdq_distance=self.pdq_distance,
            second_distance=self.second_distance,
            sender=report.sender,
            recipient=report.recipient,
            matched_at_ms=report.matched_at_ms,
            sent_at_ms=report.sent_at_ms,
            media_type=report.media_type,
            width=width,
            height=height,
            picture_bytes=len(report.picture),
            stamped_at_ms=report.stamp[0].accepted_at_ms if stamped else 0,
        )


_STEP = "centre/key"


def claimed_identity(request: wire.CentreKeyRequest) -> bytes:
    """The identity key that a device says is its own; the franking key that it signed shows that it is.
    Raises `ProtocolError` if one has not the form of a key, or the identity key has not signed the other."""
    identity = Curve25519Key().write(request.identity_key, _STEP, "identity_key")
    FrankingKey(request.franking_key, request.franking_key_signature).check_owner(identity)
    return identity


def note_signer(connection: Connection, account: str, identity: bytes) -> None:
    """Keep an account's identity key; `ConflictError` if it has another one."""
    connection.execute("INSERT OR IGNORE INTO signers VALUES (?, ?)", (account, identity))
    if signer_of(connection, account) != identity:
        raise ConflictError(
            _STEP, "another one was named first under this account's name, and stays", "identity_key"
        )


def signer_of(connection: Connection, account: str) -> bytes | None:
    """An account's identity key; None if it never said."""
    row = connection.execute("SELECT identity_key FROM signers WHERE account = ?", (account,)).fetchone()
    return None if row is None else bytes(row[0])


Stamp: TypeAlias = tuple[int, int, int]
"""See `References.stamp`."""

_PAUSE_SECONDS = 1.0
_LOOK_SECONDS = 5.0
"""How often it is looked whether the centre has learnt a list; it is also looked when reports are listed."""


class Checking:
    """Checks reports as they come, and those again whose label the centre did not know, once it has learnt a
    list; belongs to one event loop.

    A repetition is one transaction. Which are still to come follows from what is stored, so that a centre
    that is killed among them makes those that are left when it starts again.
    """

    def __init__(
        self, database: Database, blobs: Blobs, verifier: Verifier, log: EventLog, clock: Clock
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._verifier = verifier
        self._log = log
        self._clock = clock
        self._due = asyncio.Event()
        self._checked = asyncio.Event()
        self._learnt: Stamp | None = None
        self._again: deque[tuple[store.Submission, int]] = deque()
        self._prevented: tuple[Stamp | None] | None = None
        """The list with which checks failed inside, until they succeed; None if they did not."""

    def wake(self) -> None:
        self._due.set()

    async def finished(self, seconds: float) -> None:
        """Wait until nothing is left to check, or for `seconds`."""
        if self._has_learnt():
            self.wake()
        await nothing_left(self._is_left, self._checked, seconds)

    async def _is_left(self) -> bool:
        # what cannot be repeated with this list, as with a damaged one, is waited for by nobody
        is_to_repeat = bool(self._again) or self._has_learnt()
        if is_to_repeat and self._prevented != (self._stamp(),):
            return True
        return await self._database.run(store.next_received) is not None

    def _has_learnt(self) -> bool:
        """Has the centre a list that reports were not looked through for yet?"""
        stamp = self._stamp()
        return stamp is not None and stamp != self._learnt

    def _stamp(self) -> Stamp | None:
        references = self._verifier.references
        return None if references is None else references.stamp()

    async def run(self) -> None:
        """Check reports as they come, and again once a list was learnt; never returns."""
        while True:
            self._due.clear()
            stamp = self._stamp()
            try:
                await self._check_all()
                await self._check_again()
                self._prevented = None
            except Exception as error:
                # the store or the list failed: what is not checked stays as it was, and is tried again
                self._log.failure("checking", error)
                self._prevented = (stamp,)
                self._checked.set()
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._due.wait()

    async def _check_all(self) -> None:
        while (submission := await self._database.run(store.next_received)) is not None:
            identity = await self._database.run(lambda c: signer_of(c, submission.submitter))
            assessment = await asyncio.to_thread(self._assess, submission, identity)
            now = milliseconds(self._clock)
            report_id = submission.report_id
            await self._database.run(lambda c: _record(c, report_id, assessment, now))  # noqa: B023
            self._checked.set()
            self._log.write("checked", outcome=assessment.outcome[0])

    async def _check_again(self) -> None:
        """Repeat the checks of reports that failed for want of the list, if it has the entry that they name
        now. New reports go first."""
        references = self._verifier.references
        if references is None:
            return
        if self._has_learnt():
            # before it is looked for reports: another list that is learnt meanwhile has another stamp
            stamp = references.stamp()
            self._again = deque(await asyncio.to_thread(self._read_failed))
            # not before: until then nobody knows that there is nothing to repeat
            self._learnt = stamp
        while self._again:
            await self._check_all()
            submission, entry_id = self._again[0]
            if await asyncio.to_thread(references.lookup, entry_id) is not None:
                await self._repeat(submission)
            self._again.popleft()
        self._checked.set()

    def _read_failed(self) -> list[tuple[store.Submission, int]]:
        """Look for reports to check again beside the writer, without a transaction of its thread."""
        with reading(self._database.path) as connection:
            return store.failed_for_want_of_list(connection)

    async def _repeat(self, submission: store.Submission) -> None:
        identity = await self._database.run(lambda c: signer_of(c, submission.submitter))
        assessment = await asyncio.to_thread(self._assess, submission, identity)
        now = milliseconds(self._clock)
        report_id = submission.report_id
        if await self._database.run(lambda c: _record_again(c, report_id, assessment, now)):
            self._log.write("checked again", outcome=assessment.outcome[0])

    def _assess(self, submission: store.Submission, identity: bytes | None) -> Assessment:
        try:
            with self._blobs.open(submission.blob_id) as file:
                sealed = file.read()
        except OSError as error:
            self._log.failure("checking", error)
            return Assessment({Check.SEALED: NotAvailable("the centre cannot read its copy")}, Facts())
        try:
            submitter = identity_of(submission.submitter)
            return self._verifier.assess(sealed, submission.report_id, submitter, identity)
        except MemoryError:
            return Assessment({Check.PICTURE: Failed("too large to be checked")}, Facts())
        except Exception as error:
            self._log.failure("checking", error)
            return Assessment({Check.SEALED: NotAvailable("the check failed inside")}, Facts())


def _record(connection: Connection, report_id: bytes, assessment: Assessment, at_ms: int) -> None:
    """Store the verdicts, what the report is about, and the notice to the user, in one transaction."""
    judged = settle_once(connection, report_id, assessment)
    row = store.record_checks(connection, report_id, judged, at_ms)
    notices.plan(connection, row)


def _record_again(connection: Connection, report_id: bytes, assessment: Assessment, at_ms: int) -> bool:
    """Store what a repetition came to, if it is another outcome and nobody has decided on the report since;
    return whether that was so."""
    if store.find(connection, report_id).state is not store.State.CHECKED:
        return False
    judged = settle_once(connection, report_id, assessment)
    row = store.repeat_checks(connection, report_id, judged, at_ms)
    if row is None:
        return False
    if not notices.of_report(connection, report_id):
        notices.plan(connection, row)
    return True
