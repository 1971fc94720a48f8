"""What the next epoch costs: built as a change of the one before, where the design can do that."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness, seeded
from blindmatch_protocol.contract import AnyDesign, batches_of
from blindmatch_protocol.contract.entries import SALT_BYTES, HeldEntries
from blindmatch_server.curator import HashList, random_hashes
from blindmatch_server.epochs.published import Publication, open_publication

from blindmatch_simulations.evaluation.assess.observed import Built, Updated
from blindmatch_simulations.evaluation.assess.plan import Plan
from blindmatch_simulations.measure.procfs import used_cpu_seconds
from blindmatch_simulations.testbed.deployment.curating import publish, publish_change
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.inprocess.deployed import values_of


def updated(deployment: Deployment, design: AnyDesign, entries: HashList, plan: Plan) -> Updated:
    """Publish a second epoch with the plan's additions and removals; whole, if a set cannot be changed."""
    rng = seeded(f"assess/{plan.seed}/update")
    adds, removes = _change(entries, plan, rng)
    before = open_publication(deployment.published(design.info.name))
    began = time.perf_counter(), used_cpu_seconds()
    try:
        after = publish_change(deployment, design, adds, removes, rng)
        why, count = "", len(adds) + len(removes)
    except DesignError as error:
        try:
            values = values_of(design, plan.parameters)
            after = publish(deployment, design, _changed(entries, adds, removes), rng, values=values)
        except DesignError as second:
            return Updated(f"{error}; {second}")
        why, count = f"a whole set: {error}", after.manifest.entries
    spent = time.perf_counter() - began[0], used_cpu_seconds() - began[1]
    fresh, held = _sizes(after), _sizes(before)
    fetched = sum(size for digest, size in fresh.items() if digest not in held)
    return Updated(why, Built(*spent, count, sum(fresh.values())), fetched)


def _change(entries: HashList, plan: Plan, rng: Randomness) -> tuple[HeldEntries, list[int]]:
    """Random entries to add, and the ids of the list's last ones to remove."""
    count = plan.update.adds
    ids = np.arange(count, dtype=np.uint64) + np.uint64(entries.footer.next_id)
    hashes = random_hashes(count, rng)
    salts = np.frombuffer(rng.take(SALT_BYTES * count), np.uint8).reshape(count, SALT_BYTES)
    removes = [int(one) for one in entries.ids[-plan.update.removes :]] if plan.update.removes else []
    return batches_of(hashes, ids, salts), removes


def _changed(entries: HashList, adds: HeldEntries, removes: Sequence[int]) -> HeldEntries:
    """The next list as a whole, in memory: 56 bytes an entry."""
    kept = ~np.isin(entries.ids, np.array(removes, np.uint64))
    (more,) = adds.batches(len(adds))
    return batches_of(
        np.concatenate([entries.hashes[kept], more.hashes]),
        np.concatenate([entries.ids[kept], more.ids]),
        np.concatenate([entries.salts[kept], more.salts]),
    )


def _sizes(publication: Publication) -> dict[str, int]:
    """Sizes of the set-up's files by digest."""
    manifest = publication.manifest
    return {file.sha256: file.size for file in manifest.files if file.name in manifest.setup}
