"""One process at a time runs a server of a deployment: its state and its port file are that process's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindmatch_protocol.contract import Party
from blindmatch_server.locking import HeldError, hold

from blindmatch_simulations.deployment.folder import Deployment, DeploymentError

LOCK: Final = "running"


@contextmanager
def alone(deployment: Deployment, party: Party) -> Iterator[None]:
    """Hold the server's folder.

    Raises:
        DeploymentError: if another process holds it, or the folder cannot be written to.
    """
    folder = deployment.server(party)
    try:
        lock = hold(folder / LOCK)
    except HeldError as error:
        server = f"{party.server} of {deployment.home}"
        raise DeploymentError(
            f"the {server} runs already; stop it first, or choose another --home"
        ) from error
    except sqlite3.Error as error:
        raise DeploymentError(f"{folder}: {error}; is it there, and this user's?") from error
    with lock:
        yield
