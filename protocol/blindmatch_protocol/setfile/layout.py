"""The fixed pieces of a set file, version 2: header, parameters, section table, trailer.

    header 64 | section, zeros to a multiple of 64 | ... | parameters 40 each | table 64 each | trailer 72

Integers are unsigned and big-endian. docs/set-format.md documents every byte. The pieces at the end are
written last, so that a build can stream sections whose number and lengths it does not know beforehand.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from hashlib import sha256
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import astuple

from blindmatch_protocol.codec.errors import SetFileError

FORMAT_VERSION = 2
MAGIC = b"\x89BMSET\r\n"
"""A byte above 127 and both line ends, so that a text-mode copy is noticed (as in PNG)."""
END_MAGIC = b"BMSETEND"
DIGEST_TAG = b"blindmatch/set-file/v2"
ALIGNMENT = 64
DIGEST_BYTES = 32
NAME_BYTES = 32
MOST_SECTIONS = 1 << 16
MOST_PARAMETERS = 64

HEADER = struct.Struct(">8sII32sIIQ")
PARAMETER = struct.Struct(">32sQ")
SECTION = struct.Struct(">IIQQQ32s")
TRAILER = struct.Struct(">QQQII32s8s")
SUMMED = TRAILER.size - DIGEST_BYTES - len(END_MAGIC)
"""Bytes at the front of the trailer that the overall digest covers."""


class Identity(Struct, frozen=True):
    """What a set file is for.

    Attributes:
        design: name of the design, ASCII, at most 32 bytes.
        design_version: version of the design's messages and files.
        epoch: number of the epoch, 0 for files that belong to none.
        parameters: the design's parameters by name.
    """

    design: str
    design_version: int
    epoch: int
    parameters: Mapping[str, int]


class Section(Struct, frozen=True):
    """One row of the section table.

    Attributes:
        kind: what the section is; below 0x100 common to all designs.
        index: counts sections of one kind from 0 on.
        offset: where it starts, a multiple of 64.
        length: its bytes.
        items: how many keys, labels, ... it holds.
        digest: the root over its pages.
    """

    kind: int
    index: int
    offset: int
    length: int
    items: int
    digest: bytes

    @property
    def end(self) -> int:
        """Where the next section's padding starts."""
        return self.offset + self.length


class Trailer(Struct, frozen=True):
    """The last 72 bytes.

    Attributes:
        parameters_at: where the parameters start; the section table follows them.
        file_length: of the whole file.
        entries: entries of the list.
        sections: rows of the table.
        parameters: number of parameters.
        digest: the overall digest.
    """

    parameters_at: int
    file_length: int
    entries: int
    sections: int
    parameters: int
    digest: bytes


def padded(length: int) -> int:
    """`length` rounded up to a multiple of 64."""
    return -(-length // ALIGNMENT) * ALIGNMENT


def pack_name(name: str) -> bytes:
    """A name as 32 bytes, zero-padded; `SetFileError` if it is empty, longer, or not printable ASCII."""
    if not (name.isascii() and name.isprintable() and 0 < len(name) <= NAME_BYTES):
        raise SetFileError(f"the name {name!r} must be 1 to {NAME_BYTES} printable ASCII characters")
    return name.encode().ljust(NAME_BYTES, b"\0")


def unpack_name(raw: bytes, what: str) -> str:
    """The name whose canonical form is `raw`; `SetFileError` for any other bytes."""
    name = raw.rstrip(b"\0").decode("latin-1")
    if not (name.isascii() and name.isprintable() and name):
        raise SetFileError(f"{what} is not printable ASCII padded with zeros")
    return name


def pack_header(identity: Identity) -> bytes:
    """The first 64 bytes."""
    name = pack_name(identity.design)
    return HEADER.pack(MAGIC, FORMAT_VERSION, 0, name, identity.design_version, 0, identity.epoch)


def unpack_header(raw: bytes) -> Identity:
    """Design, version and epoch of the header, without parameters; `SetFileError` if it is no header of this
    version."""
    magic, version, zero, name, design_version, zero_too, epoch = HEADER.unpack(raw)
    if magic != MAGIC:
        raise SetFileError("not a set file: the magic number is missing")
    if version != FORMAT_VERSION:
        age = "later" if version > FORMAT_VERSION else "earlier"
        raise SetFileError(f"set format {version} is {age} than the one this program reads, {FORMAT_VERSION}")
    if zero or zero_too:
        raise SetFileError("altered: a reserved byte of the header is not zero")
    return Identity(unpack_name(name, "the design's name"), design_version, epoch, {})


def pack_parameters(parameters: Mapping[str, int]) -> bytes:
    """Parameters in the order of their names; `SetFileError` if there are too many, or a value is no unsigned
    integer of 64 bits."""
    if len(parameters) > MOST_PARAMETERS or any(not 0 <= v < 1 << 64 for v in parameters.values()):
        raise SetFileError(f"at most {MOST_PARAMETERS} parameters of 64 bits")
    return b"".join(PARAMETER.pack(pack_name(name), parameters[name]) for name in sorted(parameters))


def unpack_parameters(raw: bytes) -> dict[str, int]:
    """The parameters; `SetFileError` if the names are not in strictly ascending order."""
    pairs = [(unpack_name(name, "a parameter's name"), value) for name, value in PARAMETER.iter_unpack(raw)]
    names = [name for name, _ in pairs]
    if any(a >= b for a, b in pairwise(names)):
        raise SetFileError("altered: parameters are not in the order of their names")
    return dict(pairs)


def pack_sections(sections: Sequence[Section]) -> bytes:
    return b"".join(SECTION.pack(*astuple(section)) for section in sections)


def unpack_sections(raw: bytes, end: int) -> list[Section]:
    """The section table, of a file whose sections must fill the bytes from 64 to `end`; `SetFileError` if
    they do not, or indices do not count each kind from 0 on."""
    sections = [Section(*row) for row in SECTION.iter_unpack(raw)]
    at = HEADER.size
    seen = dict[int, int]()
    for section in sections:
        if section.offset != at or section.index != seen.get(section.kind, 0):
            raise SetFileError("altered: the section table has gaps or is out of order")
        seen[section.kind] = section.index + 1
        at = padded(section.end)
    if at != end:
        raise SetFileError("altered: the sections do not fill the file")
    return sections


def unpack_trailer(raw: bytes, length: int) -> Trailer:
    """The trailer of a file of `length` bytes; `SetFileError` if the file ends too early or its pieces do not
    fit together."""
    *values, magic = TRAILER.unpack(raw)
    trailer = Trailer(*values)
    if magic != END_MAGIC:
        raise SetFileError("truncated or altered: the end mark is missing")
    if trailer.file_length != length:
        raise SetFileError(f"truncated or altered: {length} bytes, {trailer.file_length} expected")
    if trailer.sections > MOST_SECTIONS or trailer.parameters > MOST_PARAMETERS:
        raise SetFileError("altered: too many sections or parameters")
    tables = PARAMETER.size * trailer.parameters + SECTION.size * trailer.sections
    if trailer.parameters_at + tables + TRAILER.size != length:
        raise SetFileError("altered: the tables do not fill the end of the file")
    return trailer


def pack_trailer(trailer: Trailer) -> bytes:
    """The last 72 bytes."""
    return TRAILER.pack(*astuple(trailer), END_MAGIC)


def overall_digest(header: bytes, tables: bytes, trailer: bytes) -> bytes:
    """SHA-256 over tag, header, parameters with table, and the trailer's first 32 bytes; it stands for the
    whole file, since the table holds every section's digest."""
    return sha256(DIGEST_TAG + header + tables + trailer[:SUMMED]).digest()
