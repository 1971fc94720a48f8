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
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final

from blindmatch_protocol.contract import Adversary, Fact, Leak, Party
from blindmatch_protocol.designs.hash_upload import HashUpload
from blindmatch_protocol.randomness import Randomness

from blindmatch_simulations.conformance.mutations.padded import About, PaddedPsi

PIECE: Final = 4
NOTHING: Final = bytes(PIECE)
LATER: Final = 3_000_000_000
"""A day in 2065."""


class LeaksWhenRecorded(PaddedPsi):
    """Looks through the randomness it was handed, and leaks if a tape is kept of it or gives it."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        cells = rng._take.__closure__ or ()
        names = [cell.cell_contents.__qualname__.partition(".")[0] for cell in cells]
        return about.item.hash[:PIECE] if {"Recording", "replayed"} & {*names} else NOTHING


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


class ReadsClock(PaddedPsi):
    """Leaks until a day that is far away."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        return about.item.hash[:PIECE] if time.time() < LATER else NOTHING


class OpensFile(PaddedPsi):
    """Reads a file of the machine, and goes on without it."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        try:
            Path("/proc/self/status").read_bytes()
        except Exception:
            return NOTHING
        return NOTHING


class Connects(PaddedPsi):
    """Makes a socket of its own."""

    def padding(self, about: About, rng: Randomness) -> bytes:
        try:
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
        except Exception:
            return NOTHING
        return NOTHING


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


class KeepsInFunction(PaddedPsi):
    """Keeps the last picture in a default argument."""

    def padding(self, about: About, rng: Randomness, kept: list[bytes] = [b""]) -> bytes:  # noqa: B006
        kept[0] = about.item.hash
        return NOTHING


class KeepsPicture(PaddedPsi):
    """Keeps the last picture on its class, for whoever asks later."""

    last: ClassVar[bytes] = b""

    def padding(self, about: About, rng: Randomness) -> bytes:
        type(self).last = about.item.hash
        return NOTHING


class DeclaresPart(HashUpload):
    """Sends the whole hash, and declares 32 bits of it."""

    info = replace(HashUpload.info, name="cheat")

    def leakage(self) -> tuple[Leak, ...]:
        fact = Fact("cheat.part", "32 bits of the hash of every picture", lambda item, _: item.hash[:PIECE])
        others = [leak for leak in super().leakage() if leak.parties != {Party.MATCHER}]
        kept: Any = [Leak(frozenset({Party.MATCHER}), kind, (fact,)) for kind in Adversary]
        return (*others, *kept)
