"""The centre opens vouchers of all published epochs that have the period of the newest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from blindmatch_protocol.codec.randomness import seeded
from blindmatch_protocol.contract import SetParameters, batches_of
from blindmatch_protocol.designs.threshold_psi import DESIGN
from blindmatch_server.epochs.building import Publishing, publish_epoch, publish_update
from blindmatch_server.epochs.published import open_publication
from blindmatch_simulations.testbed.deployment import hosting
from support.memory import random_hashes, salts_of
from support.signed import SIGNER


def test_openers_of_the_epochs_before_are_kept_as_far_as_their_period_goes(tmp_path: Path) -> None:
    folder = tmp_path / "published"
    hashes = random_hashes(6)
    how = Publishing(DESIGN, folder, SIGNER)
    salts = salts_of(6)

    def part(first: int, last: int) -> object:
        return batches_of(
            hashes[first:last], np.arange(first + 1, last + 1, dtype=np.uint64), salts[first:last]
        )

    for epoch in (1, 2):  # each with a key of its own
        publish_epoch(how, part(0, 4), SetParameters(epoch, {}), seeded(f"key {epoch}"))  # type: ignore[arg-type]
    for epoch in (2, 3):
        publish_update(how, epoch, part(epoch + 2, epoch + 3), [], seeded("update"))  # type: ignore[arg-type]
    newest = open_publication(folder, roles=(), opener=True)
    earlier = hosting._earlier(DESIGN, folder, newest)
    assert (newest.manifest.epoch, sorted(earlier)) == (4, [2, 3])
    openers = [DESIGN.open_opener(files) for files in (*earlier.values(), newest.opener())]
    assert len({one.period for one in openers}) == 1  # type: ignore[attr-defined]
    (folder / "2").rename(folder / "gone")
    assert sorted(hosting._earlier(DESIGN, folder, newest)) == [3]
