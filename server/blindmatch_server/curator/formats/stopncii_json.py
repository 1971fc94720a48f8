"""StopNCII records as JSON: an answer of its `FetchHashes`, a bare array of records, or one record a line.

Records are cut out of the bytes one by one, so that the whole is never held. In an array the end of a broken
record cannot be known, so broken JSON ends the import there; a broken line is rejected alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from blindmatch_server.curator.formats.block import BLOCK_RECORDS, Block, Gathering, Numbering, whole_lines
from blindmatch_server.curator.rejects import Place, Reason
from blindmatch_server.curator.source import PEEK_BYTES, FormatError, Source

MOST_RECORD_BYTES: Final = 1 << 20
MOST_LINE_BYTES: Final = 64 << 10
_CHUNK_BYTES: Final = 256 << 10
_STRING: Final = rb'"(?:[^"\\]|\\.)*+"'
_TOKEN = re.compile(_STRING + rb'|["{}]', re.DOTALL)
_FLAT: Final = rb'[^"{}]++|' + _STRING
_USUAL = re.compile(rb"\{(?:" + _FLAT + rb"|\{(?:" + _FLAT + rb")*+\})*+\}", re.DOTALL)
"""An object that holds objects, but none that hold objects: found in one step."""
_ENVELOPE = re.compile(rb'\{(?:[^"\[{]|"(?:[^"\\]|\\.)*+")*?"hashRecords"\s*+:\s*+\[', re.DOTALL)
_BLANK: Final = b" \t\r\n"


class _Record(msgspec.Struct):
    signalType: str  # noqa: N815 - StopNCII's names
    hashValue: str  # noqa: N815
    hashStatus: str  # noqa: N815
    lastModtimestamp: int = 0  # noqa: N815


_STATUS_REMOVES: Final = {"Received": False, "Active": False, "Withdrawn": True, "Deleted": True}
_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DECODER = msgspec.json.Decoder(_Record)


def read(source: Source) -> Iterator[Block]:
    """Blocks of `source`; one record each element of the array, or each line. Raises `FormatError` if an
    array or the object around it is truncated or broken, or a record exceeds 1 MiB."""
    head = source.head.lstrip(_BLANK)
    blank = len(source.head) - len(head)
    envelope = _ENVELOPE.match(head)
    if envelope or head.startswith(b"["):
        opening = source.read(blank + (envelope.end() if envelope else 1))
        return _array(source, opening)
    return _lines(source)


def _lines(source: Source) -> Iterator[Block]:
    numbering = Numbering()
    for lines in whole_lines(source, _CHUNK_BYTES, MOST_LINE_BYTES):
        gathering = Gathering()
        for number, offset, line in lines.each():
            if not line.strip():
                continue
            place = numbering.place(number, offset)
            if lines.too_long(line):
                gathering.reject(place, Reason.LINE_TOO_LONG)
            else:
                _take(gathering, place, line)
        yield gathering.block()


def _array(source: Source, opening: bytes) -> Iterator[Block]:
    stream = _Array(source, opening)
    numbering = Numbering()
    gathering = Gathering()
    for line, offset, raw in stream.records():
        _take(gathering, numbering.place(line, offset), raw)
        if gathering.read >= BLOCK_RECORDS:
            yield gathering.block()
            gathering = Gathering()
    stream.close()
    yield gathering.block()


def _take(gathering: Gathering, place: Place, raw: bytes) -> None:
    try:
        record = _DECODER.decode(raw)
    except _UNDECODABLE:
        gathering.reject(place, _broken(raw))
        return
    removal = _STATUS_REMOVES.get(record.hashStatus)
    if record.signalType != "ImagePDQ":
        gathering.reject(place, Reason.OTHER_SIGNAL_TYPE)
    elif removal is None:
        gathering.reject(place, Reason.UNKNOWN_STATUS)
    elif not 0 <= record.lastModtimestamp < 1 << 40:
        gathering.reject(place, Reason.BAD_TIMESTAMP)
    else:
        gathering.add(place, record.hashValue.encode(), removal=removal, time=record.lastModtimestamp)


def _broken(raw: bytes) -> Reason:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return Reason.NOT_UTF8
    return Reason.NOT_A_RECORD


class _Array:
    """The elements of a JSON array of objects, as bytes with their places."""

    def __init__(self, source: Source, opening: bytes) -> None:
        self._source = source
        self._opening = opening
        self._data = b""
        self._at = 0
        self._line = 1 + opening.count(b"\n")
        self._base = source.offset

    def records(self) -> Iterator[tuple[int, int, bytes]]:
        """Line, byte offset and bytes of each element, up to the bracket that ends the array."""
        if self._next() == b"]":
            return
        while True:
            if self._next() != b"{":
                self._refuse("an object expected")
            end = self._end_of_object()
            line = self._line
            offset = self._base + self._at
            raw = self._data[self._at : end]
            self._advance(end)
            yield line, offset, raw
            after = self._next()
            if after == b"]":
                return
            if after != b",":
                self._refuse("a comma or the end of the array expected")
            self._advance(self._at + 1)

    def close(self) -> None:
        frame = self._opening + self._data[self._at :] + self._source.read(PEEK_BYTES)
        try:
            msgspec.json.decode(frame)
        except _UNDECODABLE:
            self._refuse("what stands around the records is no JSON")
        if self._source.read(1):
            self._refuse("more than 64 KiB follow the records")

    def _next(self) -> bytes:
        while True:
            while self._at < len(self._data):
                byte = self._data[self._at : self._at + 1]
                if byte not in (b" ", b"\t", b"\r", b"\n"):
                    return byte
                self._advance(self._at + 1)
            if not self._more():
                self._refuse("truncated: the array does not end")

    def _end_of_object(self) -> int:
        if usual := _USUAL.match(self._data, self._at):
            return usual.end()
        while True:
            depth = 0
            for token in _TOKEN.finditer(self._data, self._at):
                byte = token.group()
                if byte == b'"':
                    break
                depth += {b"{": 1, b"}": -1}.get(byte, 0)
                if not depth:
                    return token.end()
            if len(self._data) - self._at > MOST_RECORD_BYTES:
                self._refuse("a record longer than 1 MiB")
            if not self._more():
                self._refuse("truncated: a record does not end")

    def _advance(self, to: int) -> None:
        self._line += self._data.count(b"\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        fresh = self._source.read(_CHUNK_BYTES)
        self._base += self._at
        self._data = self._data[self._at :] + fresh
        self._at = 0
        return bool(fresh)

    def _refuse(self, rule: str) -> None:
        where = f"line {self._line}, byte {self._base + self._at}"
        raise FormatError(f"{self._source.name}: {where}: {rule}")
