"""One account's matching over the epochs: set-up, device state, distrust, and the detector for it all.

no set-up here -> fetch; refused because the epoch moved on -> fetch, ask once more with the new one
a role cheated -> remembered; nobody is asked about a picture any more until the user says so
the set-up has ended -> fetch a newer one; while there is none, nobody is asked
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from blindmatch_protocol.contract import AnyDesign, Item, Learner, Party
from blindmatch_protocol.errors import BlindmatchError, DesignError, ProtocolError, SetFileError
from blindmatch_protocol.randomness import Randomness

from blindmatch_client.detector import Asked, Cause, Detection, Detector, TraceSink, Undecided, Verified
from blindmatch_client.egress import Egress
from blindmatch_client.errors import DeviceError, MisbehavedError, RefusedError
from blindmatch_client.setup import SetupFiles, SetupStore
from blindmatch_client.store import DesignState, Store
from blindmatch_client.transport import ROUND_DEADLINE_S, MatchingExchange

T = TypeVar("T")

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
        trace: gets each session's trace.
        request_id: 16 bytes that name a picture to a server that learns, by the picture's number.
        clock_ms: Unix time in milliseconds.
        deadline_s: for one role's answer.
    """

    def __init__(
        self,
        design: AnyDesign,
        egress: Egress,
        store: Store,
        folder: Path,
        rng: Randomness,
        trace: TraceSink,
        request_id: Callable[[int], bytes],
        clock_ms: Callable[[], int],
        deadline_s: float = ROUND_DEADLINE_S,
    ) -> None:
        self._design = design
        self._egress = egress
        self._store = store
        self._setups = SetupStore(folder, design)
        self._rng = rng
        self._trace = trace
        self._request_id = request_id
        self._clock_ms = clock_ms
        self._deadline_s = deadline_s
        self._distrust_name = f"distrust/{design.info.name}"
        self._detector: Detector | None = None
        self._epoch = 0
        self._ends: int | None = None
        self._threads = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="match")

    def close(self) -> None:
        """End the threads that a design's steps are spread over."""
        self._threads.shutdown()

    @property
    def epoch(self) -> int:
        """Of the set-up in use; 0 before there is one."""
        return self._epoch

    @property
    def distrust(self) -> str | None:
        """How a role cheated, if one did and the user has not said to go on."""
        reason = self._store.get(self._distrust_name)
        return None if reason is None else reason.decode()

    def refresh(self) -> int:
        """Fetch the current epoch's set-up if it is not here, and do the offline phase; the epoch.

        Raises:
            ServiceError: if its host cannot be reached, refuses or describes nonsense.
            SetFileError: if the files are not what they must be.
            DesignError: if the design fails on them.
        """
        self._open(self._setups.fetch(self._egress, self._host()))
        self.prepare()
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
        self._store.forget(self._distrust_name)
        self._detector = None

    def ask(self, item: Item, number: int) -> Asked:
        """Ask about a picture, up to where nothing but its outcome is left.

        Raises:
            PictureError: if it cannot be decoded; nothing was sent for it then.
        """
        try:
            detection = self._ready().ask(item, number)
            if self._moved_on(detection):
                detection = self._ready().ask(item, number)
        except (ProtocolError, MisbehavedError, SetFileError) as error:
            return Undecided(Cause.CHEATED, error)
        except DesignError as error:
            return Undecided(Cause.BROKEN, error)
        except DeviceError as error:
            return Undecided(Cause.UNAVAILABLE, error)
        return detection if isinstance(detection, Verified) else self._judged(detection)

    def conclude(self, verified: Verified) -> Detection:
        """Look at the outcome. Nothing is sent, whatever comes of it."""
        return self._judged(verified.conclude())

    def _judged(self, detection: Detection) -> Detection:
        if isinstance(detection, Undecided) and isinstance(detection.error, SetFileError):
            return self._damaged(detection)
        self._remember(detection)
        return detection

    def _damaged(self, detection: Undecided) -> Undecided:
        """A file of the set-up proved wrong when it was used: was it this device that damaged its copy?"""
        if self._setups.distrust(self._epoch):
            return detection
        self._detector = None
        return Undecided(Cause.UNAVAILABLE, detection.error)

    def _moved_on(self, detection: Asked) -> bool:
        """Was the picture refused for its epoch, and is there another one now?"""
        if not isinstance(detection, Undecided) or not isinstance(detection.error, RefusedError):
            return False
        before = self._epoch
        return detection.error.status == EPOCH_MOVED and self.refresh() != before

    def _remember(self, detection: Detection) -> None:
        if isinstance(detection, Undecided) and detection.cause is Cause.CHEATED:
            self._store.put(self._distrust_name, str(detection.error).encode())

    def _ready(self) -> Detector:
        if self._detector is None:
            here = self._setups.newest()
            self._open(here or self._setups.fetch(self._egress, self._host()))
            self.prepare()
        if self._ended():
            self.refresh()
            if self._ended():
                raise EndedError(self._epoch, self._ends or 0)
        assert self._detector is not None
        return self._detector

    def _ended(self) -> bool:
        return self._ends is not None and self._clock_ms() >= 1000 * self._ends

    def _open(self, files: SetupFiles) -> None:
        """Take `files` into use."""
        if self._detector is not None and files.epoch == self._epoch:
            return
        setup, self._ends = self._opened(lambda: self._setup_of(files))
        self._epoch = files.epoch
        reason = self.distrust
        self._detector = Detector(
            self._design,
            setup,
            partial(self._exchange, files.epoch),
            self._state(),
            self._rng,
            self._trace,
            DistrustError(reason) if reason else None,
        )

    def _setup_of(self, files: SetupFiles) -> tuple[Any, int | None]:
        """The opened set-up, whose steps may use all cores, and when it ends."""
        setup = self._design.open_setup(files.files, files.epoch)
        return self._design.with_executor(setup, self._threads), self._design.expires(setup)

    def _exchange(self, epoch: int, number: int) -> MatchingExchange:
        """The way to the roles for one picture. Where servers do not learn, nothing ties a retry to it."""
        learns = Learner.SERVER in self._design.info.learns
        name = self._request_id(number) if learns else b""
        return MatchingExchange(self._egress, self._design, epoch, number, self._deadline_s, name)

    def _opened(self, run: Callable[[], T]) -> T:
        """The opened set-up; whatever a design raises on hostile files becomes `SetFileError`."""
        try:
            return run()
        except BlindmatchError:
            raise
        except Exception as error:
            name = self._design.info.name
            raise SetFileError(f"set-up: design {name} cannot open it ({type(error).__name__})") from None

    def _state(self) -> DesignState:
        info = self._design.info
        return DesignState(self._store, info.name, info.version, self._epoch)

    def _host(self) -> Party:
        """Who serves the set-up: the first role's party, and the matcher for a design without roles."""
        parties = list(self._design.info.roles.values())
        return parties[0] if parties else Party.MATCHER


def _date(seconds: int) -> str:
    """A Unix time in words; a number where no calendar goes as far."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return f"Unix time {seconds}"
