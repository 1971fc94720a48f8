"""A small list, published and taught to the centre in one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.picture.distance import rows
from blindmatch_protocol.picture.item import Picture
from blindmatch_server.curator import list_hashes, open_list
from blindmatch_server.epochs.published import Publication

from blindmatch_simulations.testbed.deployment.curating import add_references, list_path, publish
from blindmatch_simulations.testbed.deployment.folder import Deployment
from blindmatch_simulations.testbed.inprocess.deployed import values_of


def publish_list(
    deployment: Deployment,
    design: AnyDesign,
    hashes: Rows,
    listed: Sequence[bytes],
    rng: Randomness,
    epoch: int | None = None,
    values: Mapping[str, int] | None = None,
) -> Publication:
    """Publish an epoch of `hashes`, uint8 (n, 32), and of those of the `listed` picture files.

    The list is kept as ``list-0``, ``list-1`` and so on.

    Args:
        listed: pictures on it; the centre gets its second hash of these.
        epoch: its number, by default the next one.
        values: of the design's parameters; those that it does not have are left out.

    Raises:
        PictureError: if a picture cannot be decoded.
        ListError: if no hash is valid.
        DesignError: if the list or a parameter cannot be served.
    """
    deployment.lists.mkdir(parents=True, exist_ok=True, mode=0o700)
    pictures = [Picture.from_bytes(data) for data in listed]
    path = list_path(deployment, f"list-{len(list(deployment.lists.iterdir()))}")
    list_hashes(np.concatenate([hashes, rows([one.hash for one in pictures])]), path, rng)
    with open_list(path) as entries:
        made = publish(deployment, design, entries, rng, epoch, values_of(design, values or {}))
        add_references(deployment, entries, pictures)
    return made
