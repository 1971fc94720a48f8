"""NCMEC hash sharing, version 2: the XML of its `entries` answers, streamed: docs/reference/list-files.md.

A deletion names member and id, no hash, so each record keeps a digest of the two as its identity; of
several records of one identity the latest counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from blindmatch_server.curator.formats.block import BLOCK_RECORDS, NO_TIME, Block, Gathering, Numbering
from blindmatch_server.curator.rejects import Place, Reason
from blindmatch_server.curator.source import FormatError, Source

NAMESPACE: Final = "https://hashsharing.ncmec.org/hashsharing/v2"
MOST_TEXT: Final = 1024
"""Characters of one element's text that are looked at; none that is used is as long."""

MOST_MARKUP_BYTES: Final = 1 << 20
"""Bytes that a tag, comment or run of text may take before the source is refused."""

MOST_DEPTH: Final = 64
MOST_NAMES_SIZE: Final = 256 << 10
"""Characters of all names and namespaces that differ, with 64 for each: the parser keeps them to the end."""

_CHUNK_BYTES: Final = 256 << 10


def _named(name: str) -> str:
    return f"{NAMESPACE}}}{name}"


ROOT: Final = _named("queryResult")


def read(source: Source) -> Iterator[Block]:
    """Blocks of `source`; one record each image, deleted image, video and deleted video; `FormatError` if it
    is no well-formed XML, has a document type (where entity bombs and external entities are declared), is of
    another schema, or has elements too deep or names too many."""
    records = _Records(source)
    parser = records.parser
    fed = 0
    try:
        while chunk := source.read(_CHUNK_BYTES):
            parser.feed(chunk)
            fed += len(chunk)
            records.bound(fed)
            if records.gathering.read >= BLOCK_RECORDS:
                yield records.flush()
        parser.close()
    except DefusedXmlException as error:
        raise FormatError(f"{source.name}: XML with a document type is refused: remove it") from error
    except (ParseError, LookupError, ValueError) as error:  # the last two: encodings expat cannot read
        raise FormatError(f"{source.name}: truncated or malformed XML: {error}; fetch it again") from error
    yield records.flush()


class _NoTree:
    """Where the parser would build a tree; it builds none."""

    def close(self) -> None:
        """Called at the end of the document."""


class _Records:
    """Turns the parser's events into records; the parser stands in a record or between two."""

    def __init__(self, source: Source) -> None:
        self.parser = DefusedXMLParser(target=_NoTree(), forbid_dtd=True)
        self.gathering = Gathering()
        self._source = source
        self._shift = source.offset
        self._expat = _expat(self.parser, self._start_root)
        self._numbering = Numbering()
        self._names: set[str] = set()
        self._room = MOST_NAMES_SIZE
        self._depth = 1
        self._text: list[str] | None = None
        self._place: Place | None = None
        self._reset()
        self._starts: dict[str, Callable[[list[str]], None]] = {
            _named("member"): self._start_member,
            **dict.fromkeys(map(_named, ("id", "timestamp", "pdq")), self._start_text),
            **dict.fromkeys(
                map(_named, ("image", "deletedImage", "video", "deletedVideo")), self._start_record
            ),
        }
        self._ends: dict[str, Callable[[], None]] = {
            _named("id"): self._end_id,
            _named("timestamp"): self._end_timestamp,
            _named("pdq"): self._end_pdq,
            _named("image"): self._end_image,
            _named("deletedImage"): self._end_deleted,
            **dict.fromkeys(
                map(_named, ("video", "deletedVideo")),
                lambda: self.gathering.reject(self._leave()[0], Reason.VIDEO),
            ),
        }

    def flush(self) -> Block:
        block = self.gathering.block()
        self.gathering = Gathering()
        return block

    def bound(self, fed: int) -> None:
        """Refuse markup that makes the parser hold more and more; shorten text that nobody reads."""
        if fed - self._expat.CurrentByteIndex > MOST_MARKUP_BYTES + _CHUNK_BYTES:
            raise FormatError(f"{self._source.name}: a tag longer than 1 MiB at byte {self._offset()}")
        if self._text is not None and len(self._text) > 1:
            self._text[:] = ["".join(self._text)[:MOST_TEXT]]

    def _offset(self) -> int:
        return int(self._expat.CurrentByteIndex) + self._shift

    def _reset(self) -> None:
        self._member = self._id = ""
        self._time: int | None = NO_TIME
        self._hashes: list[str] = []

    def _start_root(self, name: str, attributes: list[str]) -> None:
        if name != ROOT:
            namespace, _, local = name.rpartition("}")
            raise FormatError(
                f"{self._source.name}: the root must be queryResult of {NAMESPACE}, "
                f"not {local[:64]!r} of {namespace[:128]!r}"
            )
        self._expat.StartNamespaceDeclHandler = self._start_namespace
        self._expat.StartElementHandler = self._start_handler()
        self._expat.EndElementHandler = self._end_handler()

    def _start_handler(self) -> Callable[[str, list[str]], None]:
        """Called for each tag of a long document, so a closure: calling it takes less than a method."""
        handler_of = self._starts.get
        names = self._names

        def start(name: str, attributes: list[str]) -> None:
            self._depth += 1
            if self._depth > MOST_DEPTH:
                raise FormatError(
                    f"{self._source.name}: elements deeper than {MOST_DEPTH}, byte {self._offset()}"
                )
            if name not in names:
                self._note(name)
            if attributes and not names.issuperset(attributes[::2]):
                for attribute in attributes[::2]:
                    self._note(attribute)
            handler = handler_of(name)
            if handler is not None:
                handler(attributes)

        return start

    def _end_handler(self) -> Callable[[str], None]:
        """Likewise. A field that ends outside of a record changes nothing: the next record starts anew."""
        handler_of = self._ends.get

        def end(name: str) -> None:
            self._depth -= 1
            handler = handler_of(name)
            if handler is not None:
                handler()

        return end

    def _note(self, name: str | None) -> None:
        """A name that the parser has to keep; refused if it keeps too many."""
        if name is not None and name not in self._names:
            self._names.add(name)
            self._room -= len(name) + 64
        if self._room < 0:
            raise FormatError(f"{self._source.name}: too many names that differ, by byte {self._offset()}")

    def _start_namespace(self, prefix: str | None, uri: str | None) -> None:
        self._note(prefix and f"xmlns:{prefix}")
        self._note(uri)

    def _start_record(self, _: list[str]) -> None:
        if self._place is not None:
            raise FormatError(f"{self._source.name}: a record within a record at byte {self._offset()}")
        self._place = self._numbering.place(self._expat.CurrentLineNumber, self._offset())
        self._reset()

    def _start_member(self, attributes: list[str]) -> None:
        names = attributes[::2]
        self._member = attributes[2 * names.index("id") + 1] if "id" in names else ""

    def _start_text(self, _: list[str]) -> None:
        if self._place is not None:
            self._text = []
            self._expat.CharacterDataHandler = self._text.append

    def _end_text(self) -> str:
        self._expat.CharacterDataHandler = None
        parts = self._text or ()
        self._text = None
        text = parts[0] if len(parts) == 1 else "".join(parts)
        return text[:MOST_TEXT].strip()

    def _end_id(self) -> None:
        self._id = self._end_text()

    def _end_timestamp(self) -> None:
        self._time = _seconds(self._end_text())

    def _end_pdq(self) -> None:
        text = self._end_text()
        # of several none is taken
        if len(self._hashes) < 2:
            self._hashes.append(text)

    def _end_image(self) -> None:
        place, hashes = self._leave()
        if fault := self._fault():
            self.gathering.reject(place, fault)
        elif len(hashes) == 1:
            self.gathering.add(place, hashes[0].encode(), time=self._time or 0, identity=self._identity())
        else:
            self.gathering.reject(place, Reason.SEVERAL_HASHES if hashes else Reason.HASH_MISSING)

    def _end_deleted(self) -> None:
        place, _ = self._leave()
        if fault := self._fault():
            self.gathering.reject(place, fault)
        else:
            self.gathering.remove(place, self._time or 0, self._identity())

    def _leave(self) -> tuple[Place, list[str]]:
        assert self._place is not None
        place = self._place
        self._place = None
        return place, self._hashes

    def _fault(self) -> Reason | None:
        if not self._member or not self._id:
            return Reason.RECORD_ID_MISSING
        return Reason.BAD_TIMESTAMP if self._time is None else None

    def _identity(self) -> bytes:
        return identity(self._member, self._id)


_IDENTITY: Final = blake2b(digest_size=32, person=b"blindmatch ncmec")


def identity(member: str, record: str) -> bytes:
    """Digest of a record's member and id, 32 bytes; the domain keeps it apart from other formats'."""
    digest = _IDENTITY.copy()
    digest.update(f"{len(member)}:{member}{record}".encode())
    return digest.digest()


def _seconds(text: str) -> int | None:
    """Seconds since 1970 of an ISO 8601 time with a zone, `NO_TIME` of an empty text, else None."""
    if not text:
        return NO_TIME
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int(moment.timestamp()) if moment.tzinfo is not None else None


def _expat(parser: DefusedXMLParser, start: Callable[[str, list[str]], None]) -> Any:
    """The expat parser that `parser` guards, with our handler instead of those that build a tree."""
    expat = parser.parser
    expat.buffer_text = True
    expat.DefaultHandlerExpand = None
    expat.CharacterDataHandler = None
    expat.CommentHandler = None
    expat.ProcessingInstructionHandler = None
    expat.StartElementHandler = start
    expat.EndElementHandler = None
    return expat
