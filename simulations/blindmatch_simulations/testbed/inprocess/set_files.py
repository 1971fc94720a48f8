"""Set files of whatever design: opened as their header says, and written again with something changed."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any

from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.setfile import SetFile, SetFileWriter, layout
from msgspec.structs import replace


def set_file(raw: bytes) -> SetFile | None:
    """A set file of the design that its header names; None if it is no set file."""
    try:
        identity = layout.unpack_header(raw[: layout.HEADER.size])
        return SetFile(raw, "a file", identity.design, identity.design_version)
    except (SetFileError, struct.error):
        return None


def resealed(file: SetFile, content: Callable[[tuple[int, int], bytes], bytes], **identity: Any) -> bytes:
    """`file` with other content of its sections, and other fields of its identity; all digests are right.

    Args:
        content: gives a section's, of its key (kind and index) and what it was.
        identity: fields of its `Identity`.
    """
    out = BytesIO()
    writer = SetFileWriter(out, replace(file.identity, **identity))
    for key, section in file.sections.items():
        writer.section(section.kind, [content(key, bytes(file.section(*key)))], section.items)
    writer.finish(file.entries)
    return out.getvalue()
