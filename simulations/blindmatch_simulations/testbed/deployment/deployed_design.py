"""Which design a deployment is for: noted in its folder by every build, and the default of `--design`."""

from __future__ import annotations

import json
from typing import Final

from blindmatch_server.storage.files import PUBLIC, replace_file

from blindmatch_simulations.testbed.deployment.folder import Deployment, DeploymentError

DESIGN: Final = "design.json"
FIRST_DESIGN: Final = "oprf-psi"
"""Of a deployment for which nothing was built yet."""


def design_of(deployment: Deployment, given: str | None = None) -> str:
    """Reference of the design to use: the one `given`, else the one noted, else `FIRST_DESIGN`.

    Raises:
        DeploymentError: if the note is damaged.
    """
    if given is not None:
        return given
    path = deployment.home / DESIGN
    try:
        noted = json.loads(path.read_text())["design"]
    except FileNotFoundError:
        return FIRST_DESIGN
    except (ValueError, KeyError, TypeError, RecursionError):
        noted = None
    if not isinstance(noted, str):
        raise DeploymentError(f"{path} is damaged; remove it, or build again")
    return noted


def note_design(deployment: Deployment, reference: str) -> None:
    """Note, in one step, the design that an epoch was published for."""
    replace_file(deployment.home / DESIGN, (json.dumps({"design": reference}) + "\n").encode(), PUBLIC)
