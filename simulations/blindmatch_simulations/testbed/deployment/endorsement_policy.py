"""Who endorses entries in a local deployment: `endorsement.json`, and what endorsements must be over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from blindmatch_proofs.endorsement import EndorsementPolicy, Terms
from blindmatch_proofs.endorsement.batch import NAME, policy_of
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.contract import AnyDesign
from blindmatch_server.storage.files import PUBLIC, replace_file

from blindmatch_simulations.testbed.deployment.addresses import DAMAGES
from blindmatch_simulations.testbed.deployment.folder import KEYS, Deployment, DeploymentError

if TYPE_CHECKING:
    from blindmatch_server.curator.endorsement.batches import OrganisationKey

POLICY: Final = "endorsement.json"
NO_POLICY: Final = "none"
"""What stands where there is none: the curator's word is enough."""


def policy_path(deployment: Deployment) -> Path:
    return deployment.home / POLICY


def read_policy(deployment: Deployment) -> EndorsementPolicy | None:
    """Who must endorse entries here; None: nobody."""
    path = policy_path(deployment)
    return policy_at(path) if path.exists() else None


def policy_at(path: Path) -> EndorsementPolicy:
    """The policy in a file of this form; `DeploymentError` if the file is missing or damaged, or breaks a
    rule."""
    try:
        held: Mapping[str, Any] = json.loads(path.read_bytes())
        named = held["organisations"].items()
        return policy_of(int(held["needed"]), [(str(name), bytes.fromhex(key)) for name, key in named])
    except FileNotFoundError as error:
        raise DeploymentError(f"{path.name} is missing") from error
    except ProtocolError as error:
        raise DeploymentError(f"{path.name}: {error}") from error
    except DAMAGES as error:
        raise DeploymentError(f"{path.name} is damaged") from error


def keys_of(policy: EndorsementPolicy) -> dict[str, str]:
    """Keys in hex by organisation, as the file has them."""
    return {one.name: one.key.hex() for one in policy.organisations}


def make_policy(deployment: Deployment, needed: int, names: Sequence[str]) -> EndorsementPolicy:
    """Say who endorses from now on; an organisation that has no key here gets one; `DeploymentError` if a
    name or the number breaks its rule.

    Devices keep the policy they were registered with.
    """
    if not all(map(NAME.fullmatch, names)) or not 1 <= needed <= len(set(names)) == len(names):
        rule = "organisations have different names of lower-case letters, digits and inner dashes"
        raise DeploymentError(f"{rule}, and as many of them as there are may be needed, not {needed}")
    made = policy_of(needed, [(name, key_of(deployment, name).public) for name in names])
    content = json.dumps({"needed": needed, "organisations": keys_of(made)}, indent=2)
    replace_file(policy_path(deployment), f"{content}\n".encode(), PUBLIC)
    return made


def terms_of(deployment: Deployment, design: AnyDesign) -> Terms:
    """What endorsements here must be over; `DeploymentError` if there is no policy."""
    policy = read_policy(deployment)
    if policy is None:
        raise DeploymentError("no policy of endorsement here; make one with: blindmatch list policy")
    return Terms(deployment.curator_public_key(), design.info.name, policy)


def key_of(deployment: Deployment, name: str) -> OrganisationKey:
    """An organisation's key, made if it has none here."""
    from blindmatch_server.curator.endorsement.batches import (
        OrganisationKey,  # no device needs the curator's room
    )

    folder = deployment.home / "organisations" / name / KEYS
    held = (folder / f"{OrganisationKey.NAME}.key").exists()
    return OrganisationKey.read(folder) if held else OrganisationKey.create(folder)


def check_named(deployment: Deployment, name: str) -> None:
    """Raises `DeploymentError` if the policy has no organisation called `name`."""
    policy = read_policy(deployment)
    if policy is None or name not in policy.names:
        known = "there is no policy" if policy is None else f"it has {', '.join(policy.names)}"
        raise DeploymentError(f"the policy names no organisation {name}; {known}")


def check_not_needed(deployment: Deployment) -> None:
    """Refuse to publish without endorsements where there is a policy: no device would take the epoch;
    `EndorsementError` if there is one."""
    from blindmatch_server.curator.endorsement.batches import (
        EndorsementError,  # no device needs the curator's room
    )

    if read_policy(deployment) is not None:
        raise EndorsementError("entries here must be endorsed: list propose, list endorse, list publish")


def words_of(policy: EndorsementPolicy | None) -> str:
    """A policy in a line: ``2 of north, south, west``; `NO_POLICY` where there is none."""
    return NO_POLICY if policy is None else f"{policy.needed} of {', '.join(policy.names)}"
