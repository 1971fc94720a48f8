"""What machine a measurement was made on, no names of hosts or people; what computes the group."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from blindmatch_protocol import group
from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_server.hosting.workers import cores

if TYPE_CHECKING:
    from blindmatch_simulations.measure.meter import Meter


PACKAGES: Final = (
    "blindmatch", "numpy", "rbcl", "cryptography", "fastconstmap", "grpcio", "protobuf", "pillow",
    "doubleratchet", "llvmlite",
)  # fmt: skip


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What it was measured on; `memory_mib` is 0 if it is unknown, `cores` are those a process may use, and
    `group_backend` says what computed batches of the group (empty before there was a choice)."""

    processor: str
    cores: int
    memory_mib: int
    system: str
    python: str
    packages: dict[str, str]
    group_backend: str = ""


def machine() -> Machine:
    """The one this process runs on."""
    import psutil

    return Machine(
        processor=_processor(),
        cores=cores(),
        memory_mib=psutil.virtual_memory().total >> 20,
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: found for name in PACKAGES if (found := _version(name))},
        group_backend=group.described(),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


GROUP_BACKEND: Final = "BLINDMATCH_GROUP_BACKEND"


class SettingError(BlindmatchError):
    """The environment names no back end."""


def choose_group_backend(told: str | None = None) -> None:
    """Compute as told, else as the environment says, else as `auto` does; `SettingError` if the environment's
    word is none of them."""
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
