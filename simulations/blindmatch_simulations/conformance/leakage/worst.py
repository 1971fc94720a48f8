"""The worst cases that a list can hold for a design: pictures that are almost found, or found in vain.

lone        an entry agrees with the picture in one band and in no other; for a design without bands, in
            the front half of the hash
unopened    its very hash is listed, and the label behind it was altered before the set was signed: all
            digests are right, the label does not open
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from blindmatch_protocol import labels
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import AnyDesign, Match
from blindmatch_protocol.designs.token_psi import TokenPsi
from blindmatch_protocol.designs.token_psi.tokens import band_bits, entry_tokens, probe_tokens
from blindmatch_protocol.errors import BlindmatchError, SetFileError
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.setfile import SetFile, SetFileWriter, layout

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.deployed import Build, Deployed, run_session
from blindmatch_simulations.pictures.pool import Pool, Pooled, picture

LONE: Final = 2
HALF: Final = 128
FIRST: Final = 900
"""Numbers of these pictures, beyond those of the pool."""


def with_worst(bench: Bench, setup: Any) -> Pool:
    """The pool of `bench` and the worst cases for its design; `setup` has the parameters that are played."""
    pool, front = bench.pool, 1000 * bench.seed + FIRST
    lone = [Pooled(f"lone/{i}", "lone", picture(front + i)) for i in range(LONE)]
    found = [lone_entry(bench.design, setup, one.item, at) for at, one in enumerate(lone)]
    kept = [(one, entry) for one, entry in zip(lone, found, strict=True) if entry is not None]
    unopened = Pooled("unopened/0", "unopened", picture(front + LONE))
    hashes = [entry for _, entry in kept] + [unopened.item.hash]
    pictures = (*pool.pictures, *(one for one, _ in kept), unopened)
    return Pool(pictures, np.concatenate([pool.entries, _rows(hashes)]), pool.others)


def lone_entry(design: AnyDesign, setup: Any, item: Picture, which: int) -> bytes | None:
    """An entry that agrees with `item` in one part alone; None if its bands are too narrow for that.

    Args:
        design: the design.
        setup: its set-up, for the parameters.
        item: the picture.
        which: an even number takes a token as it is, an odd one the least likely variant that is asked for.
    """
    if not isinstance(design, TokenPsi):
        return part_of(design, setup, item.hash)
    t = setup.tokening
    asked = probe_tokens(item.hash, item.coefficients, t.k, t.bands, t.probes)
    band, probe = (0, 0) if which % 2 == 0 else (t.bands - 1, t.probes - 1)
    wanted = int(asked[band, probe])
    entry = 1 - np.unpackbits(np.frombuffer(item.hash, np.uint8))
    entry[band_bits(t.k, t.bands)[band]] = [wanted >> (t.k - 1 - at) & 1 for at in range(t.k)]
    packed = np.packbits(entry).tobytes()
    return packed if hits(packed, asked, t.k, t.bands) == 1 else None


def lone_entries(design: AnyDesign, setup: Any, item: Picture, drawn: Rows) -> Rows | None:
    """Entries, uint8 (n, 32), that agree with `item` in the token of the first band alone, and else are as
    `drawn`, uint8 (n, 32); None for a design without bands, or if its bands are too narrow for that."""
    if not isinstance(design, TokenPsi) or not len(drawn):
        return None
    t = setup.tokening
    place = band_bits(t.k, t.bands)[0]
    bits = np.unpackbits(drawn, axis=1)
    bits[:, place] = np.unpackbits(np.frombuffer(item.hash, np.uint8))[place]
    found, asked = (
        np.packbits(bits, axis=1),
        probe_tokens(item.hash, item.coefficients, t.k, t.bands, t.probes),
    )
    return found if all(hits(row.tobytes(), asked, t.k, t.bands) == 1 for row in found) else None


def part_of(design: AnyDesign, setup: Any, own: bytes) -> bytes:
    """A hash that has the first band of `own`, or its front half, and the opposite of all its other bits."""
    bits = np.unpackbits(np.frombuffer(own, np.uint8))
    kept = np.arange(HALF)
    if isinstance(design, TokenPsi):
        kept = band_bits(setup.tokening.k, setup.tokening.bands)[0]
    other = 1 - bits
    other[kept] = bits[kept]
    return np.packbits(other).tobytes()


def hits(entry: bytes, asked: npt.NDArray[np.uint32], k: int, bands: int) -> int:
    """In how many bands one of the tokens asked for, uint32 (bands, probes), is the entry's."""
    own = entry_tokens(_rows([entry]), k, bands)[0]
    return int((asked == own[:, None]).any(axis=1).sum())


def with_spoilt_label(deployed: Deployed, one: Pooled, bench: Bench) -> Deployed | None:
    """`deployed` with a set-up in which the label of `one` does not open; None if there is no such label.

    The roles keep the state they have: the set was altered before anybody signed or logged it.
    """
    if not _found(deployed, one, bench):
        return None
    for files in _spoilt(deployed.build):
        try:
            setup = deployed.design.open_setup(files, deployed.build.epoch)
        except SetFileError:
            continue
        spoilt = Deployed(deployed.build, setup, deployed.states)
        if not _found(spoilt, one, bench):
            return spoilt
    return None


def _found(deployed: Deployed, one: Pooled, bench: Bench) -> bool:
    try:
        ran = run_session(deployed, one.item, bench.rng("spoilt"))
    except BlindmatchError:
        return False
    return isinstance(ran.outcome, Match)


def _spoilt(build: Build) -> Iterator[Mapping[str, bytes]]:
    """The set-up's files with one bit of one sealed label altered, label after label."""
    files = build.setup_files
    for name in files:
        for index, at in _records(build, name):
            yield {**files, name: rewritten(build, name, {(labels.KIND, index): at})}


def _records(build: Build, name: str) -> Iterator[tuple[int, int]]:
    """Section and offset of every sealed label of a file; none if it is no set file."""
    try:
        file = _opened(build, name)
    except SetFileError:
        return
    for index in range(file.count(labels.KIND)):
        row = file.row(labels.KIND, index)
        yield from ((index, number * (row.length // row.items)) for number in range(row.items))


def rewritten(build: Build, name: str, flips: Mapping[tuple[int, int], int]) -> bytes:
    """A set file with one bit flipped at an offset of some sections, and all digests right again."""
    file, out = _opened(build, name), BytesIO()
    writer = SetFileWriter(out, file.identity)
    for key, section in file.sections.items():
        content = bytearray(file.section(*key))
        if key in flips:
            content[flips[key]] ^= 1
        writer.section(section.kind, [content], section.items)
    writer.finish(file.entries)
    return out.getvalue()


def _opened(build: Build, name: str) -> SetFile:
    raw = build.files[name]
    identity = layout.unpack_header(raw[: layout.HEADER.size])
    return SetFile(raw, name, identity.design, identity.design_version)


def _rows(hashes: Sequence[bytes]) -> Rows:
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)
