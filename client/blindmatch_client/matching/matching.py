"""One account's matching over the epochs: set-up, enrolment, device state, distrust, and the detector.

An enrolment is made once for each key of the set-up and does not depend on a picture. What is sent stays here
as files, so that the same bytes go on after a break, and again to a role that lost them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Final

from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.epoch import View
from blindmatch_protocol.codec import Bool, Fixed, Message, Nested, Sequence, Text, UInt, Variable
from blindmatch_protocol.codec.errors import DesignError, ProtocolError, SetFileError
from blindmatch_protocol.codec.randomness import Recording
from blindmatch_protocol.contract import (
    CERTIFYING,
    Binding,
    Enrolment,
    Item,
    Learner,
    Role,
    Undisclosed,
    state_scope,
)
from blindmatch_protocol.failpoint import reach
from blindmatch_protocol.messages.epoch_manifest import SignedManifest
from blindmatch_protocol.messages.parts import ENROLMENT, cut, pieces
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as pb
from blindmatch_protocol.unix_time import format_unix_time
from msgspec.structs import replace

from blindmatch_client.egress import Call
from blindmatch_client.egress.calls import ENROL, ENROLLED
from blindmatch_client.epochs.adoption import Adoption, AdoptionRecord, Opened, Transparency
from blindmatch_client.epochs.trusted import DISMISSED, SHOW, UNWITNESSED, Doubt, Evidence, Kind
from blindmatch_client.errors import DeviceError, MisbehavedError, RefusedError
from blindmatch_client.matching.detector import (
    Asked,
    Cause,
    Decided,
    Detection,
    Detector,
    MatchingExchange,
    StateKeeper,
    Undecided,
    Verified,
    guarded,
)
from blindmatch_client.settings import Base
from blindmatch_client.store.store import DesignState, has_state_of_epoch
from blindmatch_client.store.store_file import Files
from blindmatch_client.trace import EnrolmentTrace, Purpose, SessionTrace

ENROL_DEADLINE_S: Final = 600.0
KEY_BYTES_MOST: Final = 64
_FOLDER: Final = "enrolments"


class _Body(Message, tag=0x1E, name="device/enrolment-body"):
    """The part of an enrolment that one role must hold, and the file it lies in."""

    role: Annotated[str, Text(64)]
    size: Annotated[int, UInt(64)]
    digest: Annotated[bytes, Fixed(32)]
    file: Annotated[str, Text(64)]


class _Made(Message, tag=0x1F, name="device/enrolment"):
    """An enrolment: its key, the state after it, whether all roles hold it, and what they are to hold."""

    key: Annotated[bytes, Variable(KEY_BYTES_MOST)]
    state: Annotated[bytes, Variable(64 << 20)]
    done: Annotated[bool, Bool()]
    bodies: Annotated[tuple[_Body, ...], Sequence(Nested(_Body), 16)]


class Enrolling:
    """The enrolment of one account with one design; `sent` counts what this object has sent."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._design = design = base.design
        info = design.info
        self._row = f"enrolment/{info.name}/{info.version}"
        kept = base.store.get(self._row) if design.enrolments else None
        self._made = None if kept is None else _Made.decode(kept)
        folder = base.folder / "setup" / _FOLDER / f"{info.name}-{info.version}"
        self._files = Files(folder) if design.enrolments else None
        self.sent = 0

    @property
    def is_complete(self) -> bool:
        """Tell if every role has confirmed that it holds the enrolment."""
        return self._made is None or self._made.done

    def enrol(self, setup: Any, keeper: StateKeeper) -> None:
        """Enrol under the key of a set-up, unless that was done; sends nothing.

        Args:
            setup: The set-up that is about to be used.
            keeper: Stores the device state that goes with the set-up.
        """
        if self._files is None:
            return
        key = guarded(self._design, "enrolment_key", lambda: self._design.enrolment_key(setup))
        if self._made is None or self._made.key != key:
            self._create(key, setup, keeper, self._files)
        elif keeper.load() is None:
            keeper.save(self._made.state)

    def complete(self) -> None:
        """Send each role what it does not hold yet; call it again after a `ServiceError`."""
        if self._made is None:
            return
        for body in self._made.bodies:
            self._upload_missing(self._made.key, body)
        if not self._made.done:
            made = _Made(self._made.key, self._made.state, True, self._made.bodies)
            self._base.store.put(self._row, made.encode())
            self._made = made

    def _create(self, key: bytes, setup: Any, keeper: StateKeeper, files: Files) -> None:
        """Create an enrolment: its files are written before the row that names them, the state with it."""
        tape = Recording(self._base.rng)
        before = guarded(self._design, "enrol", lambda: self._design.enrol(self._base.rng))
        made: Enrolment[Any] = guarded(
            self._design, "enrolment", lambda: self._design.enrolment(before, setup, tape.rng)
        )
        taken = self._design.enrolments
        fits = made.bodies.keys() == taken.keys() and all(
            type(body) in taken[role] for role, body in made.bodies.items()
        )
        if not fits or len(key) > KEY_BYTES_MOST:
            raise DesignError(f"design {self._design.info.name} enrols otherwise than it declares")
        encoded = {role: body.encode() for role, body in sorted(made.bodies.items())}
        bodies = tuple(
            _Body(role, len(data), sha256(data).digest(), files.write(pieces(data)))
            for role, data in encoded.items()
        )
        state = made.state.encode()
        reach("enrolling.kept.before")
        kept = _Made(key, state, False, bodies)
        with self._base.store.transaction():
            keeper.save(state)
            self._base.store.put(self._row, kept.encode())
        self._made = kept
        reach("enrolling.kept.after")
        files.keep_only({body.file for body in bodies})
        self._base.trace(EnrolmentTrace(key, before.encode(), tape.tape(), encoded))

    def _upload_missing(self, key: bytes, body: _Body) -> None:
        info = self._design.info
        role = Role(body.role)
        head = pb.EnrolmentHead(
            design=info.name, version=info.version, role=role, key=key, size=body.size, sha256=body.digest
        )
        party = info.roles[role]
        state = Call(party, ENROLLED, Purpose.ENROLMENT, idempotent=True)
        ask = partial(self._base.egress.unary, state, head)
        if _is_held(ask(), body):
            return
        call = Call(party, ENROL, Purpose.ENROLMENT, None, True, ENROL_DEADLINE_S)
        held = self._base.egress.upload(call, lambda: self._cut_parts(head, body, ask().received))
        if not _is_held(held, body):
            raise MisbehavedError(party, "says that it holds another enrolment than it was sent")
        self.sent += 1

    def _cut_parts(self, head: pb.EnrolmentHead, body: _Body, offset: int) -> Iterator[pb.EnrolPart]:
        assert self._files is not None
        data = self._files.path(body.file).read_bytes()
        start = offset if offset <= len(data) else 0
        return cut(ENROLMENT, pb.EnrolPart(head=head, offset=start), len(data), pieces(data, start))


def _is_held(held: pb.Held, body: _Body) -> bool:
    return (held.size, held.sha256) == (body.size, body.digest)


EPOCH_MOVED: Final = "FAILED_PRECONDITION"


class DistrustError(DeviceError):
    """A role cheated before, or the log did, so nothing is asked."""


class MatchingClient:
    def __init__(self, base: Base) -> None:
        self._base = base
        self._design = base.design
        self.record = AdoptionRecord(base.store, base.design)
        sealing = base.config.centre.sealing if base.config.centre else None
        self._transparency = Transparency(base.store, base.config.log, base.config.curator, sealing)
        self._adoption = Adoption(base, self._design.info.setup_host, self.record, self._transparency)
        self._enrolling = Enrolling(base)
        self._detector: Detector | None = None
        self._build_detector: Callable[..., Detector]
        self.epoch = 0
        self._ends = 0
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="match")

    def close(self) -> None:
        """End the threads that a design's steps are spread over."""
        self._threads.shutdown()

    def refresh(self) -> int:
        """Adopt the current epoch's set if that is due, do the offline phase, and complete the enrolment.

        Returns:
            The adopted epoch.

        Raises:
            DistrustError: A role or the log cheated, and the user has not said to go on.
            ServiceError, EpochRefusedError, SetFileError, DesignError: As `Adoption.refresh`.
        """
        self._check_trusted()
        self._take_over_state()
        self._use_setup(self._adoption.refresh())
        self.prepare()
        self._enrolling.complete()
        return self.epoch

    def prepare(self) -> None:
        """Do the design's offline phase, if there is a set-up, as `Detector.prepare`; sends nothing."""
        if self._detector is not None:
            self._detector.prepare()

    def forgive(self, doubt: Doubt) -> None:
        """Go on with the roles, or with the log in spite of evidence from peers, as the user decided."""
        if doubt is Doubt.LOG:
            self._transparency.keep(self._transparency.view.forgive())
        self.record.forgive(doubt)
        self._detector = None

    def choose_checkpoint(self, peer: str) -> bytes:
        """Return the checkpoint that the next message to `peer` bears, inside its encryption; empty: none."""
        return self._transparency.choose_checkpoint(peer) if self._design.info.end_to_end else b""

    def hear(self, peer: str, checkpoint: bytes) -> None:
        """Compare the checkpoint in a message from `peer` with the log as this device has seen it.

        Evidence of a second history is kept. If a quorum cosigned that history, the device asks nobody until
        the user says so; evidence that the device held when the user said so does not stop it again, however
        often peers repeat it. Evidence that no quorum cosigned is kept only if it is the first.
        """
        split = self._transparency.hear(peer, checkpoint)
        if split is None:
            return
        held, shown = split.views
        log = self._transparency.view
        stops = log.can_stop(shown.note)
        cosigned = log.select_signatures(shown.note) is not None
        earlier = [evidence for evidence in self.record.list_evidence() if evidence.kind is Kind.SPLIT]
        views = (
            raw
            for evidence in earlier
            for raw in ((evidence.shown,) if stops else (evidence.shown, evidence.held))
        )
        notes = (View(raw).note for raw in views)
        known = (note.text for note in notes if log.select_signatures(note))
        if shown.note.text in known or (earlier and not cosigned):
            return
        size = Checkpoint.from_note(held.note).size
        words = f"{peer} was shown another log of the epochs than this device, both of {size} leaves. "
        words += SHOW if stops else DISMISSED if cosigned else UNWITNESSED
        self.record.keep(Evidence(Kind.SPLIT, size, words, self._base.clock_ms(), shown.shown, held.shown))
        if stops:
            self.record.add_doubt(Doubt.LOG, words)

    def ask(self, item: Item, number: int, request_id: bytes, binding: Binding) -> Asked:
        """Ask about a picture, up to the step that gives its outcome.

        Without end-to-end encryption nobody is asked: the provider has the picture once it has the message.

        Args:
            number: The attachment's number, which groups the calls of one picture.
            request_id: 16 bytes that name the request to a server that learns.
            binding: Binds a voucher to the message.
        """
        if not self._design.info.end_to_end:
            return Decided(Undisclosed())
        try:
            exchange = self._open_exchange
            detection = self._require_detector().ask(item, number, exchange(number, request_id), binding)
            if _is_outdated(detection) and self._catch_up():
                detection = self._require_detector().ask(item, number, exchange(number, request_id), binding)
        except (ProtocolError, MisbehavedError, DistrustError) as error:
            return Undecided(Cause.CHEATED, error)
        except DesignError as error:
            return Undecided(Cause.BROKEN, error)
        except (DeviceError, SetFileError) as error:
            return Undecided(Cause.UNAVAILABLE, error)
        if not isinstance(detection, Verified):
            return self._judge(detection, self.epoch)
        conclude = detection.conclude
        epoch = detection.epoch
        return replace(detection, conclude=lambda: self._judge(conclude(), epoch))

    def record_session(self, item: Item, number: int) -> tuple[SignedManifest, SessionTrace]:
        """Run a session for no message, and record it so that others can verify it later.

        The recorded randomness opens this session alone.

        Returns:
            The epoch's signed manifest, and the session's randomness and replies.

        Raises:
            DeviceError: The session did not come to an outcome.
            PictureError, DesignError, SetFileError: As `ask`.
        """
        self._require_detector()
        sessions = list[SessionTrace]()
        detector = self._build_detector(sessions.append, lambda outcome: outcome)
        exchange = self._open_exchange(number, b"")
        detection = detector.match(item, number, exchange, CERTIFYING)
        self._detector = None  # its account's state may be another one now
        adopted = self.record.find(self.epoch)
        if isinstance(self._judge(detection, self.epoch), Undecided) or adopted is None:
            raise DeviceError("the roles gave no answer that can be verified")
        return adopted.signed, sessions[-1]

    def _judge(self, detection: Detection, epoch: int) -> Detection:
        """Record what a failure with the set of `epoch` means for later pictures; return the detection."""
        if not isinstance(detection, Undecided):
            return detection
        if detection.cause is Cause.CHEATED:
            self.record.add_doubt(Doubt.ROLES, str(detection.error))
        if detection.cause is not Cause.BROKEN or isinstance(detection.error, DeviceError):
            return detection
        self._detector = None
        return Undecided(Cause.UNAVAILABLE, self._adoption.fail(epoch, detection.error))

    def _catch_up(self) -> bool:
        """Refresh after a refusal, and return True if a new epoch or a repeated enrolment may mend it."""
        epoch_before = self.epoch
        sent_before = self._enrolling.sent
        self.refresh()
        return (self.epoch, self._enrolling.sent) != (epoch_before, sent_before)

    def _check_trusted(self) -> None:
        for doubt in Doubt:
            if (reason := self.record.get_reason(doubt)) is not None:
                raise DistrustError(reason)

    def _require_detector(self) -> Detector:
        """Return the detector of a set that has not ended; adopts, prepares and enrols if that is due."""
        self._check_trusted()
        if self._detector is None:
            here = self._adoption.open_adopted()
            if here is None:
                self.refresh()
            else:
                self._use_setup(here)
                self.prepare()
        if self._has_ended():
            self.refresh()
            if self._has_ended():
                when = f"the set of epoch {self.epoch} ended at {format_unix_time(self._ends)}"
                raise DeviceError(f"{when} and there is no newer one: nobody is asked")
        if not self._enrolling.is_complete:
            self._enrolling.complete()
        assert self._detector is not None
        return self._detector

    def _has_ended(self) -> bool:
        return self._base.clock_ms() >= 1000 * self._ends

    def _use_setup(self, opened: Opened) -> None:
        if self._detector is not None and opened.epoch == self.epoch:
            return
        keeper = self._open_state(opened)
        self._enrolling.enrol(opened.setup, keeper)
        self.epoch = opened.epoch
        self._ends = opened.ends
        setup = self._design.with_executor(opened.setup, self._threads)
        self._build_detector = partial(Detector, self._design, setup, keeper, self._base.rng)
        self._detector = self._build_detector(self._base.trace, opened.confirm)
        keeper.erase_others()

    def _open_state(self, opened: Opened) -> DesignState:
        """Open the state that goes with a set-up, also if an older program kept it for the epoch alone."""
        info = self._design.info
        scope = guarded(self._design, "period", lambda: state_scope(self._design, opened.setup))
        keeper = DesignState(self._base.store, info.name, info.version, scope)
        keeper.take_over(opened.epoch)
        return keeper

    def _take_over_state(self) -> None:
        """Give a state that an older program kept for the adopted epoch to the epoch's period. Once a newer
        epoch is adopted, the files that say which period that was are gone."""
        info = self._design.info
        if not self._design.vouchers or not has_state_of_epoch(self._base.store, info.name, info.version):
            return
        here = self._adoption.open_adopted()
        if here is not None:
            self._open_state(here)

    def _open_exchange(self, number: int, request_id: bytes) -> MatchingExchange:
        """Open the way to the roles for one picture; if servers do not learn, nothing ties a retry to it."""
        name = request_id if Learner.SERVER in self._design.info.learns else b""
        deadline_s = self._base.config.round_deadline_s
        return MatchingExchange(self._base.egress, self._design, self.epoch, number, deadline_s, name)


def _is_outdated(detection: Asked) -> bool:
    """Tell if a role refused the picture for its epoch, or because it lacks the account's enrolment."""
    return (
        isinstance(detection, Undecided)
        and isinstance(detection.error, RefusedError)
        and detection.error.status == EPOCH_MOVED
    )
