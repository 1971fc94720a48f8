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
from pathlib import Path
from typing import Final

from blindmatch_protocol.contract import AnyDesign, Binding, Item, Learner, Party
from blindmatch_protocol.errors import DesignError, ProtocolError, SetFileError
from blindmatch_protocol.randomness import Randomness

from blindmatch_client.adoption import Adoption, Opened
from blindmatch_client.detector import Asked, Cause, Detection, Detector, Undecided, Verified
from blindmatch_client.egress import Egress
from blindmatch_client.enrolling import Enrolling
from blindmatch_client.errors import DeviceError, MisbehavedError, RefusedError
from blindmatch_client.evidence import AdoptionRecord
from blindmatch_client.store import DesignState, Store
from blindmatch_client.trace import EnrolmentTrace, SessionTrace
from blindmatch_client.transport import ROUND_DEADLINE_S, MatchingExchange

EPOCH_MOVED: Final = "FAILED_PRECONDITION"


class DistrustError(DeviceError):
    """A role cheated before, so nothing is asked."""


class EndedError(DeviceError):
    """The set-up must not be used any more, so nothing is asked with it."""

    def __init__(self, epoch: int, ended: int) -> None:
        when = _date(ended)
        super().__init__(
            f"the set of epoch {epoch} ended at {when} and there is no newer one: nobody is asked"
        )


class Matching:
    """Matches an account's pictures.

    Args:
        design: the design.
        egress: the way out.
        store: keeps device state and distrust.
        folder: keeps the set-up files.
        rng: the device's randomness.
        trace: gets each session's trace, and each enrolment's.
        request_id: 16 bytes that name a picture to a server that learns, by the picture's number.
        clock_ms: Unix time in milliseconds.
        curator: the public key that signs epochs, Ed25519, 32 bytes.
        deadline_s: for one role's answer.
    """

    def __init__(
        self,
        design: AnyDesign,
        egress: Egress,
        store: Store,
        folder: Path,
        rng: Randomness,
        trace: Callable[[SessionTrace | EnrolmentTrace], None],
        request_id: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        curator: bytes,
        deadline_s: float = ROUND_DEADLINE_S,
    ) -> None:
        self._design = design
        self._egress = egress
        self._store = store
        self._record = AdoptionRecord(store, design)
        host = self._host()
        self._adoption = Adoption(design, egress, host, self._record, folder, curator, clock_ms)
        self._enrolling = Enrolling(design, egress, store, folder, rng, trace)
        self._rng = rng
        self._trace = trace
        self._request_id = request_id
        self._clock_ms = clock_ms
        self._deadline_s = deadline_s
        self._detector: Detector | None = None
        self._epoch = 0
        self._ends = 0
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="match")

    def close(self) -> None:
        """End the threads that a design's steps are spread over."""
        self._threads.shutdown()

    @property
    def epoch(self) -> int:
        """Of the set-up in use; 0 before there is one."""
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

    def forgive(self) -> None:
        """Ask the roles again, as the user decided."""
        self._record.forgive()
        self._detector = None

    def ask(self, item: Item, number: int, binding: Binding) -> Asked:
        """Ask about a picture, up to where nothing but its outcome is left.

        Raises:
            PictureError: if it cannot be decoded; nothing was sent for it then.
        """
        try:
            detection = self._ready().ask(item, number, binding)
            if self._moved_on(detection):
                detection = self._ready().ask(item, number, binding)
        except (ProtocolError, MisbehavedError, DistrustError) as error:
            return Undecided(Cause.CHEATED, error)
        except DesignError as error:
            return Undecided(Cause.BROKEN, error)
        except (DeviceError, SetFileError) as error:
            return Undecided(Cause.UNAVAILABLE, error)
        return detection if isinstance(detection, Verified) else self._judged(detection, self._epoch)

    def conclude(self, verified: Verified) -> Detection:
        """Look at the outcome. Nothing is sent, whatever comes of it."""
        return self._judged(verified.conclude(), verified.epoch)

    def _judged(self, detection: Detection, epoch: int) -> Detection:
        """Remember what a failure with the set of `epoch` means for all pictures that follow."""
        if not isinstance(detection, Undecided):
            return detection
        if detection.cause is Cause.CHEATED:
            self._record.doubt(str(detection.error))
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
        reason = self._record.distrust
        if reason is not None:
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
        return self._clock_ms() >= 1000 * self._ends

    def _use(self, opened: Opened) -> None:
        """Take an adopted epoch into use; its steps may use all cores."""
        if self._detector is not None and opened.epoch == self._epoch:
            return
        self._enrolling.use(opened.setup, self._state(opened.epoch))
        self._epoch, self._ends = opened.epoch, opened.ends
        setup = self._design.with_executor(opened.setup, self._threads)
        exchange = partial(self._exchange, opened.epoch)
        self._detector = Detector(
            self._design, setup, exchange, self._state(opened.epoch), self._rng, self._trace
        )

    def _exchange(self, epoch: int, number: int) -> MatchingExchange:
        """The way to the roles for one picture. Where servers do not learn, nothing ties a retry to it."""
        learns = Learner.SERVER in self._design.info.learns
        name = self._request_id(number) if learns else b""
        return MatchingExchange(self._egress, self._design, epoch, number, self._deadline_s, name)

    def _state(self, epoch: int) -> DesignState:
        info = self._design.info
        return DesignState(self._store, info.name, info.version, epoch)

    def _host(self) -> Party:
        """Who serves the set-up: whom the first role's bodies are sent to; without roles the matcher."""
        info = self._design.info
        return info.asked(next(iter(info.roles))) if info.roles else Party.MATCHER


def _date(seconds: int) -> str:
    """A Unix time in words; a number where no calendar goes as far."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"Unix time {seconds}"
