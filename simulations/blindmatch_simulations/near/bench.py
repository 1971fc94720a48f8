"""`blindmatch bench near`: every figure of token-psi, the bad ones beside the good ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from blindmatch_protocol import labels, store
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.designs.token_psi import Setup, Tokening
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND

from blindmatch_simulations.near import extraction
from blindmatch_simulations.near.agreement import agreement
from blindmatch_simulations.near.built import Built, Seeded, build, item
from blindmatch_simulations.near.cost import measure
from blindmatch_simulations.near.recall import recall
from blindmatch_simulations.near.rows import Row, upper_bound
from blindmatch_simulations.near.sample import (
    EditedPairs,
    Fingerprints,
    edited_crops,
    folder_pictures,
    installed_folders,
)
from blindmatch_simulations.near.token_domain import Revealed, lost_tokens, random_list, ranks, revealed

Stage: TypeAlias = Callable[[str, int, int], None]
"""Called with what is being measured, and done and total of it."""


SHARD_KEYS: Final = 655_360


def no_stage(what: str, done: int, total: int) -> None:
    """A `Stage` that shows nothing."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured.

    Attributes:
        tokening: the parameters.
        doubled: the same with twice the probes, for the second reach of recall.
        set_size: entries of the uniform list in the token domain.
        crops: pictures that all edits are applied to.
        seed: of crops and lists.
        sessions: whole sessions of the protocol.
        built: entries of the set whose bytes and building are measured.
        folders: folders of real pictures, by name.
        most_pictures: of a folder.
        life: how much the key is asked for, for the extraction figures.
    """

    tokening: Tokening = field(default_factory=Tokening)
    doubled: Tokening = field(default_factory=partial(Tokening, probes=32))
    set_size: int = 1 << 20
    crops: int = 300
    seed: int = 23
    sessions: int = 100
    built: int = 1024
    folders: tuple[tuple[str, Path], ...] = field(default_factory=lambda: tuple(installed_folders()))
    most_pictures: int = 3000
    life: extraction.KeyLife = field(default_factory=extraction.KeyLife)


def run_near(
    options: Options | None = None, stage: Stage = no_stage, pairs: EditedPairs | None = None
) -> list[Row]:
    """All rows; about four minutes with the defaults.

    Args:
        options: what is measured.
        stage: told of the progress.
        pairs: pictures made before with `edited_crops`; None makes them.
    """
    chosen = options or Options()
    if pairs is None:
        pairs = edited_crops(chosen.crops, chosen.seed, progress=partial(stage, "edited crops"))
    near = agreement(
        pairs,
        chosen.tokening,
        chosen.sessions,
        chosen.seed,
        partial(stage, "sessions"),
    )
    place = build(random_list(chosen.built, chosen.seed), chosen.tokening)
    parts = (
        _recall(pairs, chosen, stage),
        near.rows(),
        _revealed(pairs, chosen, stage),
        _costs(place, pairs, chosen),
        _set(place),
        _extraction(chosen),
    )
    return list(chain.from_iterable(parts))


def _recall(pairs: EditedPairs, options: Options, stage: Stage) -> Iterator[Row]:
    fill = random_list(options.set_size, options.seed)
    default = Tokening()
    for tokening, reach in ((options.tokening, ">= 99"), (options.doubled, ">= 99.7")):
        t = tokening
        stage("recall", t.probes, options.doubled.probes)
        found = ranks(pairs, t.k, t.bands, t.probes)
        lost = lost_tokens(pairs, fill, t.k, t.bands)
        how = f"tokens; {len(pairs.originals)} crops among {len(fill)} uniform entries"
        what = f"recall at {t.tokens} evaluations"
        full = recall(pairs, found, t, lost)
        yield from full.rows(what, how, reach if t.needed == default.needed else "")
        yield Row("recall", f"{what}, were no token lost", recall(pairs, found, t).share, "%", how)
        yield Row("recall", "tokens lost to another entry", 100 * float(lost.mean()), "%", how)


def _revealed(pairs: EditedPairs, options: Options, stage: Stage) -> Iterator[Row]:
    sent = pairs.edited.good()
    uniform = random_list(options.set_size, options.seed + 1)
    lists = [("uniform list", sent, uniform), ("crops", sent, pairs.originals.hashes)]
    for name, folder in options.folders:
        pictures = folder_pictures(folder, options.most_pictures, partial(stage, name))
        lists.append((name, pictures, pictures.hashes))
    for name, pictures, listed in lists:
        stage(f"revealed, {name}", 0, 1)
        yield from revealed_rows(name, pictures, listed, options.tokening)


def revealed_rows(name: str, sent: Fingerprints, listed: Rows, tokening: Tokening) -> Iterator[Row]:
    """What is revealed of a list per 10,000 pictures, for 2 and 3 bands needed, and by distance."""
    found = revealed(sent, listed, tokening)
    for needed in (2, 3):
        count = found.count(needed)
        rate = 1e4 * count / max(1, len(sent))
        yield Row(
            "revealed",
            f"entries of {name} per 10,000 pictures, {needed} bands needed",
            rate,
            "entries",
            _bound(found, count),
        )
        for span, some in found.by_distance(needed).items():
            what = f"entries of {name}, {needed} bands needed, distance {span}"
            yield Row("revealed", what, some, "pairs", _bound(found, some))


def _bound(found: Revealed, count: int) -> str:
    most = 1e4 * upper_bound(count, found.pictures)
    return (
        f"tokens; {count} of {found.far_pairs} pairs beyond the distance, {found.pictures} pictures, "
        f"{found.entries} entries; at most {most:.3g} per 10,000 pictures with 95 % confidence"
    )


def _costs(place: Built, pairs: EditedPairs, options: Options) -> Iterator[Row]:
    best = int(pairs.edited.qualities.argmax())
    costs = measure(place, item(pairs.edited, best))
    yield from costs.rows(options.tokening.tokens, options.tokening == Tokening())


def _set(place: Built) -> Iterator[Row]:
    count = len(place.hashes)
    how = f"protocol; a set of {count} entries"
    bands = place.setup.tokening.bands
    shard = f"protocol; a shard of {SHARD_KEYS} keys, as a set of 2^20 entries has 16 at 10 bands"
    label = (_section_bytes(place.setup, labels.KIND) + _section_bytes(place.setup, ADDRESSES_KIND)) / count
    yield Row("set", "tokens", bands * key_bytes(SHARD_KEYS), "bytes an entry", shard, "<= 100")
    yield Row("set", "label and its index", label, "bytes an entry", how, "<= 80")
    each = place.seconds / count
    minutes = each * (1 << 20) / 2 / 60
    yield Row("set", "building", 1e6 * each, "us of CPU an entry", how)
    yield Row("set", "building 2^20 entries on two cores", minutes, "minutes", f"extrapolated; {how}", "<= 8")


def key_bytes(count: int) -> float:
    """Bytes a key of a shard with so many keys."""
    keys = random_list(count // 2 + 1, 9).reshape(-1, store.KEY_BYTES)[:count]
    order = store.order_of(keys)
    parts, _ = next(store.shards(keys, order, lambda a, b: order[a:b].astype(np.uint64), 0))
    return sum(memoryview(part).nbytes for part in parts) / count


def _section_bytes(setup: Setup, kind: int) -> int:
    return sum(row.length for row in setup.layers[0].file.sections.values() if row.kind == kind)


def _extraction(options: Options) -> Iterator[Row]:
    t, life = options.tokening, options.life
    everything = extraction.evaluations_for_all(t.k, t.needed)
    yield Row("extraction", "evaluations that open every entry", everything, "evaluations", "formula")
    spent = life.evaluations
    how = (
        f"formula; {life.accounts} accounts, {life.daily} evaluations a day each, key of {life.days} days"
        f", {'no global cap' if life.cap is None else f'at most {life.cap} in all'}"
    )
    entries = options.set_size * extraction.expected_share(spent, t.k, t.needed)
    yield Row("extraction", f"entries of {options.set_size} opened", entries, "entries", how)
    accounts = everything / (life.days * life.daily)
    yield Row("extraction", "accounts that open every entry in a key's life", accounts, "accounts", how)
    trials = (everything / 2) ** 2 * extraction.SECONDS_A_TRIAL / 86_400
    if t.needed == 2:
        yield Row("extraction", "trials of pairs for every entry", trials, "core-days", "formula; 60 ns each")
    yield from _attack(options.seed)


def _attack(seed: int, k: int = 10, entries: int = 128) -> Iterator[Row]:
    """The attack at a small k, against the formula."""
    place = build(random_list(entries, seed), Tokening(k=k, bands=4, probes=64))
    for evaluations in (1 << k, 2 << k):
        opened = extraction.extract(place.setup, place.ask, evaluations, Seeded(f"attack {seed}"))
        share = extraction.expected_share(evaluations, k)
        how = (
            f"protocol; k = {k}, {entries} entries, {evaluations} evaluations; "
            f"the formula says {entries * share:.0f}, less the tokens lost to other entries"
        )
        yield Row("extraction", f"entries opened by {evaluations} evaluations", len(opened), "entries", how)
