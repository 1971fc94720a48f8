"""One account's matching over the epochs: set-up, device state, distrust, and the detector for it all.

no adopted set -> adopt one (adoption.py), enrol (enrolling.py), then ask about pictures
refused because the epoch moved on, or a role lost what it held -> adopt, enrol, ask once more
a role cheated -> remembered; nobody is asked about a picture any more until the user says so
the set has ended, or failed in use -> adopt a newer one; while there is none, nobody is asked
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Final

from blindmatch_proofs.checkpoint import Checkpoint
from blindmatch_proofs.split_view import View
from blindmatch_protocol.codec.errors import DesignError, ProtocolError, SetFileError
from blindmatch_protocol.contract import CERTIFYING, Binding, Item, Learner, Undisclosed
from blindmatch_protocol.messages.epoch_manifest import SignedManifest

from blindmatch_client.epochs.adoption import DISMISSED, SHOW, UNWITNESSED, Adoption, Opened
from blindmatch_client.epochs.evidence import AdoptionRecord, Doubt, Evidence, Kind
from blindmatch_client.epochs.transparency import Transparency
from blindmatch_client.errors import DeviceError, MisbehavedError, RefusedError
from blindmatch_client.matching.detector import (
    Asked,
    Cause,
    Decided,
    Detection,
    Detector,
    Undecided,
    Verified,
)
from blindmatch_client.matching.enrolling import Enrolling
from blindmatch_client.matching.transport import MatchingExchange
from blindmatch_client.settings.base import Base
from blindmatch_client.store.store import DesignState
from blindmatch_client.trace import SessionTrace

EPOCH_MOVED: Final = "FAILED_PRECONDITION"


class DistrustError(DeviceError):
    """A role cheated before, or the log did, so nothing is asked."""


class EndedError(DeviceError):
    """The set-up must not be used any more, so nothing is asked with it."""

    def __init__(self, epoch: int, ended: int) -> None:
        when = _date(ended)
        super().__init__(
            f"the set of epoch {epoch} ended at {when} and there is no newer one: nobody is asked"
        )


class MatchingClient:
    """Matches an account's pictures."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._design = base.design
        self._record = AdoptionRecord(base.store, base.design)
        sealing = base.config.centre.sealing if base.config.centre else None
        self._transparency = Transparency(base.store, base.config.log, base.config.curator, sealing)
        self._adoption = Adoption(base, self._design.info.setup_host, self._record, self._transparency)
        self._enrolling = Enrolling(base)
        self._detector: Detector | None = None
        self._detecting: Callable[..., Detector]
        self._epoch = 0
        self._ends = 0
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="match")

    def close(self) -> None:
        """End the threads that a design's steps are spread over."""
        self._threads.shutdown()

    @property
    def epoch(self) -> int:
        """Epoch of the current set-up; 0 if none."""
        return self._epoch

    @property
    def record(self) -> AdoptionRecord:
        """What was adopted and refused, and whether the roles are trusted."""
        return self._record

    def refresh(self) -> int:
        """Adopt the current epoch's set if it is not adopted, do the offline phase, and have every role hold
        what the account enrols with; the epoch.

        Raises:
            DistrustError: if a role cheated and the user has not said to go on.
            ServiceError: if its host cannot be reached, refuses or describes nonsense.
            EpochRefusedError: if what it offers must not be adopted, or has failed here.
            SetFileError: if the set is faulty or of another design.
            DesignError: if the design fails on it.
        """
        self._check_trusted()
        self._use(self._adoption.refresh())
        self.prepare()
        self._enrolling.complete()
        return self._epoch

    def prepare(self) -> None:
        """The design's offline phase, if there is a set-up. Sends nothing.

        Raises:
            DesignError: if the design fails in it.
        """
        if self._detector is not None:
            self._detector.prepare()

    def forgive(self, of: Doubt) -> None:
        """Go on with the roles, or with the log whatever peers told of it, as the user decided."""
        if of is Doubt.LOG:
            self._transparency.forgive()
        self._record.forgive(of)
        self._detector = None

    def to_tell(self, peer: str) -> bytes:
        """The checkpoint that the next message to `peer` bears, inside its encryption; empty: none."""
        return self._transparency.to_tell(peer) if self._design.info.end_to_end else b""

    def hear(self, peer: str, checkpoint: bytes) -> None:
        """Take note of the checkpoint that a message of `peer` bore.

        Evidence of a second history is kept; if a quorum cosigned it nothing is asked any more until the user
        says so: once, however often it is told, and not if it was held when they said so. Where no quorum
        did, it is kept if it is the first.
        """
        split = self._transparency.hear(peer, checkpoint)
        if split is None:
            return
        held, shown = split.views
        stops = self._transparency.stops(shown.note)
        cosigned = self._transparency.cosigned(shown.note) is not None
        before = [one for one in self._record.evidence() if one.kind is Kind.SPLIT]
        raws = (raw for one in before for raw in ((one.shown,) if stops else (one.shown, one.held)))
        told = (one.text for one in (View(raw).note for raw in raws) if self._transparency.cosigned(one))
        if shown.note.text in told or (before and not cosigned):
            return
        size = Checkpoint.of(held.note).size
        words = f"{peer} was shown another log of the epochs than this device, both of {size} leaves. "
        words += SHOW if stops else DISMISSED if cosigned else UNWITNESSED
        self._record.keep(Evidence(Kind.SPLIT, size, words, self._base.clock_ms(), shown.shown, held.shown))
        if stops:
            self._record.doubt(Doubt.LOG, words)

    def ask(self, item: Item, number: int, request_id: bytes, binding: Binding) -> Asked:
        """Ask about a picture, up to where nothing but its outcome is left.

        Without end-to-end encryption nobody is asked: the provider has the picture once it has the message.

        Args:
            number: of the picture.
            request_id: 16 bytes that name the picture to a server that learns.

        Raises:
            PictureError: if it cannot be decoded; nothing was sent for it then.
        """
        if not self._design.info.end_to_end:
            return Decided(Undisclosed())
        try:
            detection = self._ask(item, number, request_id, binding)
            if self._moved_on(detection):
                detection = self._ask(item, number, request_id, binding)
        except (ProtocolError, MisbehavedError, DistrustError) as error:
            return Undecided(Cause.CHEATED, error)
        except DesignError as error:
            return Undecided(Cause.BROKEN, error)
        except (DeviceError, SetFileError) as error:
            return Undecided(Cause.UNAVAILABLE, error)
        return detection if isinstance(detection, Verified) else self._judged(detection, self._epoch)

    def _ask(self, item: Item, number: int, request_id: bytes, binding: Binding) -> Asked:
        detector = self._ready()
        return detector.ask(item, number, self._exchange(number, request_id), binding)

    def transcript(self, item: Item, number: int) -> tuple[SignedManifest, SessionTrace]:
        """A session for no message, which others can verify later, and what it took: what it opens is of this
        session alone.

        Raises:
            DeviceError: if it did not come to an outcome.
            PictureError, DesignError, SetFileError: as `ask`.
        """
        self._ready()
        seen = list[SessionTrace]()
        detector, exchange = self._detecting(seen.append, lambda found: found), self._exchange(number, b"")
        detection = detector.match(item, number, exchange, CERTIFYING)
        self._detector = None  # its account's state may be another one now
        adopted = self._record.of(self._epoch)
        if isinstance(self._judged(detection, self._epoch), Undecided) or adopted is None:
            raise DeviceError("the roles gave no answer that can be verified")
        return adopted.signed, seen[-1]

    def conclude(self, verified: Verified) -> Detection:
        """Look at the outcome. Nothing is sent, whatever comes of it."""
        return self._judged(verified.conclude(), verified.epoch)

    def _judged(self, detection: Detection, epoch: int) -> Detection:
        """Remember what a failure with the set of `epoch` means for all pictures that follow."""
        if not isinstance(detection, Undecided):
            return detection
        if detection.cause is Cause.CHEATED:
            self._record.doubt(Doubt.ROLES, str(detection.error))
        if detection.cause is not Cause.BROKEN or isinstance(detection.error, DeviceError):
            return detection
        self._detector = None
        return Undecided(Cause.UNAVAILABLE, self._adoption.fail(epoch, detection.error))

    def _moved_on(self, detection: Asked) -> bool:
        """Was the picture refused for its epoch, or for an enrolment that is gone, and is that mended now?"""
        if not isinstance(detection, Undecided) or not isinstance(detection.error, RefusedError):
            return False
        before, enrolled = self._epoch, self._enrolling.sent
        return detection.error.status == EPOCH_MOVED and (self.refresh(), self._enrolling.sent) != (
            before,
            enrolled,
        )

    def _check_trusted(self) -> None:
        for of in Doubt:
            if (reason := self._record.doubted(of)) is not None:
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
                raise EndedError(self._epoch, self._ends)
        if not self._enrolling.done:
            self._enrolling.complete()
        assert self._detector is not None
        return self._detector

    def _ended(self) -> bool:
        return self._base.clock_ms() >= 1000 * self._ends

    def _use(self, opened: Opened) -> None:
        """Take an adopted epoch into use; its steps may use all cores."""
        if self._detector is not None and opened.epoch == self._epoch:
            return
        self._enrolling.use(opened.setup, self._state(opened.epoch))
        self._epoch, self._ends = opened.epoch, opened.ends
        setup = self._design.with_executor(opened.setup, self._threads)
        keeper = self._state(opened.epoch)
        self._detecting = partial(Detector, self._design, setup, keeper, self._base.rng)
        self._detector = self._detecting(self._base.trace, opened.confirm)

    def _exchange(self, number: int, request_id: bytes) -> MatchingExchange:
        """The way to the roles for one picture. Where servers do not learn, nothing ties a retry to it."""
        name = request_id if Learner.SERVER in self._design.info.learns else b""
        deadline_s = self._base.config.round_deadline_s
        return MatchingExchange(self._base.egress, self._design, self._epoch, number, deadline_s, name)

    def _state(self, epoch: int) -> DesignState:
        info = self._design.info
        return DesignState(self._base.store, info.name, info.version, epoch)


def _date(seconds: int) -> str:
    """A Unix time in words; a number where no calendar goes as far."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"Unix time {seconds}"
