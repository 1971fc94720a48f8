"""Where a design is looked at: as published, after an update, with a set and with pictures that are large.

    as published    the pool's list and pictures
    after an update the same, one entry added and one removed, if the design can be updated
    large           a set of `LARGE` entries; pictures that are listed, that are not, of many pixels, of
                    middling quality, and ones that an entry is somewhat too far from

All with requests as small as the design's parameters allow, so that many of them can be made.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.errors import BlindmatchError, DesignError

from blindmatch_simulations.conformance.bench import Bench
from blindmatch_simulations.inprocess.deployed import (
    Build,
    Deployed,
    entry_id,
    opened,
    publish,
    run_session,
    update,
)
from blindmatch_simulations.pictures.pool import Pooled, faint, flipped, picture, random_hashes

LARGE: Final = 2_000
"""Entries of the large set."""
CROWD: Final = 160
"""Pictures of the large set's list, and as many that are on no list."""
SHAPES: Final = ((1536, 2048), (64, 1024))
"""Height and width of the pictures that differ from the others in that."""
CONTRASTS: Final = (0.3, 0.4)
"""Of faint pictures, whose quality lies between what is too poor and the best."""
BEYOND: Final = (34, 36, 40, 48, 64)
"""How far entries are from pictures that match none."""
SMALL_REQUEST: Final = 256
"""Parameters are lowered while a picture's requests are longer than this, in bytes."""


@dataclass(frozen=True, slots=True, repr=False)
class Setting:
    """A deployment, and pictures to ask it about."""

    name: str
    deployed: Deployed
    pictures: tuple[Pooled, ...]


_VALUES: WeakKeyDictionary[Bench, dict[str, int]] = WeakKeyDictionary()
_SETTINGS: WeakKeyDictionary[Bench, dict[str, Setting | None]] = WeakKeyDictionary()


def as_published(bench: Bench) -> Setting:
    """The pool, as it was published."""
    made = _made(bench, "as published")
    assert made is not None
    return made


def large(bench: Bench) -> Setting:
    """The large set."""
    made = _made(bench, "a large set")
    assert made is not None
    return made


def settings(bench: Bench) -> list[Setting]:
    """All of them."""
    made = (_made(bench, name) for name in _MAKERS)
    return [one for one in made if one is not None]


def _made(bench: Bench, name: str) -> Setting | None:
    held = _SETTINGS.setdefault(bench, {})
    if name not in held:
        held[name] = _MAKERS[name](bench)
    return held[name]


def _as_published(bench: Bench) -> Setting:
    build = publish(bench.design, bench.pool.entries, bench.rng("publish"), 1, lowered(bench))
    return Setting("as published", opened(build), bench.pool.pictures)


def _updated(bench: Bench) -> Setting | None:
    base = as_published(bench).deployed.build
    try:
        build = next_epoch(bench, base, base, 0)
    except DesignError:
        return None
    return Setting("after an update", opened(build), bench.pool.pictures)


def _large(bench: Bench) -> Setting:
    pictures = crowd(bench.seed)
    listed = rows_of(*(one for one in pictures if one.kind == "listed"))
    beyond = [one.item for one in pictures if one.name.startswith("beyond/")]
    rows = b"".join(flipped(item, distance) for item, distance in zip(beyond, BEYOND, strict=True))
    listed = np.concatenate([listed, np.frombuffer(rows, np.uint8).reshape(-1, 32)])
    entries = np.concatenate([listed, random_hashes(LARGE - len(listed), bench.seed + (1 << 22))])
    build = publish(bench.design, entries, bench.rng("publish-large"), 1, lowered(bench))
    return Setting("a large set", opened(build), pictures)


_MAKERS: Final = {"as published": _as_published, "after an update": _updated, "a large set": _large}


@lru_cache(maxsize=2)
def crowd(seed: int) -> tuple[Pooled, ...]:
    """Pictures for the large set: `CROWD` that are on its list, as many that are not, large and faint ones,
    and ones that an entry is `BEYOND` the distance from."""
    front = (1 << 24) + 1000 * seed
    sizes = [(CROWD, "listed"), (CROWD, "other")]
    numbers = iter(range(front, front + 1000))
    found = [Pooled(f"{kind}/{i}", kind, picture(next(numbers))) for n, kind in sizes for i in range(n)]
    found += [Pooled(f"large/{h}x{w}", "other", picture(next(numbers), (h, w))) for h, w in SHAPES]
    found += [Pooled(f"faint/{c}", "other", faint(next(numbers), c)) for c in CONTRASTS]
    found += [Pooled(f"beyond/{distance}", "other", picture(next(numbers))) for distance in BEYOND]
    return tuple(found)


def rows_of(*pictures: Pooled) -> Rows:
    """The pictures' hashes, uint8 (n, 32)."""
    return np.frombuffer(b"".join(one.item.hash for one in pictures), np.uint8).reshape(-1, 32)


def next_epoch(bench: Bench, base: Build, before: Build, number: int) -> Build:
    """The update that adds other/`number` and removes listed/`number`, an entry of `base`.

    Raises:
        DesignError: if the design can only be published whole.
    """
    listed, other = (bench.pool.of(kind)[number] for kind in ("listed", "other"))
    row = int((base.entries == np.frombuffer(listed.item.hash, np.uint8)).all(axis=1).argmax())
    return update(before, rows_of(other), [entry_id(row, base.epoch)], bench.rng(f"update/{number}"))


def lowered(bench: Bench) -> dict[str, int]:
    """Values that make requests shorter, halving one parameter after the other, if the very hash is still
    found with them."""
    if bench not in _VALUES:
        _VALUES[bench] = _lowered(bench)
    return _VALUES[bench]


def _lowered(bench: Bench) -> dict[str, int]:
    values = dict(bench.values)
    size = _request_bytes(bench, values)
    for parameter in bench.design.info.parameters:
        while size is not None and size > SMALL_REQUEST:
            now = values.get(parameter.name, parameter.default)
            smaller = {**values, parameter.name: max(parameter.least, now // 2)}
            fewer = _request_bytes(bench, smaller) if smaller != values else None
            if fewer is None or fewer >= size:
                break
            values, size = smaller, fewer
    return values


def _request_bytes(bench: Bench, values: dict[str, int]) -> int | None:
    """Bytes of a listed picture's requests; None if the values do not work."""
    one = bench.pool.of("listed")[0]
    try:
        build = publish(bench.design, bench.pool.entries, bench.rng("publish"), 1, values)
        ran = run_session(opened(build), one.item, bench.rng("size"))
    except BlindmatchError:
        return None
    if type(ran.outcome) is not type(run_session(bench.deployed, one.item, bench.rng("size")).outcome):
        return None
    return sum(len(body) for _, body in ran.bodies())
