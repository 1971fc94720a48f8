"""Ids and salts that are not reserved disable no endorsed entry, whatever else they look like."""

from __future__ import annotations

import numpy as np
import pytest
from blindmatch_client.device import OutcomeKind
from blindmatch_protocol.contract.publishing import joined
from blindmatch_simulations.evaluation.attacks import disabled_entry
from blindmatch_simulations.evaluation.attacks.arena import Arena
from blindmatch_simulations.evaluation.attacks.loopback import drawn
from blindmatch_simulations.evaluation.attacks.unendorsed import BOB, HONEST, VICTIM, endorsed_curator
from blindmatch_simulations.testbed.deployment.registry import load_design
from msgspec.structs import replace

EDGES = [2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 2]


@pytest.mark.parametrize("design", ["oprf-psi", "device-list", "prefix-bucket"])
def test_an_entry_with_an_id_at_the_edge_of_some_number_is_found(design: str) -> None:
    ended = dict[int, OutcomeKind]()
    with endorsed_curator(Arena(load_design(design), thorough=False)) as curator:
        for number in EDGES:
            entry = replace(
                curator.victim, ids=np.array([number], np.uint64), salts=np.array([[0] * 15 + [1]], np.uint8)
            )
            held = disabled_entry._signed(curator, entry)
            assert sum(map(any, held.batch.signatures)) >= len(HONEST)
            curator.publish(joined([curator.honest, entry]), curator.batch(curator.honest, HONEST), held)
            with curator.serving():
                device = curator.device(f"alice-{number}").device
                ended[number] = device.send_picture(BOB, drawn(VICTIM)).outcome
    assert ended == dict.fromkeys(EDGES, OutcomeKind.MATCH)
