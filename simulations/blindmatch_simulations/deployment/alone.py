"""One process at a time runs a server of a deployment: its state and its port file are that process's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindmatch_protocol.contract import Party
from blindmatch_server.locking import hold

from blindmatch_simulations.deployment.folder import Deployment, DeploymentError

LOCK: Final = "running"


@contextmanager
def alone(deployment: Deployment, party: Party) -> Iterator[None]:
    """Hold the server's folder.

    Raises:
        DeploymentError: if another process holds it, or the folder cannot be written to.
    """
    busy = f"the {party.server} of {deployment.home} runs already; stop it first, or choose another --home"
    with hold(deployment.server(party) / LOCK, DeploymentError(busy), DeploymentError):
        yield
