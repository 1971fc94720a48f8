"""Run a device of the messenger: one account, one design, one folder, and one way to the network.

    Device.create --> register --> send_text, send_picture, receive, flush --> close
    Device.open ----------------/

Messages and reports that could not leave wait in the folder and leave with `flush`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from blindmatch_proofs.absence import AbsenceProof
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError, SetFileError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Party
from blindmatch_protocol.picture.decode import Picture

from blindmatch_client.egress import Egress
from blindmatch_client.epochs.trusted import Doubt
from blindmatch_client.errors import DeviceError, RefusedError, ServiceError, StoreError
from blindmatch_client.matching.matching import EPOCH_MOVED, MatchingClient
from blindmatch_client.messages.contacts import Contacts
from blindmatch_client.messages.expiry import Expiry
from blindmatch_client.messages.messages import Flushed as Flushed
from blindmatch_client.messages.messages import Messages, check_provable, prove_absence
from blindmatch_client.messages.messages import Sent as Sent
from blindmatch_client.messages.messages import Standing as Standing
from blindmatch_client.messages.notices import OutcomeKind as OutcomeKind
from blindmatch_client.messages.receiving import Received, Receiver
from blindmatch_client.messages.recovery import Recovery
from blindmatch_client.messages.relay import RelayClient, Upkeep
from blindmatch_client.messages.sending import Sender
from blindmatch_client.messenger.state import ACCOUNT_NAME, AccountKeeper
from blindmatch_client.reports.complaints import NO_COMPLAINTS, Complaints
from blindmatch_client.reports.reporting import NO_REPORTS, Cover, Reporting
from blindmatch_client.settings import Base
from blindmatch_client.settings import CentreIdentity as CentreIdentity
from blindmatch_client.settings import Consequence as Consequence
from blindmatch_client.settings import DeviceConfig as DeviceConfig
from blindmatch_client.settings import Unreadable as Unreadable
from blindmatch_client.store.ended import EndedMessages
from blindmatch_client.store.outbox import Outbox
from blindmatch_client.store.store import Store
from blindmatch_client.store.store_file import Files
from blindmatch_client.trace import Trace

_IN_THE_CLEAR: Final = "in-the-clear"
"""Name of the value that is stored if the account was made without end-to-end encryption. A device refuses to
open it with a design of the other kind, since stored and queued messages would not fit that."""


class Device(Messages):
    """A device, made by `create` or `open`. Use it from one thread at a time."""

    def __init__(self, base: Base, keeper: AccountKeeper) -> None:
        config = base.config
        centre = base.config.centre
        self._base = base
        self._keeper = keeper
        self._files = Files(base.folder / "attachments")
        self._outbox = Outbox(base.store, base.design, base.rng)
        self._ended = EndedMessages(base.store)
        self._relay = RelayClient(base.egress, clear=not base.design.info.end_to_end)
        self._reporting = Reporting(base, keeper, self._files)
        configured = {centre.account: centre.notices} if centre else {}
        self.contacts = Contacts(keeper, self._relay, configured, self._requeue)
        self.complaints = Complaints(base)
        self._cover = None if config.cover is None else Cover(config.cover, base, self._reporting)
        self._matcher = MatchingClient(base)
        self._upkeep = Upkeep(keeper, base.store, self._relay, base.clock_ms)
        self._recovery = Recovery(base, keeper, self._outbox, self._upkeep.hasten)
        self._receiver = Receiver(base, keeper, self._files, self._relay, self._matcher.hear, self._recovery)
        self._sender = Sender(
            base,
            keeper,
            self._files,
            self._outbox,
            self._ended,
            self._relay,
            self._matcher,
            self._reporting,
            self._recovery,
            self._matcher.choose_checkpoint,
        )
        self._expiry = Expiry(base, self._relay, self._ended, self._recovery)
        with base.store.claimed() as is_alone:
            if is_alone:  # else another process may have written files that no row names yet
                holders = (self._receiver, self._outbox, self._reporting)
                self._files.keep_only({file for holder in holders for file in holder.list_files()})

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
        """Create a device with a new account.

        Args:
            folder: The device's folder; made if it is missing.
            clock_ms: Returns Unix time in milliseconds.
            trace: Takes what an audit needs, which holds secrets.
            identity: Private identity key, X25519, 32 bytes, if others know its public half already; None
                draws a new one.

        Raises:
            StoreError: The folder holds a device already, or cannot be written.
            MessengerError: The account's name is not one.
        """
        from blindmatch_client.messenger.account import Account  # it takes long to load

        account = Account.create(config.account, clock_ms(), identity=identity)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{folder}: cannot be made: {error.strerror}") from error
        initial = {ACCOUNT_NAME: account.dump(), "reports": NO_REPORTS, "complaints": NO_COMPLAINTS}
        if not config.design.info.end_to_end:
            initial[_IN_THE_CLEAR] = b"\1"
        store = Store(folder, True, config.key, initial)
        keeper = AccountKeeper(store, account, config.franking)
        return cls(Base(folder, config, store, egress, rng, clock_ms, trace), keeper)

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
        """Open the device in `folder`; arguments as of `create`.

        Raises:
            WrongKeyError: It is locked with another key than `config` has.
            StoreError: There is none, it is of another version or account, or it was made for a design with
                end-to-end encryption and `config.design` has none, or the reverse.
            MessengerError: The account's keys cannot be read.
        """
        store = Store(folder, False, config.key)
        keeper = AccountKeeper(store, franking=config.franking)
        if keeper.name != config.account:
            store.close()
            raise StoreError(f"{folder}: holds the account {keeper.name}, not {config.account}")
        if (store.get(_IN_THE_CLEAR) is not None) is config.design.info.end_to_end:
            store.close()
            kinds = ("in the clear", "end-to-end encrypted")
            stored, configured = kinds if config.design.info.end_to_end else kinds[::-1]
            raise StoreError(
                f"{folder}: made for messages {stored}; design {config.design.info.name}: {configured}"
            )
        return cls(Base(folder, config, store, egress, rng, clock_ms, trace), keeper)

    @property
    def account(self) -> str:
        return self._base.config.account

    @property
    def epoch(self) -> int:
        """Epoch of the current set-up; 0 if none."""
        return self._matcher.epoch

    @property
    def is_registered(self) -> bool:
        """True once the relay has taken the account's keys."""
        return self._upkeep.is_published

    @property
    def distrust(self) -> str | None:
        """How a matching role cheated; None if none did. Nothing is asked then until `forgive`."""
        return self._matcher.record.get_reason(Doubt.ROLES)

    @property
    def log_distrust(self) -> str | None:
        """How the log showed two histories; None if it did not. Nothing is asked then until `forgive`."""
        return self._matcher.record.get_reason(Doubt.LOG)

    def close(self) -> None:
        """Give up sessions whose outcome was not looked at, and close connections and the store."""
        if self._cover is not None:
            self._cover.note_arrived()
        self._sender.close()
        self._matcher.close()
        self._base.egress.close()
        self._files.touch()
        self._base.store.close()

    def register(self) -> int:
        """Fetch the set-up, publish the pre-keys, and exchange keys with the centre; return the epoch.

        Every device does all of this now, so that no later call tells of a picture. A failure before the
        relay has the keys leaves nothing behind. After a later one, call this again with the same keys: relay
        and centre never give a name to other keys.

        Raises:
            ServiceError: A party cannot be reached, or refuses.
            EpochRefusedError, SetFileError, DesignError: As `Adoption.refresh`.
        """
        epoch = self._matcher.refresh()
        self._upkeep.publish()
        if self._base.egress.knows(Party.CENTRE):
            self._reporting.check_key()
        return epoch

    def refresh(self) -> int:
        """Fetch the current epoch's set-up unless it is here; return the epoch. Raises as `register`."""
        return self._matcher.refresh()

    def forgive(self, doubt: Doubt) -> None:
        """Go on, as the user decided, with roles that cheated and sets that failed, or with the log.

        What was adopted, and all evidence, stays: the device still adopts no older epoch, and no second one
        of a number. Forgiving the log also dismisses the checkpoints that peers sent until now.
        """
        self._matcher.forgive(doubt)

    def reset_session(self, peer: str) -> bool:
        """End all sessions with `peer`; the next message starts one.

        Messages that wait for the relay are sealed again. Messages under way from `peer` in an ended session
        will be shown as problems.

        Returns:
            True if there was a session.
        """
        with self._keeper.saving() as account:
            had_session = account.has_session(peer)
            account.reset_sessions(peer)
            self._requeue(peer)
        return had_session

    def _requeue(self, peer: str) -> None:
        if self._base.design.info.end_to_end:
            self._outbox.requeue(peer)

    def receive(
        self, wait_ms: int = 0, on_complete: Callable[[int], None] = lambda count: None
    ) -> list[Received]:
        """Receive messages, and acknowledge them once they are saved.

        It stops after 30 s if the stream never pauses. Arguments and errors are those of `Receiver.receive`.
        """
        try:
            received = self._receiver.receive(wait_ms, on_complete)
            self._expiry.ask()
            self._recovery.ask(self._receiver.list_unopened())
            self._sender.advance(self._recovery.take_queued())
            self._look_after_keys()
            return self._receiver.read_again(received)
        finally:
            self._settle()

    def tick(self) -> bool:
        """Keep the cover schedule, if there is one. Call it more often than its slots come.

        Returns:
            True if a slot's message left now.

        Raises:
            ServiceError: As `Cover.tick`.
        """
        return self._cover is not None and self._cover.tick()

    def inbox(self) -> list[Received]:
        """Return all messages that came and are complete."""
        return self._receiver.list_inbox()

    def standing(self) -> Standing:
        """Return doubts, evidence, queued messages, reports and complaints. Nothing is sent."""
        record = self._matcher.record
        return Standing(
            distrust=self.distrust,
            log_distrust=self.log_distrust,
            adopted=record.find_newest(),
            evidence=tuple(record.list_evidence()),
            messages=self._outbox.count(),
            vouchers=self._reporting.count_vouchers(),
            reports=self._reporting.list_reports(),
            complaints=tuple(self.complaints.list_all()),
        )

    def prove_absence(self, recipient: str, data: bytes) -> AbsenceProof:
        """Send a picture as any other; if it does not match, prove that its hash is not on the list.

        Raises as `check_provable`, `send_picture` and `messages.prove_absence`.
        """
        item = Picture.from_bytes(data)
        check_provable(self._base.design, item)
        return prove_absence(self._matcher, item, self.send_picture(recipient, data))

    def ask_what_expired(self) -> None:
        """Ask the relay, at most once an hour, which messages of this account expired unfetched.

        They are among `outcomes` afterwards. `receive` and `flush` ask, too.
        """
        self._expiry.ask()

    def flush(self) -> Flushed:
        """Try again all that waits: messages, pictures to be matched, reports, vouchers and complaints.

        Where no role is asked that would say that there is a newer set, look for one. Once a picture could
        not be matched the others are not tried, since each would wait as long.
        """
        self._expiry.ask()
        advanced = self._sender.advance(self._outbox.list_waiting())
        endings = self._describe_all([progress for progress in advanced if not progress.row.unopened])
        messages = [sent for sent, error in endings if error is None]
        problems = [str(error) for _, error in endings if error is not None]
        problems += map(str, self._submit())
        problems += map(str, self.complaints.submit_all())
        self._look_after_keys()
        if self._cover is not None:
            self._cover.prepare()
        self._settle()
        waiting = self._outbox.count() + self._reporting.count_waiting() + self.complaints.count_waiting()
        return Flushed(tuple(messages), tuple(problems), waiting)

    def _submit(self) -> Sequence[BlindmatchError]:
        """Hand in reports and vouchers; return what went wrong.

        A design without roles has nobody to say that an epoch is old. Its devices look for a newer set after
        the centre refused a voucher for its epoch, and whenever pre-keys are due. The refused voucher waits
        until its epoch has ended: a centre that is behind its curator may still take it.
        """
        problems = self._reporting.submit_all(self._has_ended)
        is_outdated = any(
            isinstance(problem, RefusedError) and problem.status == EPOCH_MOVED for problem in problems
        )
        if self._base.design.info.roles or not (is_outdated or self._upkeep.is_due()):
            return problems
        try:
            self._matcher.refresh()
        except (DeviceError, DesignError, SetFileError) as error:
            return [*problems, error]
        return problems

    def _has_ended(self, epoch: int) -> bool:
        adopted = self._matcher.record.find(epoch)
        now = self._base.clock_ms()
        return adopted is not None and now >= 1000 * adopted.signed.manifest.valid_until

    def _settle(self) -> None:
        """Wipe earlier contents of rows, and the time at which the last file came or went."""
        self._base.store.settle()
        self._files.touch()

    def _look_after_keys(self) -> None:
        """Renew pre-keys if that is due; a relay that cannot be reached is asked next time."""
        if self._upkeep.is_due():
            self._recovery.forget()
            with suppress(ServiceError):
                self._upkeep.publish()
