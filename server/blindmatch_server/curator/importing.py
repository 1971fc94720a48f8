"""Importing: sources of any format become a list file, with a summary and a side file of rejects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Progress, no_progress
from msgspec import Struct, field
from msgspec.structs import replace

from blindmatch_server.curator.assembling import Near, assemble
from blindmatch_server.curator.errors import NothingValidError
from blindmatch_server.curator.formats import ListFormat, reader_of
from blindmatch_server.curator.formats.block import Block
from blindmatch_server.curator.hashlist import HashList
from blindmatch_server.curator.import_records import ImportRecords
from blindmatch_server.curator.listwriter import Title
from blindmatch_server.curator.rejects import RejectFile, rejects_path
from blindmatch_server.curator.replacing import replacing
from blindmatch_server.curator.source import Origin, Source
from blindmatch_server.curator.summary import Summary


class Provenance(Struct):
    """Where a list's records came from; filled while they are read."""

    formats: dict[str, None] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


def import_list(
    origins: Origin | Sequence[Origin],
    into: Path,
    rng: Randomness,
    *,
    list_format: ListFormat | None = None,
    title: Title | None = None,
    onto: HashList | None = None,
    families: Near | None = None,
    progress: Progress = no_progress,
    columns: Mapping[str, str] = MappingProxyType({}),
) -> Summary:
    """Import sources into the list file `into`, which is replaced when all is done, and not before.

    Args:
        origins: paths or binary streams; several (pages of one answer, say) are read in order.
        into: the list file; rejects go to `<into>.rejects.jsonl` beside it.
        rng: gives 16 bytes of salt for each new entry.
        list_format: of all sources; without it each one is looked at.
        title: name and creation time; by default the stem of `into` and now.
        onto: the list to start from, which may be the one at `into`; its entries keep ids and salts.
        families: look for near duplicates.
        progress: called with (bytes read, bytes in all); 0 in all if a stream does not say.
        columns: names of the columns of CSV, by those of threatexchange.

    Raises:
        FormatError: if a source as a whole is not what its format says.
        NothingValidError: if no source has a valid record; the side file is there then.
        SourceChangedError: if a file changed meanwhile.
        ListError: if a file cannot be read or written.
    """
    listed = list(origins) if isinstance(origins, Sequence) else [origins]
    provenance = Provenance()
    blocks = _blocks(listed, list_format, columns, provenance, progress)
    return build(blocks, provenance, into, rng, title=title, onto=onto, families=families)


def build(
    blocks: Iterable[tuple[str, Block]],
    provenance: Provenance,
    into: Path,
    rng: Randomness,
    *,
    title: Title | None = None,
    onto: HashList | None = None,
    families: Near | None = None,
) -> Summary:
    """Write the list file `into` from blocks with their sources' names; else as `import_list`."""
    made = title or Title(into.stem)
    with (
        replacing(into, onto),
        closing(RejectFile(rejects_path(into))) as rejects,
        closing(ImportRecords(into.parent)) as records,
    ):
        if onto is not None:
            records.start_from(onto)
        read = _fill(records, rejects, blocks)
        _check_any(rejects, into.name, read)
        made = replace(made, formats=tuple(provenance.formats), digests=tuple(provenance.digests))
        summary = assemble(records, into, rng, made, onto, families)
        return replace(summary, read=read, rejected=dict(rejects.counts), rejects=rejects.publish())


def _blocks(
    origins: Sequence[Origin],
    list_format: ListFormat | None,
    columns: Mapping[str, str],
    provenance: Provenance,
    progress: Progress,
) -> Iterator[tuple[str, Block]]:
    """The blocks of the sources, one source after another, each checked at its end and closed."""
    total = sum(origin.stat().st_size for origin in origins if isinstance(origin, Path) and origin.is_file())
    done = 0
    for origin in origins:
        with Source(origin) as source:
            found, blocks = reader_of(source, list_format, columns)
            provenance.formats[found.value] = None
            for block in blocks:
                yield source.name, block
                progress(done + source.offset, total)
            provenance.digests.append(source.finish())
            done += source.offset


def _fill(records: ImportRecords, rejects: RejectFile, blocks: Iterable[tuple[str, Block]]) -> int:
    """Move all blocks into the records and the rejects file; the number of records read."""
    read = 0
    for name, block in blocks:
        records.add(block)
        rejects.write(name, block.rejects)
        read += block.read
    return read


def _check_any(rejects: RejectFile, name: str, read: int) -> None:
    """Refuse sources without a valid record, and leave the rejects file to tell why."""
    if rejects.counts.total() < read:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.counts.most_common())
    rejects.publish()
    said = f"all {read} records were rejected: {reasons}" if read else "there are no records"
    raise NothingValidError(f"nothing valid to import into {name}: {said}")
