"""The egress audit of one more device, on some of the pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import Item, Progress, Relation
from blindmatch_protocol.picture.distance import near_pairs, rows
from blindmatch_protocol.picture.item import Picture
from blindmatch_server.curator import HashList

from blindmatch_simulations.evaluation.assess.observed import Audited, AuditFinding
from blindmatch_simulations.measure.phases import each
from blindmatch_simulations.testbed.audit import Audit, Undeclared, audit_device
from blindmatch_simulations.testbed.scenario.seen import counterpart, evidence
from blindmatch_simulations.testbed.scenario.world import World

AUDITED = "audited"


def audited(
    world: World,
    recipient: str,
    files: Sequence[bytes],
    pool: Sequence[bytes] | None,
    entries: HashList,
    progress: Progress,
) -> Audited:
    """Send `files` from a new device and audit what left it.

    Decoys are taken from `files` and `pool` together; there are none, nor forged ones, where `pool` is None.
    """
    watched = world.device(AUDITED)
    for data in each(files, progress):
        world.send_picture(AUDITED, recipient, data)
    world.flush(AUDITED)
    decoys = None if pool is None else [Picture.from_bytes(data) for data in pool]
    found = evidence(world, AUDITED, decoys, world.counted())
    watched.device.close()
    seen = [*found.items.values(), *found.pool]
    near = near_entries(world.design.info.relation, seen, entries.hashes)
    return _summary(audit_device(counterpart(world, near), found))


def near_entries(relation: Relation, pictures: Sequence[Item], entries: Rows) -> Rows:
    """Those of `entries`, uint8 (n, 32), that one of `pictures` may match.

    For these pictures they answer as the whole list does, which is read once and not for every question.
    """
    if relation.distance is None:
        return entries[:0]
    hashes = rows([picture.hash for picture in pictures])
    return entries[np.unique(near_pairs(hashes, entries, relation.distance)[:, 1])]


def _summary(audit: Audit) -> Audited:
    sums = Counter[tuple[str, str]]()
    for finding in audit.findings:
        sums[str(finding.party), finding.rule] += finding.size
    findings = tuple(AuditFinding(party, rule, size) for (party, rule), size in sorted(sums.items()))
    comparable = audit.undeclared is not Undeclared.NOT_COMPARABLE
    return Audited(audit.pictures, audit.sessions, audit.undeclared_bytes, findings, comparable)
