"""One process at a time runs a server of a deployment: its state and its port file are that process's."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from blindmatch_protocol.contract import Party

from blindmatch_simulations.deployment import SERVERS, Deployment, DeploymentError

LOCK: Final = "running"


@contextmanager
def alone(deployment: Deployment, party: Party) -> Iterator[None]:
    """Hold the server's folder. SQLite's lock works on every system and ends with the process.

    Raises:
        DeploymentError: if another process holds it, or the folder cannot be written to.
    """
    name, folder = SERVERS[party], deployment.server(party)
    try:
        lock = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise DeploymentError(f"{folder}: {error}; is it there, and this user's?") from error
    try:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise DeploymentError(_refusal(error, f"{name} of {deployment.home}")) from error
        yield
    finally:
        lock.close()


def _refusal(error: sqlite3.OperationalError, server: str) -> str:
    if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
        return f"the {server} runs already; stop it first, or choose another --home"
    return f"the {server} cannot be held for one process: {error}"
