"""What machine a measurement was made on: kind and versions, no names of hosts or people."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import msgspec
from blindmatch_protocol import group
from blindmatch_server.hosting.workers import cores

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
    return Machine(
        processor=_processor(),
        cores=cores(),
        memory_mib=_memory_mib(),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={name: found for name in PACKAGES if (found := _version(name))},
        group_backend=group.described(),
    )


def _processor() -> str:
    """The model's name, as Linux gives it, else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _memory_mib() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (ValueError, OSError, AttributeError):
        return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
