"""One account's matching over the epochs: set-up, enrolment, device state, distrust, and the detector.

An enrolment is made once for each key of the set-up and does not depend on a picture. What is sent stays here
as files, so that the same bytes go on after a break, and again to a role that lost them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
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
    """What one role is to hold, and the file it lies in."""

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
    def done(self) -> bool:
        """Did every role say that it holds what it is to hold?"""
        return self._made is None or self._made.done

    def use(self, setup: Any, keeper: StateKeeper) -> None:
        """Enrol under the key of a set-up that is about to be used, with `keeper` of the device state that
        goes with it, unless that was done; sends nothing."""
        if self._files is None:
            return
        key = guarded(self._design, "enrolment_key", lambda: self._design.enrolment_key(setup))
        if self._made is None or self._made.key != key:
            self._keep(key, setup, keeper, self._files)
        elif keeper.load() is None:
            keeper.save(self._made.state)

    def complete(self) -> None:
        """Send what a role does not hold; to be called again after a `ServiceError`."""
        if self._made is None:
            return
        for body in self._made.bodies:
            self._complete(self._made.key, body)
        if not self._made.done:
            made = _Made(self._made.key, self._made.state, True, self._made.bodies)
            self._base.store.put(self._row, made.encode())
            self._made = made

    def _keep(self, key: bytes, setup: Any, keeper: StateKeeper, files: Files) -> None:
        """Enrol; the files are there before the row that names them, and the state comes with the row."""
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

    def _complete(self, key: bytes, body: _Body) -> None:
        info = self._design.info
        role = Role(body.role)
        head = pb.EnrolmentHead(
            design=info.name, version=info.version, role=role, key=key, size=body.size, sha256=body.digest
        )
        party = info.roles[role]
        state = Call(party, ENROLLED, Purpose.ENROLMENT, idempotent=True)
        ask = partial(self._base.egress.unary, state, head)
        if _holds(ask(), body):
            return
        call = Call(party, ENROL, Purpose.ENROLMENT, None, True, ENROL_DEADLINE_S)
        held = self._base.egress.upload(call, lambda: self._parts(head, body, ask().received))
        if not _holds(held, body):
            raise MisbehavedError(party, "says that it holds another enrolment than it was sent")
        self.sent += 1

    def _parts(self, head: pb.EnrolmentHead, body: _Body, offset: int) -> Iterator[pb.EnrolPart]:
        assert self._files is not None
        data = self._files.path(body.file).read_bytes()
        at = offset if offset <= len(data) else 0
        return cut(ENROLMENT, pb.EnrolPart(head=head, offset=at), len(data), pieces(data, at))


def _holds(held: pb.Held, body: _Body) -> bool:
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
        self._detecting: Callable[..., Detector]
        self.epoch = 0
        self._ends = 0
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="match")

    def close(self) -> None:
        """End the threads that a design's steps are spread over."""
        self._threads.shutdown()

    def refresh(self) -> int:
        """Adopt the current epoch's set if it is not adopted, do the offline phase, and have every role hold
        what the account enrols with; the epoch; `DistrustError` if a role cheated and the user has not said
        to go on, `ServiceError`, `EpochRefusedError`, `SetFileError`, `DesignError` as `Adoption.refresh`."""
        self._check_trusted()
        self._take_over_state()
        self._use(self._adoption.refresh())
        self.prepare()
        self._enrolling.complete()
        return self.epoch

    def prepare(self) -> None:
        """The design's offline phase, if there is a set-up, as `Detector.prepare`. Sends nothing."""
        if self._detector is not None:
            self._detector.prepare()

    def forgive(self, of: Doubt) -> None:
        """Go on with the roles, or with the log whatever peers told of it, as the user decided."""
        if of is Doubt.LOG:
            self._transparency.keep(self._transparency.view.forgive())
        self.record.forgive(of)
        self._detector = None

    def to_tell(self, peer: str) -> bytes:
        """The checkpoint that the next message to `peer` bears, inside its encryption; empty: none."""
        return self._transparency.to_tell(peer) if self._design.info.end_to_end else b""

    def hear(self, peer: str, checkpoint: bytes) -> None:
        """Take note of the checkpoint that a message of `peer` bore. Evidence of a second history is kept; if
        a quorum cosigned it nothing is asked any more until the user says so: once, however often it is told,
        and not if it was held when they said so. Where no quorum did, it is kept if it is the first."""
        split = self._transparency.hear(peer, checkpoint)
        if split is None:
            return
        held, shown = split.views
        log = self._transparency.view
        stops = log.stops(shown.note)
        cosigned = log.cosigned(shown.note) is not None
        before = [one for one in self.record.evidence() if one.kind is Kind.SPLIT]
        raws = (raw for one in before for raw in ((one.shown,) if stops else (one.shown, one.held)))
        told = (one.text for one in (View(raw).note for raw in raws) if log.cosigned(one))
        if shown.note.text in told or (before and not cosigned):
            return
        size = Checkpoint.from_note(held.note).size
        words = f"{peer} was shown another log of the epochs than this device, both of {size} leaves. "
        words += SHOW if stops else DISMISSED if cosigned else UNWITNESSED
        self.record.keep(Evidence(Kind.SPLIT, size, words, self._base.clock_ms(), shown.shown, held.shown))
        if stops:
            self.record.doubt(Doubt.LOG, words)

    def ask(self, item: Item, number: int, request_id: bytes, binding: Binding) -> Asked:
        """Ask about a picture, up to where nothing but its outcome is left; `request_id`, 16 bytes, names it
        to a server that learns.

        Without end-to-end encryption nobody is asked: the provider has the picture once it has the message.
        """
        if not self._design.info.end_to_end:
            return Decided(Undisclosed())
        try:
            detection = self._ready().ask(item, number, self._exchange(number, request_id), binding)
            if self._moved_on(detection):
                detection = self._ready().ask(item, number, self._exchange(number, request_id), binding)
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

    def transcript(self, item: Item, number: int) -> tuple[SignedManifest, SessionTrace]:
        """A session for no message, which others can verify later, and what it took: what it opens is of this
        session alone; `DeviceError` if it did not come to an outcome, `PictureError`, `DesignError`,
        `SetFileError` as `ask`."""
        self._ready()
        seen = list[SessionTrace]()
        detector = self._detecting(seen.append, lambda found: found)
        exchange = self._exchange(number, b"")
        detection = detector.match(item, number, exchange, CERTIFYING)
        self._detector = None  # its account's state may be another one now
        adopted = self.record.of(self.epoch)
        if isinstance(self._judge(detection, self.epoch), Undecided) or adopted is None:
            raise DeviceError("the roles gave no answer that can be verified")
        return adopted.signed, seen[-1]

    def _judge(self, detection: Detection, epoch: int) -> Detection:
        """Remember what a failure with the set of `epoch` means for all pictures that follow."""
        if not isinstance(detection, Undecided):
            return detection
        if detection.cause is Cause.CHEATED:
            self.record.doubt(Doubt.ROLES, str(detection.error))
        if detection.cause is not Cause.BROKEN or isinstance(detection.error, DeviceError):
            return detection
        self._detector = None
        return Undecided(Cause.UNAVAILABLE, self._adoption.fail(epoch, detection.error))

    def _moved_on(self, detection: Asked) -> bool:
        """Was the picture refused for its epoch, or for an enrolment that is gone, and is that mended now?"""
        if not isinstance(detection, Undecided) or not isinstance(detection.error, RefusedError):
            return False
        before = self.epoch
        enrolled = self._enrolling.sent
        return detection.error.status == EPOCH_MOVED and (self.refresh(), self._enrolling.sent) != (
            before,
            enrolled,
        )

    def _check_trusted(self) -> None:
        for of in Doubt:
            if (reason := self.record.doubted(of)) is not None:
                raise DistrustError(reason)

    def _ready(self) -> Detector:
        self._check_trusted()
        if self._detector is None:
            here = self._adoption.here()
            if here is None:
                self.refresh()
            else:
                self._use(here)
                self.prepare()
        if self._ended():
            self.refresh()
            if self._ended():
                when = f"the set of epoch {self.epoch} ended at {_date(self._ends)}"
                raise DeviceError(f"{when} and there is no newer one: nobody is asked")
        if not self._enrolling.done:
            self._enrolling.complete()
        assert self._detector is not None
        return self._detector

    def _ended(self) -> bool:
        return self._base.clock_ms() >= 1000 * self._ends

    def _use(self, opened: Opened) -> None:
        if self._detector is not None and opened.epoch == self.epoch:
            return
        keeper = self._keeper_of(opened)
        self._enrolling.use(opened.setup, keeper)
        self.epoch = opened.epoch
        self._ends = opened.ends
        setup = self._design.with_executor(opened.setup, self._threads)
        self._detecting = partial(Detector, self._design, setup, keeper, self._base.rng)
        self._detector = self._detecting(self._base.trace, opened.confirm)
        keeper.erase_others()

    def _keeper_of(self, opened: Opened) -> DesignState:
        """The state that goes with a set-up, also where an older program kept it for the epoch alone."""
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
        here = self._adoption.here()
        if here is not None:
            self._keeper_of(here)

    def _exchange(self, number: int, request_id: bytes) -> MatchingExchange:
        """The way to the roles for one picture. Where servers do not learn, nothing ties a retry to it."""
        name = request_id if Learner.SERVER in self._design.info.learns else b""
        deadline_s = self._base.config.round_deadline_s
        return MatchingExchange(self._base.egress, self._design, self.epoch, number, deadline_s, name)


def _date(seconds: int) -> str:
    """A Unix time in words; a number where no calendar goes as far."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"Unix time {seconds}"
