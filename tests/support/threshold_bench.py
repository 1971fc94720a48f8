"""What threshold-psi costs, in u: one multiplication by libsodium. ``python -m support.threshold_bench``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time
from typing import Any

from blindmatch_protocol import contract as bm
from blindmatch_protocol import group
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.designs.threshold_psi import DESIGN
from blindmatch_protocol.designs.threshold_psi.design import EVIDENCE_BYTES
from blindmatch_protocol.designs.threshold_psi.shares import SHARE_BYTES
from blindmatch_protocol.designs.threshold_psi.table import Domain
from blindmatch_simulations.testbed.inprocess.deployed import opened, publish

from support.memory import random_hashes
from support.voprf_world import Picture


def write(line: str) -> None:
    """A line of the result."""
    sys.stdout.write(line + "\n")


LISTED, PICTURES, ROUNDS, CALLS = 3_000, 10_000, 7, 100


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of a call, the least of some rounds."""
    found = []
    for _ in range(ROUNDS):
        start = process_time()
        for _ in range(CALLS):
            call()
        found.append((process_time() - start) / CALLS)
    return min(found)


def of_threshold(threshold: int) -> None:
    """Print what a picture costs, and an account of `PICTURES` vouchers, `threshold` + 5 of them listed."""
    rng, listed = seeded("bench"), random_hashes(LISTED)
    start = process_time()
    build = publish(DESIGN, listed, rng, 1, {"threshold": threshold})
    built = process_time() - start
    deployed, state = opened(build), DESIGN.enrol(rng)
    setup, opener = deployed.setup, DESIGN.open_opener(build.files)
    scalar = group.random_scalars(1, rng)
    u = seconds(lambda: group.multiply(scalar, setup.public))

    def voucher(own: bytes) -> Any:
        step: Any = DESIGN.start(state, setup, Picture(own), bm.UNBOUND, rng).step  # type: ignore[arg-type]
        return step.outcome.body

    miss = voucher(bytes(32))
    device = seconds(lambda: voucher(bytes(32)))
    taking = seconds(lambda: opener.take("alice", "alice", setup.period, miss))
    pictures = [*listed[: threshold + 5], *random_hashes(PICTURES - threshold - 5, seed=5)]
    taken = [opener.take("alice", "alice", setup.period, voucher(one.tobytes())) for one in pictures]
    rows = [one.row for one in taken if isinstance(one, bm.Visible)]
    start = process_time()
    labels = opener.open("alice", setup.period, rows)
    opening = process_time() - start
    size = len(miss.encode())
    write(
        f"t = {threshold}: u {u * 1e6:.1f} us; device {device / u:.1f} u, centre {taking / u:.1f} u a picture"
    )
    write(f"  build {built / LISTED / u:.1f} u an entry of {LISTED:,}, by the back end in use")
    write(f"  voucher {size} bytes, {size - EVIDENCE_BYTES - SHARE_BYTES} beside evidence and share")
    write(f"  {PICTURES:,} vouchers: {len(rows)} visible, {len(labels)} opened in {opening:.2f} CPU s")


if __name__ == "__main__":
    for least in (4, 30):
        of_threshold(least)
    write(f"table: {32 * Domain(1, bytes(32), 1 << 20).cells / (1 << 20):.2f} bytes an entry of a million")
