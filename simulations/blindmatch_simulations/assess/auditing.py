"""The egress audit of one more device, on some of the pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract import AnyDesign, Progress, Relation
from blindmatch_protocol.picture.distance import near_pairs, rows
from blindmatch_protocol.picture.item import Picture
from blindmatch_protocol.randomness import system_randomness
from blindmatch_server.centre.keys import CentreKeys
from blindmatch_server.curator import HashList
from blindmatch_server.published import open_publication

from blindmatch_simulations.assess.alone import open_set
from blindmatch_simulations.assess.observed import Audited, AuditFinding
from blindmatch_simulations.audit import Audit, Counterpart, Evidence, Told, Undeclared, audit_device
from blindmatch_simulations.deployment.devices import create_device
from blindmatch_simulations.deployment.folder import Deployment
from blindmatch_simulations.deployment.hosting import parties_of
from blindmatch_simulations.deployment.operators import counters

AUDITED = "audited"


def audited(
    deployment: Deployment,
    design: AnyDesign,
    reference: str,
    recipient: str,
    files: Sequence[bytes],
    pool: Sequence[bytes],
    entries: HashList,
    progress: Progress,
) -> Audited:
    """Send `files` from a new device and audit what left it.

    Decoys are taken from `files` and `pool` together.
    """
    watched = create_device(deployment, AUDITED, reference)
    pictures = [Picture.from_bytes(data) for data in files]
    try:
        watched.device.register()
        sent = []
        for data in files:
            sent.append(watched.device.send_picture(recipient, data))
            progress(len(sent), len(files))
        watched.device.flush()
        arrived = {
            (party, row.method): row.bytes_in
            for party in parties_of(design)
            for row in counters(deployment, party)
            if row.account == AUDITED
        }
    finally:
        watched.device.close()
    numbers = [one.item for one in sent]
    items = {n: picture for n, picture in zip(numbers, pictures, strict=True) if n is not None}
    kept = {n: data for n, data in zip(numbers, files, strict=True) if n is not None}
    decoys = [*pictures, *map(Picture.from_bytes, pool)]
    manifest = open_publication(deployment.published(design.info.name)).manifest
    there = frozenset((manifest.epoch, name) for name in manifest.setup)
    evidence = Evidence(
        account=AUDITED,
        told=Told(frozenset({recipient}), len(files), registered=1, setup=there),
        records=watched.recorder.records(),
        traces=watched.traces,
        items=items,
        pool=decoys,
        messages=watched.traced.messages,
        enrolments=watched.traced.enrolments,
        drawn=watched.drawn.taken(),
        files=kept,
        centre=CentreKeys.read(deployment.centre_keys).sealing,
        arrived=arrived,
    )
    opened = open_set(deployment, design)
    near = near_entries(design.info.relation, decoys, entries.hashes)
    counterpart = Counterpart(design, opened.setup, opened.states, near, system_randomness())
    return _summary(audit_device(counterpart, evidence))


def near_entries(relation: Relation, pictures: Sequence[Picture], entries: Rows) -> Rows:
    """Those of `entries`, uint8 (n, 32), that one of `pictures` may match.

    For these pictures they answer as the whole list does, which is read once and not for every question.
    """
    if relation.distance is None:
        return entries[:0]
    hashes = rows([picture.hash for picture in pictures])
    return entries[np.unique(near_pairs(hashes, entries, relation.distance)[:, 1])]


def _summary(audit: Audit) -> Audited:
    sums: dict[tuple[str, str], int] = {}
    for finding in audit.findings:
        key = (str(finding.party), finding.rule)
        sums[key] = sums.get(key, 0) + finding.size
    findings = tuple(AuditFinding(party, rule, size) for (party, rule), size in sorted(sums.items()))
    comparable = audit.undeclared is not Undeclared.NOT_COMPARABLE
    return Audited(audit.pictures, audit.sessions, audit.undeclared_bytes, findings, comparable)
