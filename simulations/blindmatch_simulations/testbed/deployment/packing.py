"""What one machine of a deployment needs, copied into a folder that travels there; nothing else is in it.

relay, matcher, centre, ...   the server's certificate and key, the list of revoked certificates, and the
                              files it serves from
operator                      an operator's certificate and key, and the centre's public keys
device NAME                   a device's certificate and key, and the centre's public keys
each of them                  the curator's public key, which epochs are verified with, and the policy

Never in it: the authority's key, another party's key, a server's state.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.contract import AnyDesign, Party
from blindmatch_server.centre.keys import JUDGE_PUBLIC, NOTICES_PUBLIC, PUBLIC_KEY
from blindmatch_server.epochs.published import LEAF, MANIFEST, PROOF, SIGNED, TREE, Manifest
from blindmatch_server.epochs.signing import PUBLIC_KEY as CURATOR_PUBLIC_KEY
from blindmatch_server.hosting.authority import DEVICES_CERTIFICATE

from blindmatch_simulations.testbed.deployment.collusion import check_apart
from blindmatch_simulations.testbed.deployment.deployed_design import DESIGN
from blindmatch_simulations.testbed.deployment.endorsement_policy import POLICY
from blindmatch_simulations.testbed.deployment.folder import (
    ADDRESSES,
    KEYS,
    MARKER,
    Deployment,
    DeploymentError,
)
from blindmatch_simulations.testbed.deployment.hosting import check_hosts
from blindmatch_simulations.testbed.deployment.transparency import KEY, LOG_FILE, read_log

OWN: Final = frozenset({MANIFEST, SIGNED, LEAF, PROOF, TREE})


def pack_server(
    deployment: Deployment, party: Party, design: AnyDesign, folder: Path, allow_collusion: bool = False
) -> list[Path]:
    """Copy what the server of `party` needs into the new folder `folder`; the copies' paths below it.

    Raises:
        CollusionError: if one operator has parties that must not collude, and may not.
        DeploymentError: if the folder exists, or a file is missing.
    """
    check_hosts(deployment, design, party)
    check_apart(deployment, design.info, allow_collusion)
    deployment.admit([party], datetime.now(UTC))
    return _copy(deployment, _server_files(deployment, party, design), folder)


def pack_caller(deployment: Deployment, source: Path, folder: Path) -> list[Path]:
    """Copy a device's or operator's certificate and key, and the public keys. Raises as `pack_server`."""
    keys = _certificate(source)
    if not keys:
        raise DeploymentError(f"{source.name} has no certificate; make one with: blindmatch certs issue")
    public = [deployment.centre_keys / name for name in (PUBLIC_KEY, NOTICES_PUBLIC, JUDGE_PUBLIC)]
    return _copy(deployment, iter([*keys, deployment.curator_keys / CURATOR_PUBLIC_KEY, *public]), folder)


def _certificate(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*")) if path.suffix in (".crt", ".key")]


def _server_files(deployment: Deployment, party: Party, design: AnyDesign) -> Iterator[Path]:
    home, name = deployment.server(party), party.server
    yield from (home / "ca.crt", home / f"{name}.crt", home / f"{name}.key")
    yield from home.glob(DEVICES_CERTIFICATE)
    yield deployment.curator_keys / CURATOR_PUBLIC_KEY
    yield deployment.revoked
    log = read_log(deployment)
    if log is not None and party in log.parties:
        yield home / KEYS / KEY
        return
    played = design.info.parties
    published = deployment.published(design.info.name)
    if party == Party.MATCHER or party in played or _opens(party, design):
        if not published.is_dir():
            raise DeploymentError(f"{design.info.name} is not published; blindmatch list build does that")
        yield from _published(published, party, design)
    if party == Party.PROVIDER:
        yield from (deployment.relay_stamp_key, deployment.centre_keys / NOTICES_PUBLIC)
    if party == Party.CENTRE:
        yield from sorted(published.glob(f"*/{SIGNED}"))
        yield from sorted(published.glob(f"*/{ENDORSEMENT}"))
        yield from _below(deployment.centre_keys)
        yield from _certificate(deployment.device(NOTICES))
        if deployment.references.exists():
            yield deployment.references
    elif design.info.sees_content(party):
        yield deployment.centre_keys / PUBLIC_KEY


def _published(folder: Path, party: Party, design: AnyDesign) -> Iterator[Path]:
    """What `party` needs of each epoch: the set-up, and files of its own roles; no other party's secrets."""
    roles = [role for role, host in design.info.roles.items() if host == party]
    for path in _below(folder):
        described = path.parent / MANIFEST
        if described.exists():
            manifest = _manifest(described)
            if path.name not in manifest.needed(roles, _opens(party, design)) | OWN:
                continue
        yield path


def _manifest(path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DeploymentError(f"{path.parent.name}/{path.name} cannot be read") from error


def _opens(party: Party, design: AnyDesign) -> bool:
    return party == Party.CENTRE and bool(design.vouchers)


def _below(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]


def _copy(deployment: Deployment, files: Iterator[Path], folder: Path) -> list[Path]:
    if folder.exists():
        raise DeploymentError(f"{folder} exists; give a new folder")
    copied = []
    every = [deployment.home / MARKER, *files]
    every += [
        path for name in (DESIGN, ADDRESSES, POLICY, LOG_FILE) if (path := deployment.home / name).exists()
    ]
    for path in every:
        target = folder / path.relative_to(deployment.home)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            shutil.copy2(path, target)
        except OSError as error:
            raise DeploymentError(f"{path.name}: {error.strerror}") from error
        copied.append(target.relative_to(folder))
    return copied
