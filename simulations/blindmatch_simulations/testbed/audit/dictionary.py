"""Looks for pictures in what left in the clear: their hash, pieces of it, and digests.

    clear fields    names, numbers, text: 4 bytes of a hash, plain, in hexadecimal, base64 or decimal
    opaque fields   keys, ids, ciphertext, bodies: 8 bytes of a hash, plain or under a constant byte

In opaque fields a false alarm needs 8 random bytes to be those of a picture: below 2^-30 for a megabyte and
30 pictures. A piece under any key but a constant byte is not found, whether the key is in the request or not.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from blindmatch_client.trace import EgressRecord
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Item, Party
from blindmatch_protocol.messages.sealed_message import SealedMessage
from google.protobuf.message import Message as Wire
from msgspec import Struct

from blindmatch_simulations.testbed.audit.counterpart import Counterpart
from blindmatch_simulations.testbed.audit.records import REQUESTS, Evidence, Finding, found, name_of

CLEAR: Final = 4
OPAQUE: Final = 8
_BASE64: Final = 5
"""Letters of base64 that 4 bytes decide."""
_LONG: Final = 4096
_TEXTS: Final = (_BASE64, 2 * CLEAR, 2 * CLEAR + 1, 2 * CLEAR + 2)
"""Lengths of a piece as text: base64, hexadecimal, decimal of nine or ten digits."""
_DERIVED: Final = frozenset({"Upload"})
"""Requests that are derived again byte for byte, and large."""
_COMPOSED: Final = "clear"
"""The field of a message in the clear, which is derived again as well: it says what its pictures are."""


class Dictionary(Redacted, Struct, frozen=True):
    """What is looked for: pieces in clear bytes, in opaque ones, steps between bytes, and text."""

    clear: frozenset[bytes]
    opaque: frozenset[bytes]
    steps: frozenset[bytes]
    text: frozenset[str]

    @classmethod
    def of(cls, items: Iterable[tuple[Item, bytes, bytes]]) -> Dictionary:
        """Of pictures with their files; the third is what is declared of each, and not looked for."""
        clear = set[bytes]()
        opaque = set[bytes]()
        steps = set[bytes]()
        text = set[str]()
        for item, file, shown in items:
            known = b"\0".join(_forms(shown))
            for form in (form for atom in _atoms(item, file) for form in _forms(atom)):
                open_ = [piece for piece in _pieces(form, CLEAR) if piece not in known]
                clear.update(open_)
                text.update(one for piece in open_ for one in _texts(piece))
                opaque.update(piece for piece in _pieces(form, OPAQUE) if piece not in known)
                steps.update(_steps(piece) for piece in _pieces(form, OPAQUE + 1) if piece not in known)
        return cls(frozenset(clear), frozenset(opaque), frozenset(steps), frozenset(text))

    def in_opaque(self, value: bytes) -> bool:
        """Does a piece stand in these bytes, plain or with one constant byte added to each by XOR?"""
        return _contains(value, self.opaque, OPAQUE) or _contains(_steps(value), self.steps, OPAQUE)

    def in_clear(self, value: object) -> bool:
        """Does a piece stand in this text, number or string of bytes?"""
        match value:
            case str():
                raw = value.encode()
                return self._in_text(value) or self._in_text(value.lower()) or self.in_clear(raw)
            case int() if value >= 1 << (8 * CLEAR - 8):
                sides = (value.to_bytes(8, "big"), value.to_bytes(8, "little"))
                return any(_contains(side, self.clear, CLEAR) for side in sides)
            case bytes():
                return _contains(value, self.clear, CLEAR)
            case _:
                return False

    def _in_text(self, value: str) -> bool:
        parts = (value[at : at + length] for length in _TEXTS for at in range(len(value) - length + 1))
        return any(part in self.text for part in parts)


def scan(counterpart: Counterpart, evidence: Evidence) -> Iterator[Finding]:
    """Findings for each field of a request that holds a piece of one of the device's pictures."""
    dictionaries: dict[Party, Dictionary] = {}
    for record in evidence.records:
        if name_of(record) in _DERIVED:
            continue
        if record.party not in dictionaries:
            dictionaries[record.party] = dictionary_for(
                counterpart, record.party, evidence.items, evidence.files
            )
        yield from _scan(record, dictionaries[record.party])


def dictionary_for(
    counterpart: Counterpart, party: Party, items: Mapping[int, Item], files: Mapping[int, bytes]
) -> Dictionary:
    declared = counterpart.declared(party)
    return Dictionary.of((item, files.get(n, b""), declared.shows(item)) for n, item in items.items())


def _scan(record: EgressRecord, dictionary: Dictionary) -> Iterator[Finding]:
    for raw in record.requests:
        for name, value in _fields(REQUESTS[record.method].FromString(raw)):
            if dictionary.in_opaque(value) if isinstance(value, bytes) else dictionary.in_clear(value):
                size = len(value) if isinstance(value, bytes | str) else 8
                yield found(record, f"{name_of(record)}: {name} holds a piece of a picture", size)


def _fields(request: Wire) -> Iterator[tuple[str, object]]:
    for field, held in request.ListFields():
        for value in held if isinstance(held, Sequence) and not isinstance(held, bytes | str) else [held]:
            if isinstance(value, Wire):
                yield from _fields(value)
            elif field.name != _COMPOSED:
                yield field.name, value
                if field.name == "sealed":
                    yield from _header(value)


def _header(sealed: bytes) -> Iterator[tuple[str, object]]:
    try:
        header = SealedMessage.decode(sealed).header
    except ProtocolError:
        return
    yield "ratchet number", header.number
    yield "previous chain", header.previous_chain_length


def _atoms(item: Item, file: bytes) -> list[bytes]:
    """The hash, and digests of it, of the pixels and of the file."""
    digests = [digest(item.hash).digest() for digest in (hashlib.sha256, hashlib.sha512, hashlib.blake2b)]
    wholes = [hashlib.sha256(whole).digest() for whole in (item.pixels.tobytes(), file) if whole]
    return [item.hash, *digests, *wholes]


def _forms(atom: bytes) -> tuple[bytes, ...]:
    return atom, atom[::-1], bytes(byte ^ 0xFF for byte in atom)


def _pieces(form: bytes, length: int) -> Iterator[bytes]:
    return (form[at : at + length] for at in range(0, len(form) - length + 1, CLEAR))


def _texts(piece: bytes) -> Iterator[str]:
    yield piece.hex()
    yield b64encode(piece).decode()[:_BASE64]
    yield urlsafe_b64encode(piece).decode()[:_BASE64]
    decimals = (str(int.from_bytes(one, "big")) for one in (piece, piece[::-1]))
    yield from (text for text in decimals if len(text) > 2 * CLEAR)


def _steps(value: bytes) -> bytes:
    """Each byte XOR the next: unchanged if one constant byte is added to all by XOR."""
    some = np.frombuffer(value, np.uint8)
    return bytes((some[1:] ^ some[:-1]).tobytes())


def _contains(value: bytes, pieces: frozenset[bytes], length: int) -> bool:
    if length == OPAQUE and len(value) > _LONG:
        return bool(standing(value, pieces))
    return any(value[at : at + length] in pieces for at in range(len(value) - length + 1))


def standing(value: bytes, pieces: frozenset[bytes]) -> frozenset[bytes]:
    """Those of some pieces of 8 bytes that stand anywhere in `value`."""
    wanted = np.frombuffer(b"".join(pieces), np.uint64)
    begins = np.zeros(1 << 16, np.bool_)
    begins[wanted & np.uint64(0xFFFF)] = True
    likely: list[bytes] = []
    for at in range(min(OPAQUE, len(value) - OPAQUE + 1)):
        words = np.frombuffer(value, np.uint64, (len(value) - at) // OPAQUE, at)
        likely += (word.tobytes() for word in words[begins[words & np.uint64(0xFFFF)]])
    return pieces.intersection(likely)
