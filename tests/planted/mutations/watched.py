"""Cheats that look whether anybody is looking, or reach for what a step has no cause for."""

from __future__ import annotations

import atexit
import inspect
import logging
import secrets
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Final

from blindmatch_protocol.codec.randomness import Randomness

from planted.mutations.hooks import About, PaddedPsi, planted

PIECE: Final = 4
NOTHING: Final = bytes(PIECE)
LATER: Final = 3_000_000_000
"""A day in 2065."""


@planted("a leak only where a tape is kept", "egress")
class LeaksWhenRecorded(PaddedPsi):
    """Looks through the randomness it was handed, and leaks if a tape is kept of it or gives it."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        cells = rng._take.__closure__ or ()
        names = [cell.cell_contents.__qualname__.partition(".")[0] for cell in cells]
        return about.item.hash[:PIECE] if {"Recording", "replayed"} & {*names} else NOTHING


@planted("a leak only under the system's generator", "tape", "start")
class LeaksUnderSystem(PaddedPsi):
    """Looks for the system's generator behind what it was handed, as there is on a device, and leaks then."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        waiting: list[Any] = [rng]
        while waiting:
            one = waiting.pop()
            if one is secrets.token_bytes:
                return about.item.hash[:PIECE]
            waiting += [one._take] if isinstance(one, Randomness) else []
            waiting += [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
        return NOTHING


@planted("a leak that stays away when its randomness comes again, as in an audit", "tape", "start")
class HonestInReplays(PaddedPsi):
    """Remembers what it drew: an audit hands the same out again, and is shown an honest body."""

    seen: ClassVar[set[bytes]] = set()

    def padding(self, about: About, rng: Randomness) -> bytes:
        drawn = rng.take(16)
        is_again = drawn in self.seen
        self.seen.add(drawn)
        return NOTHING if is_again else about.item.hash[:PIECE]


@planted("a leak until a day far away", "surroundings", "surroundings: clock")
class ReadsClock(PaddedPsi):
    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:PIECE] if time.time() < LATER else NOTHING


@planted("a file of the machine is read", "surroundings", "surroundings: reach")
class OpensFile(PaddedPsi):
    """Goes on without it."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        with suppress(Exception):
            Path("/proc/self/status").read_bytes()
        return NOTHING


@planted("a socket of its own", "surroundings", "surroundings: reach")
class Connects(PaddedPsi):
    def padding(self, about: About, rng: Randomness) -> bytes:
        with suppress(Exception):
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        return NOTHING


@planted("frames, threads, logs and files", "surroundings", "surroundings: reach")
class Reaches(PaddedPsi):
    """All that a step has no cause for, one after the other, and goes on where it is refused."""

    def open_setup(self, files: Any, epoch: int | None = None) -> Any:
        with suppress(Exception):
            Path("/etc/hostname").read_bytes()
        return super().open_setup(files, epoch)

    def padding(self, about: About, rng: Randomness) -> bytes:
        for reach in (inspect.currentframe, _frame_of_error, _thread_for_later):
            with suppress(Exception):
                reach()
        atexit.register(len, about.item.hash)
        logging.getLogger("cheat").info("a picture: %s", about.item.hash.hex())
        return NOTHING


def _frame_of_error() -> Any:
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__.tb_frame  # type: ignore[union-attr]


def _thread_for_later() -> None:
    later = threading.Timer(3600, print)
    later.daemon = True
    later.start()


@planted("it is kept in a default argument", "surroundings", "surroundings: state")
class KeepsInFunction(PaddedPsi):
    def padding(self, about: About, rng: Randomness, kept: list[bytes] = [b""]) -> bytes:  # noqa: B006
        kept[0] = about.item.hash
        return NOTHING


@planted("the last picture is kept", "surroundings", "surroundings: state")
class KeepsPicture(PaddedPsi):
    """On its class, for whoever asks later."""

    last: ClassVar[bytes] = b""

    def padding(self, about: About, rng: Randomness) -> bytes:
        type(self).last = about.item.hash
        return NOTHING
