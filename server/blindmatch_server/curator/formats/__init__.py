"""The formats of plaintext lists: their names, their readers, and telling one from another.

Each reader is a generator of `Block` over a `Source`; it holds one block at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum

from blindmatch_server.curator.formats import ncmec_xml, stopncii_json
from blindmatch_server.curator.formats.block import Block
from blindmatch_server.curator.formats.text import read_csv, read_pdq, words_of_header
from blindmatch_server.curator.source import FormatError, Source


class ListFormat(StrEnum):
    PDQ = "pdq"
    THREATEXCHANGE = "threatexchange"
    NCMEC = "ncmec"
    STOPNCII = "stopncii"


READERS: Mapping[ListFormat, Callable[[Source], Iterator[Block]]] = {
    ListFormat.PDQ: read_pdq,
    ListFormat.THREATEXCHANGE: read_csv,
    ListFormat.NCMEC: ncmec_xml.read,
    ListFormat.STOPNCII: stopncii_json.read,
}


def reader_of(
    source: Source, list_format: ListFormat | None, columns: Mapping[str, str]
) -> tuple[ListFormat, Iterator[Block]]:
    """The format of `source`, looked at unless it or columns are given, and its blocks. As `sniff`."""
    if columns:
        return ListFormat.THREATEXCHANGE, read_csv(source, columns)
    found = list_format or sniff(source)
    return found, READERS[found](source)


def sniff(source: Source) -> ListFormat:
    """The format of `source`, from its first 64 KiB; `FormatError` if it is empty, or looks like none of the
    formats."""
    head = source.head.lstrip()
    if not head:
        raise FormatError(f"{source.name} is empty")
    if head.startswith(b"<"):
        return ListFormat.NCMEC
    if head[:1] in (b"{", b"["):
        return ListFormat.STOPNCII
    lines = (line for line in head.splitlines() if line.strip() and not line.startswith(b"#"))
    first = next(lines, b"")
    if b"signal_type" in first:
        return ListFormat.THREATEXCHANGE
    if first.startswith(b"pdq ") or not first:
        return ListFormat.PDQ
    raise FormatError(
        f"{source.name}: cannot tell its format from its beginning; name one of {', '.join(ListFormat)}; "
        f"lines of hashes are of the form 'pdq <hex>', and the first line of CSV is "
        f"{words_of_header()}"
    )
