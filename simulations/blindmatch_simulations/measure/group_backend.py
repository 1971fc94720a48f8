"""What this process and those it starts compute the group's batches with, as told or by the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from blindmatch_protocol import group
from blindmatch_protocol.codec.errors import BlindmatchError

if TYPE_CHECKING:
    from blindmatch_simulations.measure.meter import Meter

GROUP_BACKEND: Final = "BLINDMATCH_GROUP_BACKEND"


class SettingError(BlindmatchError):
    """The environment names no back end."""


def choose_group_backend(told: str | None = None) -> None:
    """Compute as told, else as the environment says, else as `auto` does.

    Raises:
        SettingError: if the environment's word is none of them.
    """
    if told is not None:
        os.environ[GROUP_BACKEND] = told
    word = os.environ.get(GROUP_BACKEND) or group.Setting.AUTO
    try:
        group.choose(group.Setting(word))
    except ValueError:
        raise SettingError(f"{GROUP_BACKEND} must be {', '.join(group.Setting)}, not {word!r}") from None


def measurable() -> tuple[group.Setting, ...]:
    """What can be measured one after the other here: libsodium, and jit if it is to be had."""
    return (group.Setting.LIBSODIUM,) if group.missing() else (group.Setting.LIBSODIUM, group.Setting.JIT)


@contextmanager
def computing(meter: Meter, setting: group.Setting) -> Iterator[None]:
    """Let this process, and those it starts, compute with one back end in a block; rows of jit are marked."""
    before = os.environ.get(GROUP_BACKEND, "")
    choose_group_backend(setting)
    group.in_use()  # compiled before anything is timed
    meter.marks = {} if setting is group.Setting.LIBSODIUM else {"backend": str(setting)}
    try:
        yield
    finally:
        meter.marks = {}
        choose_group_backend(before or group.Setting.AUTO)
