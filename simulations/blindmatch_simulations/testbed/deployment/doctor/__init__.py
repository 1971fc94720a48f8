"""Looks a deployment over: what is wrong with it, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from blindmatch_protocol import group
from blindmatch_protocol.contract import AnyDesign

from blindmatch_simulations.testbed.deployment.doctor.certificates import certificates
from blindmatch_simulations.testbed.deployment.doctor.files import (
    centre,
    clock,
    disk,
    layout,
    operators,
    permissions,
    stores,
)
from blindmatch_simulations.testbed.deployment.doctor.finding import Finding, Status
from blindmatch_simulations.testbed.deployment.doctor.logging import logged
from blindmatch_simulations.testbed.deployment.doctor.policies import policies
from blindmatch_simulations.testbed.deployment.doctor.servers import published, servers
from blindmatch_simulations.testbed.deployment.folder import Deployment


def examine(
    deployment: Deployment, design: AnyDesign, now: datetime, allow_collusion: bool = False
) -> Iterator[Finding]:
    """Look a deployment over, in the order in which things have to be put right.

    Nothing is changed, but a certificate may be made to ask servers with.

    Args:
        now: with a time zone.
        allow_collusion: whether one operator may have parties that must not collude.
    """
    yield from layout(deployment, design)
    yield from operators(deployment, design, allow_collusion)
    yield from permissions(deployment)
    yield stores(deployment)
    yield from clock(deployment, now)
    yield Finding("group", Status.OK, group.described())
    yield from certificates(deployment, now)
    yield from centre(deployment, design)
    yield from logged(deployment, design, now)
    yield from policies(deployment, design)
    found, epoch = published(deployment, design, now)
    yield from found
    yield from disk(deployment)
    yield from servers(deployment, design, epoch)
