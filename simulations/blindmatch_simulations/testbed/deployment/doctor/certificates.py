"""Checks of every certificate in the folder: signed by the root here, of who its file says, and in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from blindmatch_protocol.codec.errors import BlindmatchError
from blindmatch_server.hosting.authority import ROOT_CERTIFICATE, Credentials, Identity
from blindmatch_server.hosting.certificates import RevocationList
from cryptography import x509

from blindmatch_simulations.testbed.deployment.doctor.finding import Finding, Status
from blindmatch_simulations.testbed.deployment.folder import Deployment

SOON: Final = timedelta(days=14)


def certificates(deployment: Deployment, now: datetime) -> Iterator[Finding]:
    """One finding for each certificate."""
    roots: set[bytes] = set()
    for identity, folder in _parties(deployment):
        yield _certificate(deployment, identity, folder, now)
        path = folder / ROOT_CERTIFICATE
        roots |= {path.read_bytes()} if path.is_file() else set()
    if len(roots) > 1:
        what = f"{len(roots)} different roots lie in this folder: the parties do not know each other"
        yield Finding("root", Status.WRONG, what, "pack every machine again from one authority")


def _parties(deployment: Deployment) -> Iterator[tuple[Identity, Path]]:
    for party in deployment.parties():
        yield Identity.of(party), deployment.server(party)
    for kind_folder in ("devices", "operators"):
        for key in sorted((deployment.home / kind_folder).glob("*/*.key")):
            caller = _named(kind_folder, key.parent.name)
            if caller is not None and key.stem == caller.slug:
                yield caller, key.parent


def _named(kind_folder: str, name: str) -> Identity | None:
    try:
        return Identity.parse(f"blindmatch://{kind_folder.removesuffix('s')}/{name}")
    except BlindmatchError:
        return None


def _certificate(deployment: Deployment, identity: Identity, folder: Path, now: datetime) -> Finding:
    check = f"certificate of {identity.account}"
    option = f" --name {identity.name}" if identity.party is None else ""
    remedy = f"on the authority's machine: blindmatch certs renew {identity.words}{option}"
    try:
        held = Credentials.read(folder, identity.slug)
        held.check()
        certificate = x509.load_pem_x509_certificate(held.certificate)
        named, revoked = _uri(certificate), _is_revoked(deployment, certificate, held.root)
    except (BlindmatchError, ValueError, x509.ExtensionNotFound) as error:
        told = str(error).replace(f"{deployment.home}/", "")
        return Finding(check, Status.WRONG, told, remedy)
    if named != identity.uri:
        return Finding(check, Status.WRONG, f"it is of {named}, not of {identity.uri}", remedy)
    if revoked:
        return Finding(check, Status.WRONG, "it is revoked: servers refuse it", remedy)
    return _dates(check, certificate, now, remedy)


def _is_revoked(deployment: Deployment, certificate: x509.Certificate, root: bytes) -> bool:
    """By the list here, which the machines of devices and operators do not have."""
    held = deployment.revoked.exists()
    return held and certificate.serial_number in RevocationList.read(deployment.revoked, root).serials


def _dates(check: str, certificate: x509.Certificate, now: datetime, remedy: str) -> Finding:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    until = f"until {end:%Y-%m-%d}"
    if now < start:
        what = f"not valid before {start:%Y-%m-%d %H:%M} UTC"
        return Finding(check, Status.WRONG, what, "set the clock, or wait")
    if now > end:
        return Finding(check, Status.WRONG, f"ran out on {end:%Y-%m-%d}", remedy)
    if now > end - SOON:
        return Finding(check, Status.WARNING, f"good {until} only", remedy)
    return Finding(check, Status.OK, f"good {until}")


def _uri(certificate: x509.Certificate) -> str:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise ValueError("the certificate must name exactly one party")
    return str(uris[0])
