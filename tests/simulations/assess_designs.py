"""Designs that spoil an assessment, for ``assess_designs.py:NAME``; each is `hash-upload` but for one step.

CRASHES        ends its process while it builds
CRASHES_LATER  ends the matcher's process at its third question
HANGS          never ends its build
EATS           takes memory without end while it builds
LIES           uploads every hash, and declares that it does not
"""

from __future__ import annotations

import os
import time
from typing import Any

from blindmatch_protocol.contract import Adversary, Leak, Party
from blindmatch_protocol.designs.hash_upload import DESIGN as HASH_UPLOAD
from msgspec.structs import replace

STEP_BYTES = 64 << 20
ANSWERS = 3


class Crashes(type(HASH_UPLOAD)):  # type: ignore[misc]
    info = replace(HASH_UPLOAD.info, name="crashes")

    def publish(self, *arguments: Any, **named: Any) -> Any:
        os._exit(3)


class CrashesLater(type(HASH_UPLOAD)):  # type: ignore[misc]
    info = replace(HASH_UPLOAD.info, name="crashes-later")
    answers = 0

    def answer(self, *arguments: Any, **named: Any) -> Any:
        self.answers += 1
        if self.answers == ANSWERS:
            os._exit(4)
        return super().answer(*arguments, **named)


class Hangs(type(HASH_UPLOAD)):  # type: ignore[misc]
    info = replace(HASH_UPLOAD.info, name="hangs")

    def publish(self, *arguments: Any, **named: Any) -> Any:
        while True:
            time.sleep(0.1)


class Eats(type(HASH_UPLOAD)):  # type: ignore[misc]
    info = replace(HASH_UPLOAD.info, name="eats")

    def publish(self, *arguments: Any, **named: Any) -> Any:
        held = []
        while True:
            held.append(b"x" * STEP_BYTES)
            time.sleep(0.05)


class Lies(type(HASH_UPLOAD)):  # type: ignore[misc]
    info = replace(HASH_UPLOAD.info, name="lies")

    def leakage(self) -> tuple[Leak, ...]:
        return tuple(Leak(frozenset({Party.MATCHER}), adversary, ()) for adversary in Adversary)


CRASHES = Crashes()
CRASHES_LATER = CrashesLater()
HANGS = Hangs()
EATS = Eats()
LIES = Lies()
