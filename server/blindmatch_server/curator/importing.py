"""Importing: sources of any format, hashes at hand, random ones and pictures become a list file, with a
summary and a side file of rejects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import PictureError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Progress, no_progress
from blindmatch_protocol.contract.publishing import SALT_BYTES
from blindmatch_protocol.contract.relation import MINIMUM_QUALITY
from blindmatch_protocol.picture.decode import Picture
from msgspec import Struct, field
from msgspec.structs import replace as struct_replace

from blindmatch_server.curator.entry_ids import take_ids
from blindmatch_server.curator.formats import ListFormat, reader_of
from blindmatch_server.curator.formats.block import Block
from blindmatch_server.curator.hashlist import FIRST_ID, HashList, ListWriter, Title, replacing
from blindmatch_server.curator.import_records import ImportRecords
from blindmatch_server.curator.inspection import Indices
from blindmatch_server.curator.rejects import (
    Place,
    Reason,
    Reject,
    RejectFile,
    are_balanced,
    count_ones,
    rejects_path,
)
from blindmatch_server.curator.source import ListError, Origin, Source


class Summary(Struct, frozen=True):
    """What an import, or another change of a list, did.

    Attributes:
        added: entries that were not in it before.
        removed: entries of the previous list that are gone.
        accepted: valid records that are no deletions.
        duplicates: accepted records whose hash was in the previous list or came before.
        not_half: entries whose number of ones is not 128, as ties at the median leave it.
        digest: of the list, SHA-256 in hex.
        rejects: the side file, if anything was rejected.
    """

    entries: int
    added: int
    removed: int
    accepted: int
    removals: int
    duplicates: int
    not_half: int
    digest: str
    read: int = 0
    rejected: Mapping[Reason, int] = field(default_factory=dict)
    rejects: Path | None = None


def assemble(
    records: ImportRecords, into: Path, rng: Randomness, title: Title, onto: HashList | None
) -> Summary:
    """Write what stands in `records` as the list file `into`; `ListError` if nothing stands, or the file
    cannot be written.

    `onto` is the list the records started from; its entries keep ids and salts. New entries get the next
    ids, in the order in which they came, and 16 bytes of `rng` each.
    """
    settled = records.settle()
    if not len(settled.entries):
        raise ListError(f"no entry would be left in {into.name}")
    kept = int(np.searchsorted(settled.entries, records.previous))
    listed = gathered(settled.hashes, settled.entries)
    ids, next_id = _ids(into.parent, settled.entries, kept, onto)
    with ListWriter(into) as writer:
        writer.section("hashes", gathered(settled.hashes, settled.entries))
        writer.section("ids", [ids])
        writer.section("plain", [settled.plain])
        writer.section("record_identities", [settled.identities])
        writer.section("record_times", [settled.times])
        writer.section("record_entries", [ids[settled.vouched]])
        writer.section("salts", _salts(settled.entries, kept, onto, rng))
        footer = writer.publish(title, next_id)
    return Summary(
        entries=len(ids),
        added=len(ids) - kept,
        removed=records.previous - kept,
        accepted=settled.accepted,
        removals=records.removals,
        duplicates=settled.accepted - settled.fresh,
        not_half=sum(int((count_ones(part) != 128).sum()) for part in listed),
        digest=footer.digest(),
    )


def _ids(
    folder: Path, entries: Indices, kept: int, onto: HashList | None
) -> tuple[npt.NDArray[np.uint64], int]:
    """The entries' ids, those of new ones taken in `folder`, and the list's next id."""
    count = len(entries) - kept
    first = take_ids(folder, count, onto.footer.next_id if onto else FIRST_ID)
    fresh = np.arange(first, first + count, dtype=np.uint64)
    old = onto.ids[entries[:kept]] if onto else np.empty(0, np.uint64)
    return np.concatenate((old, fresh)), first + count


def _salts(entries: Indices, kept: int, onto: HashList | None, rng: Randomness) -> Iterator[Rows]:
    if onto is not None:
        yield from gathered(onto.salts, entries[:kept])
    for at in range(kept, len(entries), _BATCH):
        count = min(_BATCH, len(entries) - at)
        yield np.frombuffer(rng.take(SALT_BYTES * count), np.uint8).reshape(count, SALT_BYTES)


def gathered(rows: Rows, at: Indices) -> Iterator[Rows]:
    """`rows[at]`, a batch at a time."""
    for start in range(0, len(at), _BATCH):
        yield rows[at[start : start + _BATCH]]


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
    replace: bool = False,
    progress: Progress = no_progress,
    columns: Mapping[str, str] = MappingProxyType({}),
) -> Summary:
    """Import sources into the list file `into`, which is in place when all is done, and not before.

    Args:
        origins: paths or binary streams; several (pages of one answer, say) are read in order.
        into: the list file; rejects go to `<into>.rejects.jsonl` beside it.
        rng: gives 16 bytes of salt for each new entry.
        list_format: of all sources; without it each one is looked at.
        title: name and creation time; by default the stem of `into` and now.
        onto: the list to start from, which may be the one at `into`; its entries keep ids and salts.
        replace: whether a list at `into` that is not `onto` is lost; new entries never get ids that lists of
            the folder had before.
        progress: called with (bytes read, bytes in all); 0 in all if a stream does not say.
        columns: names of the columns of CSV, by those of threatexchange.

    Raises:
        FormatError: if a source as a whole is not what its format says.
        ListError: if no source has a valid record (the side file is there then), or a file changed meanwhile,
            or cannot be read or written, or there is a list at `into` that must not be lost.
    """
    listed = list(origins) if isinstance(origins, Sequence) else [origins]
    provenance = Provenance()
    blocks = _blocks(listed, list_format, columns, provenance, progress)
    return build(blocks, provenance, into, rng, title=title, onto=onto, replace=replace)


def build(
    blocks: Iterable[tuple[str, Block]],
    provenance: Provenance,
    into: Path,
    rng: Randomness,
    *,
    title: Title | None = None,
    onto: HashList | None = None,
    replace: bool = False,
) -> Summary:
    """Write the list file `into` from blocks with their sources' names; else as `import_list`."""
    made = title or Title(into.stem)
    with (
        replacing(into, onto, replace),
        closing(RejectFile(rejects_path(into))) as rejects,
        closing(ImportRecords(into.parent)) as records,
    ):
        if onto is not None:
            records.start_from(onto)
        read = 0
        for name, block in blocks:
            records.add(block)
            rejects.write(name, block.rejects)
            read += block.read
        if rejects.counts.total() >= read:
            reasons = ", ".join(f"{count} {reason}" for reason, count in rejects.counts.most_common())
            rejects.publish()
            said = f"all {read} records were rejected: {reasons}" if read else "there are no records"
            raise ListError(f"nothing valid to import into {into.name}: {said}")
        made = struct_replace(made, formats=tuple(provenance.formats), digests=tuple(provenance.digests))
        summary = assemble(records, into, rng, made, onto)
        return struct_replace(summary, read=read, rejected=dict(rejects.counts), rejects=rejects.publish())


def _blocks(
    origins: Sequence[Origin],
    list_format: ListFormat | None,
    columns: Mapping[str, str],
    provenance: Provenance,
    progress: Progress,
) -> Iterator[tuple[str, Block]]:
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


_BATCH: Final = 1 << 16
_RANDOM_BATCH: Final = 1 << 14


def list_hashes(hashes: Rows, into: Path, rng: Randomness, replace: bool = False) -> Summary:
    """Write a list of `hashes`, uint8 (n, 32); see `import_list`; `ListError` for another shape or type, if
    none is valid, if there is a list and it is not to be replaced, or if the file cannot be written. A hash
    that is all zero or out of balance is rejected, under its row's number from 1 on."""
    if hashes.ndim != 2 or hashes.shape[1] != 32 or hashes.dtype != np.uint8:
        raise ListError("hashes must be a uint8 matrix of 32 columns")
    named = (("hashes", block) for block in _hash_blocks(hashes))
    return build(named, Provenance({"hashes": None}), into, rng, replace=replace)


def random_hashes(count: int, rng: Randomness) -> Rows:
    """`count` hashes, uint8 (count, 32), each uniform among those with 128 ones, as PDQ's have them. From the
    same 32 bytes of `rng` another version of numpy may make others."""
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(rng.take(32), "big")))
    half = np.repeat(np.array([0, 1], np.uint8), 128)
    hashes = np.empty((count, 32), np.uint8)
    for at in range(0, count, _RANDOM_BATCH):
        rows = min(_RANDOM_BATCH, count - at)
        bits = generator.permuted(np.broadcast_to(half, (rows, 256)), axis=1)
        hashes[at : at + rows] = np.packbits(bits, axis=1)
    return hashes


def random_list(count: int, into: Path, rng: Randomness, replace: bool = False) -> Summary:
    """Write a list of `count` random hashes of 128 ones each; raises as `list_hashes` does."""
    return list_hashes(random_hashes(count, rng), into, rng, replace)


def _hash_blocks(hashes: Rows) -> Iterator[Block]:
    for at in range(0, len(hashes), _BATCH):
        part = hashes[at : at + _BATCH]
        valid = are_balanced(part)
        rejects = tuple(
            Reject(
                Place(at + int(row) + 1, 0, (at + int(row)) * 32),
                Reason.HASH_UNBALANCED if part[row].any() else Reason.HASH_ALL_ZERO,
            )
            for row in np.flatnonzero(~valid)
        )
        yield Block(len(part), part[valid], rejects)


def list_pictures(
    pictures: Sequence[Path],
    into: Path,
    rng: Randomness,
    *,
    onto: HashList | None = None,
    replace: bool = False,
    progress: Progress = no_progress,
) -> Summary:
    """Write a list of the pictures' hashes, or add them to the list `onto`; see `import_list`; `progress`
    gets pictures. One that cannot be decoded, or has a PDQ quality below 50, is rejected. `ListError` if none
    is valid, or a file cannot be read or written."""
    named = _picture_blocks(pictures, progress)
    return build(named, Provenance({"pictures": None}), into, rng, onto=onto, replace=replace)


def _picture_blocks(pictures: Sequence[Path], progress: Progress) -> Iterator[tuple[str, Block]]:
    for number, path in enumerate(pictures, 1):
        hashes = np.empty((0, 32), np.uint8)
        fault = None
        try:
            picture = Picture.from_bytes(path.read_bytes())
            if picture.quality >= MINIMUM_QUALITY:
                hashes = np.frombuffer(picture.hash, np.uint8).reshape(1, 32)
            else:
                fault = Reason.LOW_QUALITY
        except PictureError:
            fault = Reason.UNREADABLE_PICTURE
        except OSError as error:
            raise ListError(f"cannot read {path.name}: {error.strerror}") from error
        yield path.name, Block(1, hashes, (Reject(Place(number, 0, 0), fault),) if fault else ())
        progress(number, len(pictures))
