"""Keys of 32 bytes as files: 64 hex digits and a line end."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from blindmatch_server.errors import StateError

KEY_BYTES: Final = 32


def line_of(key: bytes) -> bytes:
    """A key as its file has it."""
    return key.hex().encode() + b"\n"


def read_key(path: Path) -> bytes:
    """The key in a file.

    Raises:
        StateError: if the file is missing or is not 64 hex digits.
    """
    try:
        content = path.read_bytes()
        key = bytes.fromhex(content.decode("ascii"))
    except (OSError, ValueError) as error:
        raise StateError(f"{path.name}: cannot be read as a key") from error
    if line_of(key) != content or len(key) != KEY_BYTES:
        raise StateError(f"{path.name}: must be 64 hex digits and a line end")
    return key
