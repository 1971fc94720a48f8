"""What the next epoch costs: built as a change of the one before, where the design can do that."""

from __future__ import annotations

import time

import numpy as np
from blindmatch_protocol.contract import AnyDesign, batches_of
from blindmatch_protocol.errors import DesignError
from blindmatch_server.curator import HashList, random_hashes
from blindmatch_server.publication import publish_update
from blindmatch_server.published import Publication, open_publication

from blindmatch_simulations.assess.observed import Built, Updated
from blindmatch_simulations.assess.plan import Plan
from blindmatch_simulations.conformance.seeded import Seeded
from blindmatch_simulations.deployment import Deployment

_SALT_BYTES = 16


def updated(deployment: Deployment, design: AnyDesign, entries: HashList, plan: Plan) -> Updated:
    """Publish a second epoch with the plan's additions and removals."""
    rng = Seeded(f"assess/{plan.seed}/update")
    count = plan.update.adds
    hashes = random_hashes(count, rng)
    ids = np.arange(count, dtype=np.uint64) + np.uint64(entries.footer.next_id)
    salts = np.frombuffer(rng.take(_SALT_BYTES * count), np.uint8).reshape(count, _SALT_BYTES)
    removes = [int(one) for one in entries.ids[-plan.update.removes :]] if plan.update.removes else []
    folder = deployment.published(design.info.name)
    before = open_publication(folder)
    began = time.perf_counter(), time.process_time()
    try:
        after = publish_update(
            design, before.manifest.epoch, batches_of(hashes, ids, salts), removes, rng, folder
        )
    except DesignError as error:
        return Updated(str(error))
    spent = time.perf_counter() - began[0], time.process_time() - began[1]
    fresh = _sizes(after)
    held = _sizes(before)
    fetched = sum(size for digest, size in fresh.items() if digest not in held)
    return Updated("", Built(spent[0], spent[1], count + len(removes), sum(fresh.values())), fetched)


def _sizes(publication: Publication) -> dict[str, int]:
    """Sizes of the set-up's files by digest."""
    manifest = publication.manifest
    return {file.sha256: file.size for file in manifest.files if file.name in manifest.setup}
