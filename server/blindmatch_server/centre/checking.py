"""Checks received reports in the background, one after the other, also those a crash left unchecked.

The first identity key that a device names under an account stays (docs/threat-model.md).
"""

from __future__ import annotations

import asyncio
from sqlite3 import Connection

from blindmatch_proofs.verdict import Failed
from blindmatch_protocol.messages.sealed_message import Curve25519Key, FrankingKey
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire

from blindmatch_server.centre import notices, store
from blindmatch_server.centre.assessment import Assessment, Check, Facts, NotAvailable, settle_once
from blindmatch_server.centre.verify import Verifier
from blindmatch_server.hosting.authority import identity_of
from blindmatch_server.hosting.event_log import Clock, EventLog, milliseconds
from blindmatch_server.hosting.limits import nothing_left
from blindmatch_server.storage.blobs import Blobs
from blindmatch_server.storage.database import Database
from blindmatch_server.storage.errors import ConflictError

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


_PAUSE_SECONDS = 1.0


class Checking:
    """Belongs to one event loop."""

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

    def wake(self) -> None:
        self._due.set()

    async def finished(self, seconds: float) -> None:
        """Wait until nothing is left to check, or for `seconds`."""
        await nothing_left(self._is_left, self._checked, seconds)

    async def _is_left(self) -> bool:
        return await self._database.run(store.next_received) is not None

    async def run(self) -> None:
        """Check reports as they come; never returns."""
        while True:
            self._due.clear()
            try:
                await self._check_all()
            except Exception as error:
                # the store failed: what is not checked stays received, and is tried again
                self._log.failure("checking", error)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            await self._due.wait()

    async def _check_all(self) -> None:
        while (submission := await self._database.run(store.next_received)) is not None:
            identity = await self._database.run(lambda c: signer_of(c, submission.submitter))
            assessment = await asyncio.to_thread(self._assess, submission, identity)
            now, report_id = milliseconds(self._clock), submission.report_id
            await self._database.run(lambda c: _record(c, report_id, assessment, now))  # noqa: B023
            self._checked.set()
            self._log.write("checked", outcome=assessment.outcome[0])

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
