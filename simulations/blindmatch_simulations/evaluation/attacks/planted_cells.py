"""A curator hides keys in the cells of a threshold table that no listed entry needs.

The set is built from the endorsed list with the package's own code, and differs from an honest one in these
cells alone: it has the same number of entries and bytes, and every check of a device passes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Party
from blindmatch_protocol.designs.threshold_psi import design as psi
from blindmatch_protocol.designs.threshold_psi import table
from blindmatch_protocol.picture.decode import Picture

from blindmatch_simulations.evaluation.attacks import needs
from blindmatch_simulations.evaluation.attacks.adversary import Claim, Means, Weakness, replacing
from blindmatch_simulations.evaluation.attacks.arena import Arena, AttackError, attack
from blindmatch_simulations.evaluation.attacks.figure import Figure, counted
from blindmatch_simulations.evaluation.attacks.loopback import FILLERS, drawn
from blindmatch_simulations.evaluation.attacks.unendorsed import BOB, HONEST, endorsed_curator
from blindmatch_simulations.testbed.inprocess.vouchers import world_of

PAGE: Final = "docs/designs/threshold-psi.md"
PLANTED: Final = 20
SENT: Final = 3
"""Pictures that the device of a policy sends: generated ones, which it takes no list to make."""
_ATTEMPTS: Final = 256


def planting(keys: Rows) -> Weakness:
    """Return curator's tools that encode these keys too, where the listed keys leave cells free.

    The domain is that of the listed keys alone, so that the table has the size that a device expects.
    """

    def planned(epoch: int, seed: bytes, listed: Rows) -> table.Plan:
        every = np.concatenate([listed, keys])
        for attempt in range(_ATTEMPTS):
            domain = table.Domain(epoch, bytes([attempt]) + seed[1:], len(listed))
            rounds = table._peeled(domain.places(every), domain.cells)
            if rounds is not None:
                return table.Plan(domain, tuple(rounds))
        raise AttackError(f"the table has no room for {len(keys)} keys more")

    def built(plan: table.Plan, key: Rows, listed: Rows, *given: Any) -> Rows:
        return table.build_cells(plan, key, np.concatenate([listed, keys]), *given)

    return replacing((psi, "planned", planned), (psi, "build_cells", built))


def keys_to_plant(design: Any, hashes: Rows) -> Rows:
    """Return one key of the table for each hash: a token of the first band, where a hash has several."""
    keys: Rows = design.keys_of(hashes)[: len(hashes)]
    return keys


def _beside_the_list(arena: Arena) -> int:
    """Count the planted pictures that are visible, of a set that a device opens and checks."""
    reduced = arena.reduced()
    listed = arena.hashes(FILLERS, "listed")
    planted = arena.hashes(PLANTED, "others")
    honest = reduced.deployed(listed, "planted", synthetic=0)
    with planting(keys_to_plant(reduced.design, planted))():
        deployed = reduced.deployed(listed, "planted", synthetic=0)
    deployed.design.check_setup(deployed.setup)
    before, after = (one.build.files[psi.SET_FILE] for one in (honest, deployed))
    if deployed.setup.entries != len(listed) or len(before) != len(after):
        raise AttackError("the set differs from the list's in its size")
    world = world_of(deployed, listed, arena.rng("planted"))
    return len(world.rows([world.voucher(row.tobytes()) for row in planted]))


def _under_a_policy(arena: Arena) -> int:
    """Count the same at a centre, of a device that takes only what two of three organisations endorse."""
    pictures = [drawn(at) for at in range(SENT)]
    own = [np.frombuffer(Picture.from_bytes(one).hash, np.uint8) for one in pictures]
    with endorsed_curator(arena) as curator:
        with planting(keys_to_plant(arena.design, np.array(own)))():
            curator.publish(curator.honest, curator.batch(curator.honest, HONEST), synthetic=0)
        with curator.serving():
            device = curator.device("alice").device
            if device.epoch != curator.epoch - 1:
                raise AttackError("a device did not take an epoch whose list is endorsed")
            for one in pictures:
                device.send_picture(BOB, one)
            return curator.visible("alice")


@attack(
    "planted-cell",
    Means(frozenset({Party.CURATOR, Party.CENTRE}), has="the table, and the key that it was built under"),
    Claim("Not claimed: privacy against a curator whose table has more keys than the list", PAGE),
    budget=f"{PLANTED} pictures that the list does not have, in the spare cells of a table of {FILLERS} "
    f"entries; {SENT} in one whose list is endorsed",
    needs=(needs.SHARED, needs.A_LIST, needs.SERVED, needs.SMALL),
    exposes="pictures that are not listed",
)
def planted_cell(arena: Arena) -> Figure:
    """Count the pictures in spare cells that are visible, though checks pass and no entry is added."""
    beside = _beside_the_list(arena)
    endorsed = _under_a_policy(arena)
    cases = {"beside the list": (beside, PLANTED), "beside an endorsed list": (endorsed, SENT)}
    return counted("planted pictures visible", cases)
