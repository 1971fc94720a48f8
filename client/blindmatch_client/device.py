"""A device: one account, one design, one folder, one way out.

    Device.create --> register --> send_text, send_picture, receive, flush --> close
    Device.open ----------------/

Messages and reports that could not leave wait in the folder and leave with `flush`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from blindmatch_protocol.content import compose
from blindmatch_protocol.contract import Party
from blindmatch_protocol.errors import BlindmatchError, DesignError, PictureError, ProtocolError
from blindmatch_protocol.picture import container
from blindmatch_protocol.picture.decode import DEFAULT_LIMITS
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import Randomness

from blindmatch_client import notices
from blindmatch_client.complaints import Complaints
from blindmatch_client.consequence import Consequence as Consequence
from blindmatch_client.contacts import Contacts
from blindmatch_client.cover import Cover
from blindmatch_client.egress import Egress
from blindmatch_client.errors import ServiceError, StoreError
from blindmatch_client.files import Files, read_chunks
from blindmatch_client.keys import ACCOUNT_NAME, AccountKeeper
from blindmatch_client.matching import Matching as Matcher
from blindmatch_client.messenger import Account
from blindmatch_client.messenger.attachment import AttachmentSealing, pieces
from blindmatch_client.messenger.errors import MalformedError
from blindmatch_client.outbox import Matching, Outbox, Outgoing, Queued, Stage
from blindmatch_client.pictures import Pictures
from blindmatch_client.receiving import Received, Receiver
from blindmatch_client.relay import RelayClient
from blindmatch_client.reporting import Reporting
from blindmatch_client.results import CentreIdentity as CentreIdentity
from blindmatch_client.results import DeviceConfig as DeviceConfig
from blindmatch_client.results import Flushed as Flushed
from blindmatch_client.results import OutcomeKind as OutcomeKind
from blindmatch_client.results import Sent as Sent
from blindmatch_client.results import Standing as Standing
from blindmatch_client.results import Unreadable as Unreadable
from blindmatch_client.results import outcome_kind
from blindmatch_client.sending import Progress, Sender
from blindmatch_client.store import Store
from blindmatch_client.trace import Trace
from blindmatch_client.upkeep import Upkeep

MESSAGE_ID_BYTES: Final = 16
UNREADABLE_TYPE: Final = "application/octet-stream"
MOST_ATTACHMENT_BYTES: Final = 100 << 20
_OWING: Final = frozenset({OutcomeKind.MATCH, OutcomeKind.VOUCHER})


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
        trace: Callable[[Trace], None],
    ) -> None:
        """Use `create` or `open`."""
        self._config = config
        self._keeper = keeper
        self._store = store
        self._egress = egress
        self._rng = rng
        self._clock_ms = clock_ms
        self._files = Files(folder / "attachments")
        self._outbox = Outbox(store)
        self._relay = RelayClient(egress)
        centre = config.centre
        key = None if centre is None else centre.sealing
        self._reporting = Reporting(egress, store, config.account, key, rng, clock_ms)
        # whose key is whose: the user's own, with a small interface of its own
        pinned = {} if centre is None else {centre.account: centre.notices}
        self.contacts = Contacts(keeper, self._relay, pinned)
        # the user's own, with a small interface of its own
        self.complaints = Complaints(egress, store, rng, clock_ms)
        self._cover = (
            None
            if config.cover is None
            else Cover(config.cover, egress, store, self._reporting, rng, clock_ms)
        )
        self._matcher = Matcher(
            config.design,
            egress,
            store,
            folder / "setup",
            rng,
            trace,
            self._outbox.request_id,
            clock_ms,
            config.curator,
            config.round_deadline_s,
        )
        self._pictures = Pictures(
            config.mode, config.account, self._matcher, self._outbox, self._files, clock_ms
        )
        self._upkeep = Upkeep(keeper, store, self._relay, clock_ms)
        self._receiver = Receiver(keeper, store, self._files, self._relay)
        self._sender = Sender(
            keeper,
            config.design,
            config.mode,
            config.consequence,
            store,
            self._files,
            self._outbox,
            self._relay,
            self._pictures,
            self._reporting,
            rng,
            clock_ms,
            trace,
        )
        self._files.keep_only(self._outbox.files() | self._receiver.files_kept())

    @classmethod
    def create(
        cls,
        folder: Path,
        config: DeviceConfig,
        egress: Egress,
        rng: Randomness,
        clock_ms: Callable[[], int],
        trace: Callable[[Trace], None] = lambda trace: None,
        identity: bytes | None = None,
    ) -> Device:
        """A new device with a new account in `folder`, which is made if it is missing.

        `identity` is the account's private identity key where others know the public one already.

        Raises:
            StoreError: if the folder holds a device already or cannot be written.
            MessengerError: if the account's name is not one.
        """
        account = Account.create(config.account, clock_ms(), identity=identity)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error
        store = Store(folder, True, config.key, {ACCOUNT_NAME: account.dump()})
        keeper = AccountKeeper(store, account)
        return cls(folder, config, keeper, store, egress, rng, clock_ms, trace)

    @classmethod
    def open(
        cls,
        folder: Path,
        config: DeviceConfig,
        egress: Egress,
        rng: Randomness,
        clock_ms: Callable[[], int],
        trace: Callable[[Trace], None] = lambda trace: None,
    ) -> Device:
        """The device in `folder`.

        Raises:
            WrongKeyError: if it is locked with another key than `config` has.
            StoreError: if there is none, one of another version, or one of another account.
            MessengerError: if the account's keys cannot be read.
        """
        store = Store(folder, False, config.key)
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
    def registered(self) -> bool:
        """Has the relay taken the account's keys?"""
        return self._upkeep.published

    @property
    def distrust(self) -> str | None:
        """How a matching role cheated, if one did: nothing is asked any more until `trust_again`."""
        return self._matcher.record.distrust

    def close(self) -> None:
        """Close store and channels."""
        if self._cover is not None:
            self._cover.note()
        self._pictures.close()
        self._matcher.close()
        self._egress.close()
        self._store.close()

    def register(self) -> int:
        """Fetch the set-up, compare the centre's key, publish pre-keys; the epoch.

        Every device does all of it at this time, so that nothing of it tells of a picture later. Keys come
        last: the relay never gives up a name, and what fails before leaves nothing there.

        Raises:
            ServiceError: if a party cannot be reached or refuses; call it again then.
            DeviceError: if the set that is offered must not be adopted.
            SetFileError: if the set-up is not what it must be.
            DesignError: if the design fails on it.
        """
        epoch = self._matcher.refresh()
        if self._egress.knows(Party.CENTRE):
            self._reporting.check_key()
        self._upkeep.publish()
        return epoch

    def refresh(self) -> int:
        """Fetch the current epoch's set-up if it is not here; the epoch. Raises as `register` does."""
        return self._matcher.refresh()

    def trust_again(self) -> None:
        """Ask again, as the user decided, roles that cheated, and with a set that failed.

        What was adopted, and all evidence, stays: no older epoch is taken, and no second one of a number.
        """
        self._matcher.forgive()

    def reset_session(self, peer: str) -> bool:
        """End all sessions with `peer`; the next message starts one. Whether there was any.

        What is under way in the ended ones can no longer be opened here, and is shown as a problem.
        """
        with self._keeper.saving() as account:
            had = account.has_session(peer)
            account.reset_sessions(peer)
        return had

    def send_text(self, to: str, text: str) -> Sent:
        """Send a text.

        Raises:
            RefusedError: if the relay will never take it, such as for an account it does not know.
            MessengerError: if it cannot be sealed for `to`.
        """
        if self._keeper.account.has_session(to):
            (row,) = self._sender.seal_texts(self._ids([to]), text)
            return self._settle(self._sender.hand_over(row))
        return self._send(self._queue([to], text)[0], None)

    def send_text_to(self, group: Sequence[str], text: str) -> list[Sent]:
        """Send a text to each of `group` through a session of its own; what cannot be sent says so.

        Raises:
            MalformedError: if the text is too long; nothing is queued then.
        """
        ids = self._ids(group)
        together = self._sender.send_together(ids, text)
        others = {to: name for to, name in ids.items() if to not in together}
        rest = iter(self._send_all(self._queued(others, text), None))
        return [self._settle(together[to]) if to in together else next(rest) for to in ids]

    def send_picture(self, to: str, data: bytes, text: str = "") -> Sent:
        """Match a picture and send it.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse; nothing was sent.
            RefusedError, MessengerError: as `send_text`.
            ReportRefusedError: if a report was owed that cannot be made; the message was delivered.
        """
        picture, queued, notice = self._picture(to, data)
        return self._send(self._queue([to], text, queued)[0], picture, notice)

    def send_picture_to(self, group: Sequence[str], data: bytes, text: str = "") -> list[Sent]:
        """Match a picture once and send it to each of `group`; what cannot be sent says so.

        Raises:
            PictureError: if it cannot be decoded and the policy is to refuse; nothing was sent.
        """
        picture, queued, notice = self._picture(", ".join(group), data)
        return self._send_all(self._queue(group, text, queued), picture, notice)

    def send_file(self, to: str, path: Path, text: str = "") -> Sent:
        """Send a file of up to 100 MiB. One that may be a picture is sent as one; a larger one is never
        whole in memory.

        Raises:
            PictureError: if it is no picture and the policy is to refuse, or too large; nothing was sent.
            StoreError: if it cannot be read, or not be kept until it is sent.
            RefusedError, MessengerError, ReportRefusedError: as `send_picture`.
        """
        picture, queued, notice = self._file(to, path)
        return self._send(self._queue([to], text, queued)[0], picture, notice)

    def send_files(self, group: Sequence[str], paths: Sequence[Path], text: str = "") -> list[Sent]:
        """Send files to each of `group`, one message for each; what cannot be sent says so. All are handed
        over before the outcome of any is looked at, so that the time in between tells nothing.

        Raises:
            PictureError, StoreError: as `send_file`, for any of them; nothing was sent. The first names it.
        """
        queued: list[tuple[Queued, str]] = []
        for path in paths:
            try:
                queued.append(self._file(", ".join(group), path)[1:])
            except PictureError as error:
                raise PictureError(f"{path}: {error}") from error
        numbers = [(n, notice) for one, notice in queued for n in self._queue(group, text, one)]
        ends = self._sender.advance([number for number, _ in numbers])
        return [self._told(*one, end) for one, end in zip(numbers, ends, strict=True)]

    def receive(
        self, wait_ms: int = 0, on_complete: Callable[[int], None] = lambda count: None
    ) -> list[Received]:
        """Messages that came; acknowledged once they are saved. If they do not stop coming, those of the
        first half minute.

        Args:
            wait_ms: wait for more so long after the last one.
            on_complete: told, while they come, of every so many more that are saved with what they bear.

        Raises:
            ServiceError: if the relay cannot be reached.
        """
        received = self._receiver.receive(wait_ms, on_complete)
        self._look_after_keys()
        return received

    def tick(self) -> bool:
        """Keep the cover schedule, if there is one: to be called more often than its slots come. Whether a
        slot's message left now.

        Raises:
            ServiceError: if the centre cannot be reached; the slot has passed all the same.
        """
        return self._cover is not None and self._cover.tick()

    def inbox(self) -> list[Received]:
        """All messages that ever came."""
        return self._receiver.inbox()

    def standing(self) -> Standing:
        """What waits, and what became of reports and complaints. Nothing is sent."""
        waiting, reports = len(self._outbox.open()), tuple(self._reporting.standing())
        record, complaints = self._matcher.record, tuple(self.complaints.all())
        evidence = tuple(record.evidence())
        return Standing(record.distrust, record.newest(), evidence, waiting, reports, complaints)

    def flush(self) -> Flushed:
        """Try again whatever waits: messages, pictures to be matched, reports, complaints.

        Once a picture could not be matched the others are not tried, since each would wait as long.
        """
        ends = self._sender.advance(self._outbox.open())
        messages = [self._settle(end) for end in ends if isinstance(end, Progress)]
        problems = [str(end) for end in ends if isinstance(end, BlindmatchError)]
        problems += map(str, self._reporting.submit_all(self._cover is None))
        problems += map(str, self.complaints.submit_all())
        self._look_after_keys()
        if self._cover is not None:
            self._cover.prepare()
        waiting = len(self._outbox.open()) + self._reporting.waiting() + self.complaints.waiting()
        return Flushed(tuple(messages), tuple(problems), waiting)

    def _look_after_keys(self) -> None:
        """Renew pre-keys if that is due; a relay that cannot be reached is asked next time."""
        if self._upkeep.is_due():
            with suppress(ServiceError):
                self._upkeep.publish()

    def _picture(self, to: str, data: bytes) -> tuple[Picture, Queued, str]:
        """The picture, sealed on the disk, and what the user must be told; `PictureError` if it is none."""
        picture = Picture.from_bytes(data)
        matching, media_type, notice = Matching.DUE, UNREADABLE_TYPE, ""
        try:
            _ = picture.pixels
            media_type = f"image/{container.sniff(data).lower()}"
        except PictureError:
            if self._config.unreadable is Unreadable.REFUSE:
                raise
            matching, notice = Matching.SKIPPED, notices.unreadable(to)
        return picture, self._sealed(pieces(data), media_type, matching), notice

    def _file(self, to: str, path: Path) -> tuple[Picture | None, Queued, str]:
        """The same of a file; one that is too large for a picture is never whole in memory."""
        chunks, size = read_chunks(path), path.stat().st_size if path.is_file() else 0
        if size <= DEFAULT_LIMITS.most_bytes:
            return self._picture(to, b"".join(chunks))
        if self._config.unreadable is Unreadable.REFUSE or size > MOST_ATTACHMENT_BYTES:
            raise PictureError(f"a file of {size} bytes is too large")
        return None, self._sealed(chunks, UNREADABLE_TYPE, Matching.SKIPPED), notices.unreadable(to)

    def _sealed(self, data: Iterable[bytes], media_type: str, matching: Matching) -> Queued:
        sealing = AttachmentSealing(self._rng)
        file = self._files.write(sealing.blob(data))
        return Queued(file, sealing.ref(media_type), matching)

    def _queue(self, group: Sequence[str], text: str, queued: Queued | None = None) -> list[int]:
        return self._queued(self._ids(group), text, queued)

    def _queued(self, message_ids: Mapping[str, bytes], text: str, queued: Queued | None = None) -> list[int]:
        """Compose and queue a message to each recipient: its commitment is made before anything is asked.

        Raises:
            MalformedError: if the text is too long; nothing is queued then.
        """
        now, attachments = self._clock_ms(), () if queued is None else (queued.attachment,)
        contents = {to: compose(text, attachments, now, self._rng) for to in message_ids}
        try:
            return self._outbox.add(message_ids, contents, now, queued)
        except ProtocolError as error:
            raise MalformedError(error) from error

    def _ids(self, group: Sequence[str]) -> dict[str, bytes]:
        return {to: self._rng.take(MESSAGE_ID_BYTES) for to in group}

    def _send_all(self, numbers: Sequence[int], picture: Picture | None, notice: str = "") -> list[Sent]:
        """Send the messages of a group; the first one's matching is everybody's."""
        ends = self._sender.advance(numbers, picture)
        return [self._told(number, notice, end) for number, end in zip(numbers, ends, strict=True)]

    def _told(self, number: int, notice: str, end: Progress | BlindmatchError) -> Sent:
        """How far a message came, or what stopped it."""
        if isinstance(end, BlindmatchError):
            return self._settle(Progress(self._outbox.get(number)), str(end))
        return self._settle(end, notice)

    def _send(self, number: int, picture: Picture | None, notice: str = "") -> Sent:
        (end,) = self._sender.advance([number], picture)
        if isinstance(end, BlindmatchError):
            raise end
        return self._settle(end, notice)

    def _on_outcome(self, kind: OutcomeKind, row: Outgoing) -> str:
        """What the user is told of the outcome itself, where no report is made of it."""
        consequence, to = self._config.consequence, row.recipient
        match kind:
            case OutcomeKind.UNCONFIRMED:
                return notices.unconfirmed(to)
            case OutcomeKind.MATCH | OutcomeKind.FLAG if consequence is Consequence.REFUSE:
                return notices.refused(to)
            case OutcomeKind.FLAG:
                return notices.flagged(to, self._config.design.info.relation.words)
            case OutcomeKind.MATCH if consequence is Consequence.WARN and row.stage is Stage.DONE:
                return notices.warned(to)
            case _:
                return ""

    def _settle(self, progress: Progress, notice: str = "") -> Sent:
        report_id = progress.report_id
        kind = outcome_kind(self._config.design, progress.row)
        if progress.row.stage is Stage.DONE and kind in _OWING:
            self._reporting.submit_all(self._cover is None)
        with suppress(DesignError):
            self._matcher.prepare()
        row = progress.row
        reported = report_id is not None and self._reporting.is_received(report_id)
        told = notices.told(progress, self._config.mode, reported, self._cover is not None)
        notice = notice or self._on_outcome(kind, row)
        return Sent(
            number=row.number,
            message_id=row.message_id,
            item=row.item,
            delivered=row.stage in (Stage.SENT, Stage.DONE),
            outcome=kind,
            report_id=report_id,
            reported=reported,
            notice=notice or told,
        )
