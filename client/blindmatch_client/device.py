"""A device: one account, one design, one folder, one way out.

    Device.create --> register --> send_text, send_picture, receive, flush --> close
    Device.open ----------------/

Messages and reports that could not leave wait in the folder and leave with `flush`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from blindmatch_protocol.contract import AnyDesign, Match, NoMatch, Party, Undisclosed, Voucher
from blindmatch_protocol.errors import BlindmatchError, DesignError, PictureError
from blindmatch_protocol.picture import container
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import Randomness

from blindmatch_client import notices
from blindmatch_client.detector import TraceSink
from blindmatch_client.egress import Egress
from blindmatch_client.errors import StoreError
from blindmatch_client.failure import FailureMode
from blindmatch_client.keys import AccountKeeper
from blindmatch_client.matching import Matching as Matcher
from blindmatch_client.messenger import Account
from blindmatch_client.outbox import Matching, Outbox, Outgoing, Stage, decode_outcome
from blindmatch_client.receiving import Received, Receiver
from blindmatch_client.relay import RelayClient
from blindmatch_client.reporting import Reporting
from blindmatch_client.sending import Progress, Sender
from blindmatch_client.store import Store
from blindmatch_client.transport import ROUND_DEADLINE_S

MESSAGE_ID_BYTES: Final = 16
UNREADABLE_TYPE: Final = "application/octet-stream"


class Unreadable(StrEnum):
    """What is done with an attachment that is no picture this device can decode."""

    REFUSE = "refuse"
    SEND = "send"
    """It is sent unmatched: a way around detection, open to every user, that says nothing to anybody."""


class OutcomeKind(StrEnum):
    """What came of a message's picture on this device."""

    NO_PICTURE = "no picture"
    NO_MATCH = "no match"
    MATCH = "match"
    VOUCHER = "voucher"
    UNDISCLOSED = "undisclosed"
    DUE = "to be matched"
    SKIPPED = "not matched"


_OWING: Final = frozenset({OutcomeKind.MATCH, OutcomeKind.VOUCHER})


@dataclass(frozen=True, slots=True)
class DeviceConfig:
    """What kind of device this is.

    Attributes:
        account: the name in the device's certificate.
        design: the design pictures are matched with.
        mode: what is done with a picture that cannot be matched now.
        unreadable: what is done with an attachment that is no picture.
        round_deadline_s: for one role's answer.
    """

    account: str
    design: AnyDesign
    mode: FailureMode = FailureMode.HOLD
    unreadable: Unreadable = Unreadable.REFUSE
    round_deadline_s: float = ROUND_DEADLINE_S


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message.

    Attributes:
        number: its number on this device.
        message_id: the id the relay knows it by.
        item: the picture's number in traces and records, or None.
        delivered: True once the relay has acknowledged it.
        outcome: of matching.
        report_id: of the report that was made just now, or None.
        reported: True if the centre has acknowledged that report.
        notice: what the user must be told; empty if nothing.
    """

    number: int
    message_id: bytes
    item: int | None
    delivered: bool
    outcome: OutcomeKind
    report_id: bytes | None
    reported: bool
    notice: str


@dataclass(frozen=True, slots=True)
class Flushed:
    """What `flush` did.

    Attributes:
        messages: those it worked on.
        problems: errors in words.
        waiting: messages, reports and vouchers that still wait.
    """

    messages: tuple[Sent, ...]
    problems: tuple[str, ...]
    waiting: int


class Device:
    """Made by `create` or `open`; not for use from several threads at once."""

    def __init__(
        self,
        folder: Path,
        config: DeviceConfig,
        keeper: AccountKeeper,
        store: Store,
        egress: Egress,
        rng: Randomness,
        clock_ms: Callable[[], int],
        trace: TraceSink,
    ) -> None:
        """Use `create` or `open`."""
        self._config = config
        self._keeper = keeper
        self._store = store
        self._egress = egress
        self._rng = rng
        self._clock_ms = clock_ms
        self._outbox = Outbox(store)
        self._relay = RelayClient(egress)
        self._reporting = Reporting(egress, store, config.account, rng, clock_ms)
        self._matcher = Matcher(
            config.design, egress, store, folder / "setup", rng, trace, config.round_deadline_s
        )
        self._receiver = Receiver(keeper, store, self._relay)
        self._sender = Sender(
            keeper,
            config.design,
            config.mode,
            store,
            self._outbox,
            self._relay,
            self._matcher,
            self._reporting,
            rng,
            clock_ms,
        )

    @classmethod
    def create(
        cls,
        folder: Path,
        config: DeviceConfig,
        egress: Egress,
        rng: Randomness,
        clock_ms: Callable[[], int],
        trace: TraceSink = lambda trace: None,
    ) -> Device:
        """A new device with a new account in `folder`, which is made if it is missing.

        Raises:
            StoreError: if the folder holds a device already or cannot be written.
            MessengerError: if the account's name is not one.
        """
        account = Account.create(config.account, clock_ms())
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error
        store = Store(folder, create=True)
        keeper = AccountKeeper.create(store, account)
        return cls(folder, config, keeper, store, egress, rng, clock_ms, trace)

    @classmethod
    def open(
        cls,
        folder: Path,
        config: DeviceConfig,
        egress: Egress,
        rng: Randomness,
        clock_ms: Callable[[], int],
        trace: TraceSink = lambda trace: None,
    ) -> Device:
        """The device in `folder`.

        Raises:
            StoreError: if there is none, one of another version, or one of another account.
            MessengerError: if the account's keys cannot be read.
        """
        store = Store(folder, create=False)
        keeper = AccountKeeper.load(store)
        if keeper.account.name != config.account:
            store.close()
            raise StoreError(f"{folder}: holds the account {keeper.account.name}, not {config.account}")
        return cls(folder, config, keeper, store, egress, rng, clock_ms, trace)

    @property
    def account(self) -> str:
        """The account's name."""
        return self._config.account

    @property
    def epoch(self) -> int:
        """Of the set-up in use; 0 before there is one."""
        return self._matcher.epoch

    @property
    def distrust(self) -> str | None:
        """How a matching role cheated, if one did: nothing is asked any more until `trust_again`."""
        return self._matcher.distrust

    def close(self) -> None:
        """Close store and channels."""
        self._egress.close()
        self._store.close()

    def register(self) -> int:
        """Publish pre-keys, learn the centre's key, fetch the set-up; the epoch.

        Every device does all of it at this time, so that nothing of it tells of a picture later.

        Raises:
            ServiceError: if a party cannot be reached or refuses; call it again then.
            SetFileError: if the set-up is not what it must be.
            DesignError: if the design fails on it.
        """
        self._relay.register(self._keeper.account.published())
        if self._egress.knows(Party.CENTRE):
            self._reporting.learn_key()
        return self._matcher.refresh()

    def refresh(self) -> int:
        """Fetch the current epoch's set-up if it is not here; the epoch. Raises as `register` does."""
        return self._matcher.refresh()

    def trust_again(self) -> None:
        """Ask a role that cheated again, as the user decided."""
        self._matcher.forgive()

    def send_text(self, to: str, text: str) -> Sent:
        """Send a text.

        Raises:
            RefusedError: if the relay will never take it, such as for an account it does not know.
            MessengerError: if it cannot be sealed for `to`.
        """
        number = self._outbox.add(self._rng.take(MESSAGE_ID_BYTES), to, text, self._clock_ms())
        return self._send(number, None)

    def send_picture(self, to: str, data: bytes, text: str = "") -> Sent:
        """Match a picture and send it.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse; nothing was sent.
            RefusedError, MessengerError: as `send_text`.
            ReportRefusedError: if a report was owed that cannot be made; the message was delivered.
        """
        picture = Picture.from_bytes(data)
        matching, media_type, notice = Matching.DUE, UNREADABLE_TYPE, ""
        try:
            _ = picture.pixels
            media_type = f"image/{container.sniff(data).lower()}"
        except PictureError:
            if self._config.unreadable is Unreadable.REFUSE:
                raise
            matching, notice = Matching.SKIPPED, notices.unreadable(to)
        number = self._outbox.add(
            self._rng.take(MESSAGE_ID_BYTES), to, text, self._clock_ms(), data, media_type, matching
        )
        return self._send(number, picture, notice)

    def receive(self, wait_ms: int = 0) -> list[Received]:
        """Messages that came; acknowledged once they are saved.

        Args:
            wait_ms: wait for more so long after the last one.

        Raises:
            ServiceError: if the relay cannot be reached.
        """
        return self._receiver.receive(wait_ms)

    def inbox(self) -> list[Received]:
        """All messages that ever came."""
        return self._receiver.inbox()

    def flush(self) -> Flushed:
        """Try again whatever waits: messages, pictures to be matched, reports.

        Once a picture could not be matched the others are not tried, since each would wait as long.
        """
        messages: list[Sent] = []
        problems: list[str] = []
        for number in self._outbox.open():
            stalled = any(sent.outcome is OutcomeKind.DUE for sent in messages)
            if stalled and self._outbox.get(number).matching is Matching.DUE:
                continue
            try:
                messages.append(self._send(number, None))
            except BlindmatchError as error:
                problems.append(str(error))
        problems += map(str, self._reporting.submit_all())
        waiting = len(self._outbox.open()) + self._reporting.waiting()
        return Flushed(tuple(messages), tuple(problems), waiting)

    def _send(self, number: int, picture: Picture | None, notice: str = "") -> Sent:
        progress = self._sender.advance(number, picture)
        report_id = progress.report_id
        if progress.row.stage is Stage.DONE and self._kind(progress.row) in _OWING:
            self._reporting.submit_all()
        with suppress(DesignError):
            self._matcher.prepare()
        row = progress.row
        return Sent(
            number=number,
            message_id=row.message_id,
            item=row.item,
            delivered=row.stage in (Stage.SENT, Stage.DONE),
            outcome=self._kind(row),
            report_id=report_id,
            reported=report_id is not None and self._reporting.is_received(report_id),
            notice=notice or self._notice(progress),
        )

    def _notice(self, progress: Progress) -> str:
        row = progress.row
        if progress.report_id is not None:
            received = self._reporting.is_received(progress.report_id)
            return notices.reported(row.recipient, progress.report_id, received)
        if progress.failure is not None:
            return notices.undecided(row.recipient, self._config.mode, progress.failure)
        if progress.problem is not None:
            return notices.waiting(row.recipient, str(progress.problem))
        return ""

    def _kind(self, row: Outgoing) -> OutcomeKind:
        if row.matching is not Matching.DECIDED or row.outcome is None:
            return {
                Matching.NONE: OutcomeKind.NO_PICTURE,
                Matching.DUE: OutcomeKind.DUE,
            }.get(row.matching, OutcomeKind.SKIPPED)
        match decode_outcome(self._config.design, row.outcome):
            case NoMatch():
                return OutcomeKind.NO_MATCH
            case Match():
                return OutcomeKind.MATCH
            case Voucher():
                return OutcomeKind.VOUCHER
            case Undisclosed():
                return OutcomeKind.UNDISCLOSED
