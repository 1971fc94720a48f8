"""`blindmatch bench threshold`: what a design with vouchers costs, and what the centre's store does to it.

Stored vouchers are written as rows, in bulk: they were not handed in, and rows say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.threshold_psi.opener import EVIDENCE_BYTES
from blindmatch_protocol.designs.threshold_psi.shares import (
    SHARE_BYTES,
    DeviceShares,
    recovered,
    utility_threshold,
)
from blindmatch_server.centre import store
from blindmatch_server.centre.opening import Pile, first_due
from blindmatch_server.centre.vouchers import add_to_pile, taken_at
from blindmatch_server.curator import random_list
from blindmatch_server.storage.database import open_connection
from msgspec import Struct

from blindmatch_simulations.measure.meter import Meter, expect
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.measure.row import CATALOGUE
from blindmatch_simulations.testbed.deployment.building import built_alone
from blindmatch_simulations.testbed.deployment.registry import reference_of
from blindmatch_simulations.testbed.inprocess.deployed import Build, opened, publish, values_of
from blindmatch_simulations.testbed.inprocess.vouchers import ACCOUNT, World, world_of

BEYOND: Final = 5
"""Real matches above the threshold, in the account that is opened."""
_BULK: Final = """
WITH RECURSIVE n(i) AS (SELECT ?2 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?3)
INSERT INTO vouchers (account, design, period, digest, row, received_at_ms)
SELECT 'account-' || (i / 1000), ?1, x'00', randomblob(32), NULL, i FROM n
"""
_PILES: Final = """
INSERT INTO piles (account, design, period, held, born, first_at_ms, last_at_ms)
SELECT account, design, period, COUNT(*), MIN(number), 0, 0 FROM vouchers WHERE row IS NULL GROUP BY 1, 2, 3
"""


class Sizes(Struct, frozen=True):
    """What is measured.

    Attributes:
        entries: of the list, random ones.
        pictures: of the account whose vouchers are opened.
        threshold: t, of it.
        stored: vouchers at the centre, in bulk.
        accounts: random ones around t, each below it and from t' on.
    """

    entries: int
    pictures: int = 10_000
    threshold: int = 30
    stored: int = 100_000
    accounts: int = 1_000


def bench_vouchers(meter: Meter, folder: Path, design: bm.AnyDesign, sizes: Sizes) -> None:
    """Measure all rows, in the empty `folder`."""
    exact = int(isinstance(design.info.relation, bm.Equal))
    of: dict[str, Any] = {"design": design.info.name, "exact": exact, "entries": sizes.entries}
    world = _table(meter, folder, design, sizes, of)
    unlisted = seeded("bench/unlisted").take(32)
    hidden = world.voucher(unlisted)
    expect(world.take(hidden) == bm.Hidden(), "an unlisted picture's voucher is visible: it was made up")
    of |= {"threshold": sizes.threshold}
    meter.time("threshold/device", partial(world.voucher, unlisted), **of)
    meter.time("threshold/opener", partial(world.take, hidden), **of)
    size = len(hidden.encode())
    meter.record("threshold/voucher", {"bytes": size}, **of)
    meter.record("threshold/beside", {"bytes": size - EVIDENCE_BYTES - SHARE_BYTES}, **of)
    _opening(meter, world, sizes, of)
    _stored(meter, folder / "centre.sqlite", world, sizes.stored, of)
    if sizes.accounts:
        _around(meter, sizes)


def _table(meter: Meter, folder: Path, design: bm.AnyDesign, sizes: Sizes, of: dict[str, Any]) -> World:
    rng = seeded("bench/threshold")
    builds = list[Build]()
    listed = np.frombuffer(rng.take(32 * sizes.entries), np.uint8).reshape(sizes.entries, 32)
    values = values_of(design, {"threshold": sizes.threshold})
    build = partial(publish, design, listed, rng, 1, values)
    made = lambda: builds.append(build())  # noqa: E731
    meter.time("threshold/build", made, count=sizes.entries, repeat=False, **of)
    random_list(sizes.entries, folder / "bench.list", rng)
    peak = built_alone(reference_of(design), folder / "bench.list", folder / "alone", values)["peak_mib"]
    meter.memory("threshold/build/memory", peak, **of)
    whole = builds[-1]
    size = sum(len(whole.files[name]) for name in whole.published.setup)
    meter.record("threshold/table", {"bytes": size / sizes.entries}, **of)
    return world_of(opened(whole), listed, rng)


def _opening(meter: Meter, world: World, sizes: Sizes, of: dict[str, Any]) -> None:
    """Of an account with so many pictures, `BEYOND` more than t of them listed: hidden vouchers are not even
    made, since the opener never sees them."""
    design = world.deployed.design
    setup = world.deployed.setup
    others = np.frombuffer(world.rng.take(32 * sizes.pictures), np.uint8).reshape(-1, 32)
    real: list[bytes] = []
    made_up: list[bytes] = []
    for own in (row.tobytes() for row in (*world.listed, *others[: sizes.pictures])):
        is_made_up = design.made_up(world.state, setup, world.item(own))
        if is_made_up:
            made_up.append(own)
        elif len(real) < sizes.threshold + BEYOND:
            real.append(own)
    share = setup.parameters.get("synthetic", 0) / 1000
    made_up = made_up[: round(share * sizes.pictures)]
    rows = world.rows([world.voucher(own) for own in (*made_up, *real)])
    expect(len(rows) == len(made_up) + len(real), "a match or a made-up voucher is hidden")
    opening = partial(world.opener.open, ACCOUNT, world.period, rows)
    found = opening()
    expect(len(found) == len(real), f"{len(found)} of {len(real)} matches are opened")
    pictures = {"pictures": sizes.pictures, "visible": len(rows)}
    meter.time("threshold/opening", opening, repeat=False, **of, **pictures)
    if of["exact"]:
        why = "not applicable: an exact design opens equal hashes alone"
        meter.missing("threshold/beyond", why, **of)
        return
    _beyond(meter, world, real, of)


def _beyond(meter: Meter, world: World, listed: Sequence[bytes], of: dict[str, Any]) -> None:
    """Of labels that open for pictures some bits away from an entry, 0 to 62: how many are beyond 31."""
    bits = np.unpackbits(np.frombuffer(b"".join(listed), np.uint8).reshape(-1, 32), axis=1)
    draws = np.random.default_rng(1)
    for at, row in enumerate(bits):
        row[draws.permutation(256)[: at * 62 // len(bits)]] ^= 1
    moved = [row.tobytes() for row in np.packbits(bits, axis=1)]
    bodies = [world.voucher(own) for own in (*listed, *moved)]
    found = bm.open_all(world.opener, ACCOUNT, ACCOUNT, world.period, bodies)
    away = [
        int(np.bitwise_count(_bytes(moved[at - len(listed)]) ^ _bytes(label.entry_hash)).sum())
        for at, label in found.items()
        if at >= len(listed)
    ]
    share = sum(one > 31 for one in away) / max(1, len(away))
    meter.record("threshold/beyond", {"share": share, "count": len(away)}, **of, tried=len(moved))


def _bytes(raw: bytes) -> Rows:
    return np.frombuffer(raw, np.uint8)


def _stored(meter: Meter, path: Path, world: World, most: int, of: dict[str, Any]) -> None:
    """Taking one voucher, and what a start does, with a hundredth of the stored ones and with all."""
    name = of["design"]
    made = count()
    before = 0
    body = world.voucher(world.listed[0].tobytes())
    for stored in (most // 100, most):
        connection = open_connection(path, store.SCHEMA, store.VERSION)
        with connection:
            connection.execute("BEGIN")
            connection.execute(_BULK, (name, before, stored))
            connection.execute("DELETE FROM piles WHERE account <> ?", (ACCOUNT,))
            connection.execute(_PILES)
        before = stored
        pile = Pile(ACCOUNT, name, world.period)

        def take(connection: Any = connection, pile: Pile = pile) -> None:
            digest = next(made).to_bytes(32, "big")
            connection.execute("BEGIN IMMEDIATE")
            taken_at(connection, pile, digest, 1 << 30, "bench")
            add_to_pile(connection, pile, digest, world.take(body), 0, 1_000)
            connection.execute("COMMIT")

        meter.time("threshold/stored/take", take, **of, stored=stored, written="in bulk")
        connection.close()

        def start() -> None:
            again = open_connection(path, store.SCHEMA, store.VERSION)
            first_due(again, {name: world.period}, 1_000)
            again.close()

        meter.time("threshold/stored/start", start, **of, stored=stored, written="in bulk")


def _around(meter: Meter, sizes: Sizes) -> None:
    """Random accounts, in shares alone: what opens below t, and what does not from t' on."""
    rng = seeded("bench/accounts")
    wrong = {"below": 0, "from": 0}
    progress = meter.phase(CATALOGUE["threshold/accounts/below"].what)
    for _ in each(range(sizes.accounts), progress):
        draw = rng.take(4)
        threshold = 2 + draw[0] % 9
        synthetic = draw[1] % 70
        apart = draw[2] % 4
        enough = utility_threshold(threshold, synthetic)
        device = DeviceShares(rng.take(32), rng.take(32), threshold)
        key = device.derive(bytes(32))[2]
        for kind, real in (("below", max(0, threshold - 1 - apart)), ("from", enough + apart)):
            made = [device.derive(rng.take(32))[at >= real] for at in range(real + synthetic)]
            order = np.argsort(np.frombuffer(rng.take(8 * len(made)), np.uint64)).tolist()
            shares = cast(Any, [made[at] for at in order])
            wrong[kind] += (key in list(recovered(shares, threshold))) is (kind == "below")
    for kind, times in wrong.items():
        meter.record(f"threshold/accounts/{kind}", {"count": times}, accounts=sizes.accounts)
