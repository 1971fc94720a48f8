"""Moves outgoing messages forward, each step saved before the next one sends anything.

    (text)  where there is a session: sealed in the transaction that queues it, several in one
    QUEUED  ask about the picture, as the failure mode says; upload the sealed attachment (once for a group);
            seal the message, save the account
    SEALED  hand it to the relay
    SENT    ask now if that had to wait; look at the outcome; queue the report or voucher that it owes
    DONE    a text at once, when the relay has it

What goes to the relay, and when, is the same whatever the outcome: it is looked at after the relay has the
message, and of several messages after all were tried; one that it does not take then it gets later, in the
same form. Only where a server learns the outcome it is there before, and a device that refuses to send what
matches (consequence.py) looks at it before.
A device that stops in between asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from blindmatch_protocol.content import compose
from blindmatch_protocol.contract import AnyDesign, Match, Voucher
from blindmatch_protocol.errors import BlindmatchError
from blindmatch_protocol.franking import disclose
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import Randomness

from blindmatch_client.consequence import Consequence, refuses
from blindmatch_client.detector import Undecided
from blindmatch_client.errors import RefusedError, ServiceError
from blindmatch_client.failure import FailureMode
from blindmatch_client.files import Files
from blindmatch_client.keys import AccountKeeper
from blindmatch_client.messenger import MessengerError
from blindmatch_client.messenger.errors import IdentityChangedError
from blindmatch_client.outbox import Matching, Outbox, Outgoing, Stage, decode_outcome
from blindmatch_client.pictures import Pictures
from blindmatch_client.relay import SEAL_BYTES, RelayClient
from blindmatch_client.reporting import ConfirmedMatch, Reported, Reporting
from blindmatch_client.store import Store
from blindmatch_client.trace import MessageTrace

T = TypeVar("T")

REFUSED: Final = "the picture matches, and this device does not send what does"

_PERMANENT: Final = frozenset({"NOT_FOUND", "INVALID_ARGUMENT", "PERMISSION_DENIED", "OUT_OF_RANGE"})
"""Refusals of the relay after which sending the message again is pointless."""

_SIDE_BY_SIDE: Final = 8
"""Messages that are handed to the relay at the same time, to different recipients."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one call of `advance` came.

    Attributes:
        row: the message as it stands.
        failure: why its picture was not matched this time, if it should have been.
        problem: why it waits for the relay, if it does.
        report_id: of a report that was queued.
    """

    row: Outgoing
    failure: Undecided | None = None
    problem: ServiceError | None = None
    report_id: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends an account's messages.

    Attributes:
        keeper: of the messenger's keys; they are saved with every message they seal.
        design: the design pictures are matched with.
        mode: what is done with a picture that cannot be matched.
        consequence: what follows from a match or a flag.
        trace: gets each message as it is taken up and as it was sealed; it holds secrets.
    """

    keeper: AccountKeeper
    design: AnyDesign
    mode: FailureMode
    consequence: Consequence
    store: Store
    files: Files
    outbox: Outbox
    relay: RelayClient
    pictures: Pictures
    reporting: Reporting
    rng: Randomness
    clock_ms: Callable[[], int]
    trace: Callable[[MessageTrace], None]

    def seal_texts(self, message_ids: Mapping[str, bytes], text: str) -> list[Outgoing]:
        """Queue a text to each recipient, sealed already; one transaction saves all, before any is sent.

        Args:
            message_ids: a fresh id for each recipient; there must be a session with each.
            text: the same for all.

        Raises:
            MessengerError: if it cannot be sealed; nothing is queued then.
        """
        now, rows = self.clock_ms(), []
        with self.keeper.saving() as account:
            for to, message_id in message_ids.items():
                content = compose(text, (), now, self.rng)
                sealed = account.encrypt(to, content)
                self.trace(MessageTrace(message_id, to, None, None, content))
                rows.append(self.outbox.add_sealed(to, message_id, now, sealed))
        return rows

    def send_together(self, message_ids: Mapping[str, bytes], text: str) -> dict[str, Progress]:
        """Send a text to all of these that there is a session with, side by side; how far each came.

        None of them if it cannot be sealed. One that the relay will never take is FAILED, with the problem.
        """
        account = self.keeper.account
        known = {to: name for to, name in message_ids.items() if account.has_session(to)}
        try:
            rows = self.seal_texts(known, text) if known else []
        except MessengerError:
            return {}
        with ThreadPoolExecutor(_SIDE_BY_SIDE, "send") as pool:
            problems = list(pool.map(self._handed, rows))
        with self.store.transaction(synced=False):
            return {row.recipient: self._after(row, one) for row, one in zip(rows, problems, strict=True)}

    def _handed(self, row: Outgoing) -> ServiceError | None:
        try:
            self._send(row)
        except ServiceError as problem:
            return problem
        return None

    def _after(self, row: Outgoing, problem: ServiceError | None) -> Progress:
        if problem is None:
            return Progress(self.outbox.sent(row))
        try:
            return self._waits(row.number, None, problem)
        except RefusedError:
            return Progress(self.outbox.get(row.number), None, problem)

    def advance(
        self, numbers: Sequence[int], item: Picture | None = None
    ) -> list[Progress | BlindmatchError]:
        """Bring messages as far as they come now, or what stopped one in its place.

        All are tried before the outcome of any picture is looked at. Once a picture could not be
        matched no other is asked about, since each would wait as long.

        Args:
            numbers: of the messages.
            item: the picture that all of them bear, if it is decoded already.
        """
        ends: list[Progress | BlindmatchError] = []
        for row, handed in self._handed_over(numbers, item):
            if isinstance(handed, BlindmatchError):
                self.pictures.given_up(row)
                ends.append(handed)
            else:
                ends.append(_tried(partial(self._concluded, handed, item)))
        return ends

    def _handed_over(
        self, numbers: Sequence[int], item: Picture | None
    ) -> list[tuple[Outgoing, Progress | BlindmatchError]]:
        handed: list[tuple[Outgoing, Progress | BlindmatchError]] = []
        failure: Undecided | None = None
        for row in map(self.outbox.get, numbers):
            known = failure if row.matching is Matching.DUE else None
            end = _tried(partial(self.hand_over, row, item, known))
            if isinstance(end, Progress) and end.row.matching is Matching.DUE:
                failure = end.failure or failure
            handed.append((row, end))
        return handed

    def hand_over(
        self, row: Outgoing, item: Picture | None = None, failure: Undecided | None = None
    ) -> Progress:
        """Ask about a message's picture, as the failure mode says, and bring the message to the relay.

        Args:
            row: the message as it stands.
            item: its picture, if it is decoded already.
            failure: why its picture could not be matched, if that was tried just now.

        Raises:
            RefusedError: if the relay will never take it; it is FAILED then.
            MessengerError: if it cannot be sealed for its recipient; it is FAILED then.
        """
        if row.stage is Stage.QUEUED:
            self.trace(MessageTrace(row.message_id, row.recipient, row.item, row.attachment))
            failure = failure or self.pictures.ask(row, item)
            if self.consequence is Consequence.REFUSE:
                failure = failure or self.pictures.look(row)
                if self._refused(self.outbox.get(row.number)):
                    return Progress(self.outbox.get(row.number))
            if failure is not None and self.mode is FailureMode.HOLD:
                return Progress(self.outbox.get(row.number), failure)
        try:
            row = self._brought_to_relay(row)
        except ServiceError as problem:
            return self._waits(row.number, failure, problem)
        if row.stage is Stage.SENT and failure is None:
            failure = self.pictures.ask(row, item)
        return Progress(row, failure)

    def _refused(self, row: Outgoing) -> bool:
        """Must this message not be sent, by the outcome it has? It is FAILED then."""
        if row.outcome is None or not refuses(self.consequence, decode_outcome(self.design, row.outcome)):
            return False
        self._close(row, Stage.FAILED, REFUSED)
        return True

    def _concluded(self, handed: Progress, item: Picture | None) -> Progress:
        """Look at the outcome, now that the relay has the message, and settle what it owes."""
        row, failure = handed.row, handed.failure
        if row.stage is not Stage.SENT:
            return handed
        return self._settled(row, self.pictures.look(row) or failure, item)

    def _brought_to_relay(self, row: Outgoing) -> Outgoing:
        """The message as it stands once the relay has it."""
        if row.stage is Stage.QUEUED:
            self._upload(row)
            self._seal(self.outbox.get(row.number))
            row = self.outbox.get(row.number)
        if row.stage is Stage.SEALED:
            self._send(row)
            row = self.outbox.sent(row)
        return row

    def _send(self, row: Outgoing) -> None:
        assert row.sealed is not None
        self.relay.send(row.recipient, row.message_id, row.sealed, row.item)

    def _upload(self, row: Outgoing) -> None:
        """Upload the attachment. After a crash in between the same bytes are uploaded again."""
        file, ref = row.file, row.attachment
        if file is None or ref is None or row.uploaded:
            return
        size = ref.padded_size + SEAL_BYTES
        blob_id = self.relay.upload(size, lambda: self.files.chunks(file), row.item)
        self.outbox.uploaded(file, replace(ref, blob_id=blob_id))

    def _seal(self, row: Outgoing) -> None:
        assert row.content is not None
        content = row.content
        if row.attachment is not None:  # the relay named the blob since it was composed
            content = replace(content, attachments=(row.attachment,))
        has_session = self.keeper.account.has_session(row.recipient)
        bundle = None if has_session else self.relay.fetch_bundle(row.recipient)
        try:
            with self.keeper.saving() as account:
                sealed = account.encrypt(row.recipient, content, bundle)
                self.outbox.sealed(row.number, content, sealed)
            self.trace(MessageTrace(row.message_id, row.recipient, row.item, row.attachment, content))
        except MessengerError as error:
            if isinstance(error, IdentityChangedError):
                with self.keeper.saving() as account:
                    account.note_identity(row.recipient, error.identity)
            self._close(row, Stage.FAILED, str(error))
            raise

    def _close(self, row: Outgoing, stage: Stage, problem: str) -> None:
        self.outbox.close(row.number, stage, problem)
        self._forget_file(row)

    def _forget_file(self, row: Outgoing) -> None:
        """Delete the sealed attachment unless a message to somebody else still needs it."""
        if row.file is not None and row.file not in self.outbox.files():
            self.files.remove(row.file)

    def _waits(self, number: int, failure: Undecided | None, problem: ServiceError) -> Progress:
        if isinstance(problem, RefusedError) and problem.status in _PERMANENT:
            self._close(self.outbox.get(number), Stage.FAILED, str(problem))
            raise problem
        self.outbox.troubled(number, str(problem))
        return Progress(self.outbox.get(number), failure, problem)

    def _settled(self, row: Outgoing, failure: Undecided | None, item: Picture | None) -> Progress:
        """Queue what the outcome owes, and close the message, in one transaction."""
        number = row.number
        row = self.outbox.get(number)  # matching may have come to its end since
        if row.matching is Matching.DUE:
            return Progress(row, failure)
        with self.store.transaction():
            report_id = self._owe(row, item)
            self.outbox.close(number, Stage.DONE, row.problem)
        # only now: the transaction may fail, and then the file is needed still
        self._forget_file(row)
        return Progress(self.outbox.get(number), failure, None, report_id)

    def _owe(self, row: Outgoing, item: Picture | None) -> bytes | None:
        """Queue the report or voucher, one for a picture whatever the number of its recipients; the report's
        id if it is one."""
        if row.outcome is None or row.item is None or row.content is None or row.attachment is None:
            return None
        assert row.epoch is not None and row.matched_at_ms is not None
        outcome = decode_outcome(self.design, row.outcome)
        if not isinstance(outcome, Match | Voucher) or self.reporting.has_submission(row.item):
            return self.reporting.report_of(row.item) if isinstance(outcome, Match) else None
        if self.consequence is not Consequence.REPORT:
            return None
        if isinstance(outcome, Voucher):
            self.reporting.queue_voucher(self.design, row.epoch, row.item, outcome.body.encode())
            return None
        if outcome.label.unconfirmed:
            return None  # a filter's word is no evidence: nothing of the message leaves
        data = self.pictures.plain(row)
        picture = item or Picture.from_bytes(data)
        confirmed = ConfirmedMatch(self.design, row.epoch, picture, row.item, outcome)
        shown, opening = disclose(row.content, self.keeper.account.name, row.recipient, 0)
        reported = Reported(shown, opening, data, row.matched_at_ms)
        return self.reporting.queue(confirmed, reported)


def _tried(run: Callable[[], T]) -> T | BlindmatchError:
    """What `run` gives, or the error that stopped it."""
    try:
        return run()
    except BlindmatchError as error:
        return error
