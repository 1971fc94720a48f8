"""`blindmatch bench near`: every figure of token-psi, the bad ones beside the good ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import Label
from blindmatch_protocol.crypto.oprf import Mode, blind
from blindmatch_protocol.designs.token_psi import DESIGN, Tokening, TokenPsi, shares
from blindmatch_protocol.designs.token_psi.build import best_share, evaluations_for_all, oprf_inputs
from blindmatch_protocol.designs.token_psi.layers import ADDRESSES_KIND
from blindmatch_protocol.designs.token_psi.tokens import Tokens
from blindmatch_protocol.designs.voprf import LIMITS, Limits, Waiting
from blindmatch_protocol.setfile import SetFile
from blindmatch_protocol.sets import labels, store
from blindmatch_server.hosting.workers import cores
from msgspec import Struct, field

from blindmatch_simulations.evaluation.studies.near_cost import (
    Store,
    asking,
    built_store,
    record_costs,
    record_latency,
)
from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs, edited_crops
from blindmatch_simulations.evaluation.studies.near_tokens import (
    Revealed,
    agreement,
    lost_tokens,
    ranks,
    recall,
    revealed,
    uniform_list,
)
from blindmatch_simulations.measure.intervals import one_sided_most_rate
from blindmatch_simulations.measure.machine import computing, machine, measurable
from blindmatch_simulations.measure.meter import Meter
from blindmatch_simulations.measure.phases import Tell, as_heard
from blindmatch_simulations.testbed.inprocess.deployed import OpenDesign, open_published

DEFAULT_LIMITS: Final = Limits(**{parameter.name: parameter.default for parameter in LIMITS})
"""Those of a set that is built without saying any."""


def obtainable(limits: Limits, accounts: int) -> float:
    """Evaluations that so many accounts which pool can get under one key; infinity without limits."""
    alone = limits.account_evaluations or float("inf")
    return min(accounts * alone, limits.all_evaluations or float("inf"))


def limits_for(tokening: Tokening, alone: float, pooled: float, expires: int = 0) -> Limits:
    """Limits under which one account opens at most the share `alone` of a uniform list, and all that pool the
    share `pooled`, however they spread what they ask over the bands; neither is less than one request."""
    account, everyone = (max(tokening.tokens, _most(tokening, share)) for share in (alone, pooled))
    return Limits(account, everyone, expires)


def _most(tokening: Tokening, share: float) -> int:
    """The most evaluations that open no more than a share of a uniform list."""
    low = 0
    high = evaluations_for_all(tokening.k, tokening.needed)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if best_share(middle, tokening) <= share else (low, middle - 1)
    return low


def extract(parties: OpenDesign, evaluations: int, rng: Randomness) -> dict[int, Label]:
    """Run the attack on the full set, as `extract_tokens`, with the first tokens of both bands.

    Args:
        evaluations: how many tokens to ask for at most; half of them in each band.
    """
    each = min(evaluations // 2, 1 << parties.setup.tokening.k)
    kind = np.uint32 if parties.setup.tokening.k <= 32 else np.uint64
    return extract_tokens(parties, [np.arange(each, dtype=kind)] * 2, rng)


def extract_tokens(parties: OpenDesign, asked: Sequence[Tokens], rng: Randomness) -> dict[int, Label]:
    """Ask for these tokens of the first two bands, (n,) each, and open what they lead to in the full set,
    with one or two bands needed; the opened labels by entry id; `ValueError` if the set needs three bands.

    Args:
        parties: token-psi, or a design on its base: its roles are asked as any device may.
        asked: where a band has fewer tokens than the other, its first one is tried again and not asked again.
    """
    setup = parties.setup
    layer = parties.setup.layers[0]
    if setup.tokening.needed > 2:
        raise ValueError("this attack is for sets that need two bands at most")
    if not all(len(own) for own in asked):
        return {}
    inputs = [one for band, own in enumerate(asked) for one in _inputs(band, own)]
    most = setup.tokening.tokens
    starts = range(0, len(inputs), most)
    outputs = np.concatenate([_outputs(parties, inputs[at : at + most], rng) for at in starts])
    values = layer.values(shares.token_keys(outputs, layer.epoch))
    longest = max(map(len, asked))
    parts = np.split(values, [len(asked[0])])
    whole = [np.concatenate([own, np.repeat(own[:1], longest - len(own), axis=0)]) for own in parts]
    secrets = shares.candidates(np.array(whole), setup.tokening.needed)
    return {label.entry_id: label for label in layer.labels_of(secrets)}


def _inputs(band: int, own: Tokens) -> list[bytes]:
    tokens = np.zeros((len(own), band + 1), own.dtype)
    tokens[:, band] = own
    return oprf_inputs(tokens)[band :: band + 1]


def _outputs(parties: OpenDesign, inputs: list[bytes], rng: Randomness) -> Rows:
    """The outputs of some tokens by one request of the one size there is, to each holder of the key."""
    design = parties.design
    setup = parties.setup
    assert isinstance(design, TokenPsi)
    blinding, blinded = blind(inputs + [b"filler"] * (setup.count - len(inputs)), Mode.VOPRF, rng)
    body = design.round.request(setup.epoch, blinded)
    replies = {role: parties.answer(role, body, rng)[0] for role in design.layout.roles}
    waiting = Waiting(blinding, None, False)
    return design.round.outputs(waiting, replies, setup, design.layout)[: len(inputs)]


class Options(Struct, frozen=True):
    """What is measured.

    Attributes:
        doubled: the same with twice the probes, for the second reach of recall.
        limits: how much a key may be asked for, for the extraction figures.
        set_size: entries of the uniform list in the token domain.
        store_size: entries of the store that is built, and asked over loopback.
    """

    tokening: Tokening = field(default_factory=Tokening)
    doubled: Tokening = field(default_factory=partial(Tokening, probes=32))
    limits: Limits = DEFAULT_LIMITS
    set_size: int = 1 << 20
    crops: int = 300
    seed: int = 23
    sessions: int = 100
    store_size: int = 1 << 14
    calls: int = 100


def bench_near(meter: Meter, folder: Path, options: Options) -> None:
    """Take all rows, in the empty `folder`."""
    held = built_store(meter, folder / "store", options.store_size, options.tokening)
    phase = as_heard(meter.phase)
    pairs = edited_crops(options.crops, options.seed, progress=partial(phase, "edited pictures"))
    _recall(meter, pairs, options, phase)
    sessions = partial(phase, "sessions")
    agreement(pairs, options.tokening, options.sessions, options.seed, sessions).record(meter)
    _revealed(meter, pairs, options, phase)
    trial = _of_store(meter, held, folder / "deployment", pairs, options.calls)
    _extraction(meter, options, trial)


def _recall(meter: Meter, pairs: EditedPairs, options: Options, phase: Tell) -> None:
    fill = uniform_list(options.set_size, options.seed)
    for row, t in (("near/recall/at-160", options.tokening), ("near/recall/at-320", options.doubled)):
        phase("recall", t.probes, options.doubled.probes)
        found = ranks(pairs, t.k, t.bands, t.probes)
        lost = lost_tokens(pairs, fill, t.k, t.bands)
        why = f"tokens; {len(pairs.originals)} crops among {len(fill)} uniform entries"
        named = {"entries": len(fill), "evaluations": t.tokens}
        recall(pairs, found, t, lost).record(meter, row, why, **named)
        whole = {"share": recall(pairs, found, t).share / 100}
        meter.record("near/recall/nothing-lost", whole, None, why, **named)
        meter.record("near/recall/lost-tokens", {"share": float(lost.mean())}, None, why, **named)


def _revealed(meter: Meter, pairs: EditedPairs, options: Options, phase: Tell) -> None:
    sent = pairs.edited.good()
    uniform = uniform_list(options.set_size, options.seed + 1)
    for name, listed in (("uniform", uniform), ("crops", pairs.originals.hashes)):
        phase(f"revealed, {name}", 0, 1)
        found = revealed(sent, listed, options.tokening)
        for needed in (2, 3):
            named: dict[str, int | str] = {"list": name, "needed": needed, "entries": len(listed)}
            _rate(meter, "near/revealed/entries", found, found.count(needed), named)
            for span, some in found.by_distance(needed).items():
                _rate(meter, "near/revealed/distance", found, some, {**named, "distance": span})


def _rate(meter: Meter, row: str, found: Revealed, count: int, named: dict[str, int | str]) -> None:
    if not found.pictures:
        meter.missing(row, "no picture of that list may match", **named)
        return
    figures = {
        "count": 1e4 * count / found.pictures,
        "most_count": 1e4 * one_sided_most_rate(count, found.pictures),
    }
    why = f"tokens; {count} of {found.far_pairs} pairs beyond the distance"
    meter.record(row, figures, None, why, pictures=found.pictures, **named)


def _of_store(meter: Meter, held: Store, folder: Path, pairs: EditedPairs, calls: int) -> float:
    """Rows of the real store: build, bytes, costs, latency; seconds of CPU for one candidate secret."""
    _build_rows(meter, held)
    info = DESIGN.info
    (name,) = held.publication.contents.setup
    file = SetFile(held.publication.setup()[name], name, info.name, info.version)
    for row, kinds in (("tokens", {store.KIND}), ("label", {labels.KIND, ADDRESSES_KIND})):
        size = sum(section.length for section in file.sections.values() if section.kind in kinds)
        meter.record(f"near/set/{row}", {"bytes": size / held.entries}, entries=held.entries)
    picture = pairs.edited.item(int(pairs.edited.qualities.argmax()))
    trial = 0.0
    for setting in measurable():
        with computing(meter, setting):
            trial = record_costs(meter, open_published(DESIGN, held.publication), picture, held.entries)
            with asking(held, folder / setting) as egress:
                record_latency(meter, held, egress, picture, calls)
    return trial


def _build_rows(meter: Meter, held: Store) -> None:
    run = held.run
    named: dict[str, int | str] = {
        "entries": held.entries,
        "threads": cores(),
        "backend": machine().group_backend,
    }
    wall = 1e6 * run.cost.wall_s
    cpu = 1e6 * run.cost.cpu_s
    each = {"cpu_us": cpu / held.entries, "wall_us": wall / held.entries}
    each |= {"cpu_u": each["cpu_us"] / run.u_us, "wall_u": each["wall_us"] / run.u_us}
    meter.record("near/build/entry", each, [run], **named)
    meter.record("near/build/whole", {"cpu_us": cpu, "wall_us": wall}, [run], **named)
    meter.memory("near/build/memory", held.peak_mib, **named)


def _extraction(meter: Meter, options: Options, trial: float) -> None:
    t = options.tokening
    limits = options.limits
    everything = evaluations_for_all(t.k, t.needed)
    named = {"k": t.k, "needed": t.needed}
    meter.record("near/extraction/every-entry", {"count": everything}, None, "formula", **named)
    for row, accounts in (("account", 1), ("pooled", 1 << 40)):
        spent = obtainable(limits, accounts)
        opened = options.set_size * best_share(spent, t)
        why = (
            f"formula, uniform list; {min(spent, everything):,.0f} evaluations over the best number of bands"
        )
        sizes = {"entries": options.set_size} | limits.values() | named
        meter.record(f"near/extraction/{row}", {"count": opened}, None, why, **sizes)
    if limits.account_evaluations:
        accounts_needed = {"count": everything / limits.account_evaluations}
        meter.record("near/extraction/accounts", accounts_needed, None, "formula", **named)
    else:
        meter.missing("near/extraction/accounts", "one is enough: no limit for an account", **named)
    work = 1e6 * trial * (everything / t.needed) ** t.needed
    why = f"formula; {1e9 * trial:.0f} ns a candidate"
    meter.record("near/extraction/trials", {"cpu_us": work}, None, why, **named)
