"""Which back end a process takes: libsodium, `jit`, or under `auto` jit for large builds alone.

A build is a curator's, its key is on one machine, and every batch of it is checked by sample and by sum. What
a device or a matcher does with its secrets stays libsodium's unless `jit` is asked for (docs/group.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from typing import Final

from blindmatch_protocol.group.backend import (
    LIBSODIUM,
    BackendError,
    BackendWarning,
    GroupBackend,
    in_use,
    use,
    using,
)

BUILD_ROWS: Final = 1 << 14
"""Products of a build from which on `auto` takes jit: it saves what compiling takes, about a second."""


class Setting(StrEnum):
    """What a process was told."""

    AUTO = "auto"
    LIBSODIUM = "libsodium"
    JIT = "jit"


_setting = Setting.LIBSODIUM


def choose(setting: Setting) -> None:
    """Let this process compute as `setting` says from now on. Compiling waits for the first batch."""
    global _setting
    _setting = setting
    use(_jit_or_libsodium if setting is Setting.JIT else LIBSODIUM)


@contextmanager
def building(products: int) -> Iterator[GroupBackend]:
    """The back end of a build of so many products, which does the batches of the block."""
    auto = _setting is Setting.AUTO and products >= BUILD_ROWS and missing() is None
    backend = _jit_or_libsodium() if auto else in_use()
    with using(backend):
        yield backend


def described() -> str:
    """What this process computes with, in words; nothing is compiled for it."""
    absent = None if _setting is Setting.LIBSODIUM else missing()
    match _setting, absent:
        case (Setting.LIBSODIUM, _):
            return "libsodium"
        case (Setting.AUTO, None):
            return f"libsodium; large builds jit ({_target_name()})"
        case (Setting.JIT, None):
            return f"jit ({_target_name()})"
        case _:
            return f"libsodium; no jit: {absent}"


@cache
def missing() -> str | None:
    """Why there is no jit here; None if there is, as far as can be told before it is compiled."""
    try:
        _target_name()
    except BackendError as error:
        return str(error)
    return None


@cache
def jit() -> GroupBackend:
    """The compiled back end, tested.

    Raises:
        BackendError: if it is not installed, not for this processor, or computes something wrong.
    """
    _target_name()
    from blindmatch_protocol.group.jit.machine import Jit, check, host_target

    made = Jit(host_target())
    check(made)
    return made


def _target_name() -> str:
    try:
        from blindmatch_protocol.group.jit.machine import host_target
    except ImportError:
        raise BackendError("llvmlite is not installed (make fast, docs/group.md)") from None
    return host_target().name


@cache
def _jit_or_libsodium() -> GroupBackend:
    try:
        return jit()
    except BackendError as error:
        warnings.warn(f"no jit: {error}; libsodium computes", BackendWarning, stacklevel=2)
        return LIBSODIUM
