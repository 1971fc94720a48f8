"""One folder holds a whole local deployment, each party's things in a folder of their own
(docs/explanation/architecture.md)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from blindmatch_client.egress.egress import Credentials as DeviceCredentials
from blindmatch_client.egress.egress import Endpoint
from blindmatch_proofs.epoch import NO_SEALING_KEY
from blindmatch_protocol.account_name import NOTICES
from blindmatch_protocol.contract import Party
from blindmatch_protocol.messages.franking import DEFAULT_MODE, FrankingMode
from blindmatch_protocol.messages.sealed_message import Franking
from blindmatch_server.centre.keys import JUDGE_PUBLIC, STAMP_KEY, CentreKeys
from blindmatch_server.centre.keys import PUBLIC_KEY as CENTRE_PUBLIC_KEY
from blindmatch_server.epochs.signing import PUBLIC_KEY, VALID_DAYS, CuratorKey, Signer
from blindmatch_server.hosting.authority import ROOT_CERTIFICATE, Authority, Credentials, Identity, Kind
from blindmatch_server.hosting.certificates import FILE as REVOKED
from blindmatch_server.hosting.certificates import RevocationList
from blindmatch_server.storage.files import read_key, replace_file
from cryptography import x509
from msgspec import Struct

from blindmatch_simulations.testbed.deployment import addresses
from blindmatch_simulations.testbed.deployment.addresses import DeploymentError as DeploymentError
from blindmatch_simulations.testbed.deployment.addresses import Directory

LAYOUT_VERSION: Final = 3
HOME_VARIABLE: Final = "BLINDMATCH_HOME"
DEFAULT_HOME: Final = "blindmatch-home"
MARKER: Final = "deployment.json"
KEYS: Final = "keys"
ISSUED: Final = "issued.txt"
"""In the authority's folder: serial number and URI of every certificate, one a line."""
ADDRESSES: Final = "addresses.json"

STANDARD: Final = (Party.PROVIDER, Party.MATCHER, Party.CENTRE)
"""Whose servers every deployment has, whatever its design."""


class Deployment(Struct, frozen=True):
    """A deployment in `home`; use `create` or `open`."""

    home: Path

    @classmethod
    def create(
        cls,
        home: Path,
        now: datetime,
        operators: Mapping[Party, str] | None = None,
        franking: FrankingMode = DEFAULT_MODE,
    ) -> Deployment:
        """Make a new one; parties that `operators` does not name are their own operators."""
        deployment = cls(home)
        if (home / MARKER).exists():
            raise DeploymentError(f"{home} is a deployment already; remove it or choose another --home")
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            empty = not any(home.iterdir())
        except OSError as error:
            raise DeploymentError(f"{home}: cannot be made: {error.strerror}") from error
        if not empty:
            raise DeploymentError(f"{home} must be a new or an empty folder; choose another --home")
        authority = Authority.create(now)
        authority.write(deployment.authority)
        replace_file(deployment.revoked, RevocationList().signed(authority, now))
        deployment.admit(STANDARD, now)
        CentreKeys.create(deployment.centre_keys)
        deployment.enrol(Identity(Kind.DEVICE, NOTICES), deployment.device(NOTICES), now)
        shutil.copy2(deployment.centre_keys / STAMP_KEY, deployment.relay_stamp_key)
        CuratorKey.create(deployment.curator_keys)
        named = {party.server: operator for party, operator in (operators or {}).items()}
        held = {"layout": LAYOUT_VERSION, "operators": named, "franking": franking}
        (home / MARKER).write_text(json.dumps(held) + "\n")
        return deployment

    @classmethod
    def open(cls, home: Path) -> Deployment:
        """Open an existing one; `DeploymentError` if there is none, or its layout is of another version."""
        try:
            layout = json.loads((home / MARKER).read_text())["layout"]
        except FileNotFoundError:
            raise DeploymentError(f"{home} is no deployment; make one with: blindmatch certs init") from None
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DeploymentError(f"{home / MARKER} is damaged") from error
        if layout != LAYOUT_VERSION:
            raise DeploymentError(f"{home} has layout {layout}; this program knows {LAYOUT_VERSION}")
        return cls(home)

    @property
    def authority(self) -> Path:
        return self.home / "authority"

    @property
    def revoked(self) -> Path:
        return self.home / REVOKED

    @property
    def lists(self) -> Path:
        return self.home / "curator" / "lists"

    @property
    def sources(self) -> Path:
        """What the current epochs were published from; the curator's."""
        return self.home / "curator" / "sources"

    @property
    def curator_keys(self) -> Path:
        return self.home / "curator" / "keys"

    def curator_public_key(self) -> bytes:
        """The key that signs epochs here: Ed25519, 32 bytes."""
        return read_key(self.curator_keys / PUBLIC_KEY)

    def signer(self, now: datetime, days: int = VALID_DAYS) -> Signer:
        """Signs an epoch that is built at `now` and valid for so many days with the curator's key."""
        known = (self.centre_keys / CENTRE_PUBLIC_KEY).exists()
        sealing = read_key(self.centre_keys / CENTRE_PUBLIC_KEY) if known else NO_SEALING_KEY
        return Signer.at(CuratorKey.read(self.curator_keys), now.timestamp(), days, sealing)

    def published(self, design: str) -> Path:
        return self.home / "curator" / "published" / design

    @property
    def centre_keys(self) -> Path:
        return self.server(Party.CENTRE) / KEYS

    @property
    def franking(self) -> Franking:
        """What messages bear of their sender's key here, and the centre's key as a judge; `DeploymentError`
        if the deployment's file is damaged."""
        try:
            mode = FrankingMode(json.loads((self.home / MARKER).read_text())["franking"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DeploymentError(f"{self.home / MARKER} names no mode of franking") from error
        needs_judge = mode is FrankingMode.DESIGNATED
        return Franking(mode, read_key(self.centre_keys / JUDGE_PUBLIC) if needs_judge else b"")

    @property
    def relay_stamp_key(self) -> Path:
        """The relay's copy of the key that stamps are made and checked with."""
        return self.server(Party.PROVIDER) / STAMP_KEY

    @property
    def references(self) -> Path:
        """The centre's copy of the list's labels, with its second hashes."""
        return self.server(Party.CENTRE) / "references.sqlite"

    def server(self, party: Party) -> Path:
        return self.home / party.server

    def parties(self) -> tuple[Party, ...]:
        """Those whose server has a folder here."""
        held = (path for path in self.home.glob("*/*.*") if path.suffix in (".crt", ".key"))
        named = {Party.of_server(path.stem) for path in held if path.stem == path.parent.name}
        standard = [party for party in STANDARD if self.has_server(party)]
        return (*standard, *sorted(named.difference(STANDARD)))

    def admit(self, parties: Iterable[Party], now: datetime) -> None:
        """Make the folder of each server that has none, with a certificate; `DeploymentError` if the
        authority is not here."""
        for party in parties:
            if self.server(party).is_dir():
                continue
            if not self.authority.is_dir():
                there = f"at the authority: blindmatch certs pack {party.server} FOLDER"
                raise DeploymentError(f"{party.server} has no certificate here; {there}")
            self.enrol(Identity.of(party), self.server(party), now)

    def has_server(self, party: Party) -> bool:
        """Whether more of that server is here than public keys."""
        return any(path.name != KEYS for path in self.server(party).glob("*"))

    def port_file(self, party: Party) -> Path:
        return self.server(party) / "port"

    def device(self, name: str) -> Path:
        return self.home / "devices" / name

    def operator(self, name: str) -> Path:
        return self.home / "operators" / name

    def enrol(self, identity: Identity, folder: Path, now: datetime) -> None:
        """Issue a certificate into `folder` unless one is there; `AuthorityError` if the authority's files
        cannot be used."""
        if not (folder / f"{identity.slug}.key").exists():
            self._issue(identity, folder, now)

    def renew(self, identity: Identity, folder: Path, now: datetime) -> None:
        """Issue a new key and certificate into `folder`, and revoke all that were issued before;
        `DeploymentError` if there is none to be replaced."""
        if not (folder / f"{identity.slug}.crt").is_file():
            raise DeploymentError(f"{identity.words} has no certificate here to be renewed")
        self.revoke(identity, now)
        self._issue(identity, folder, now)

    def revoke(self, identity: Identity, now: datetime) -> int:
        """Put every certificate that was ever issued to `identity` on the list; how many are new there;
        `DeploymentError` if none was issued."""
        authority = Authority.read(self.authority)
        lines = [line.split() for line in (self.authority / ISSUED).read_text().splitlines()]
        serials = {int(serial, 16) for serial, uri in lines if uri == identity.uri}
        if not serials:
            raise DeploymentError(f"no certificate was issued to {identity.uri} here")
        held = RevocationList.read(self.revoked, (self.authority / ROOT_CERTIFICATE).read_bytes())
        if new := serials - held.serials:
            more = RevocationList(held.number + 1, held.serials.union(new))
            replace_file(self.revoked, more.signed(authority, now))
        return len(new)

    def _issue(self, identity: Identity, folder: Path, now: datetime) -> None:
        """Note a certificate's serial number, then write it."""
        made = Authority.read(self.authority).issue(identity, now)
        serial = x509.load_pem_x509_certificate(made.certificate).serial_number
        with (self.authority / ISSUED).open("a") as issued:
            issued.write(f"{serial:x} {identity.uri}\n")
            issued.flush()
            os.fsync(issued.fileno())
        made.write(folder, identity.slug)

    def folder_of(self, identity: Identity) -> Path:
        if identity.kind is Kind.DEVICE:
            return self.device(identity.name)
        return self.operator(identity.name) if identity.kind is Kind.OPERATOR else self.home / identity.words

    def server_credentials(self, party: Party) -> Credentials:
        return Credentials.read(self.server(party), party.server)

    def caller_credentials(self, identity: Identity, folder: Path) -> DeviceCredentials:
        held = Credentials.read(folder, identity.slug)
        return DeviceCredentials(held.root, held.certificate, held.key)

    def endpoints(self) -> dict[Party, Endpoint]:
        """Where servers are called: by addresses.json, else the port of a local one that runs;
        `DeploymentError` if a port file is."""
        return {party: found for party, found in self.directory().items() if found.address}

    def directory(self) -> Mapping[Party, Endpoint]:
        """As `endpoints`, but a local server is looked for at each call, since it may start later."""
        noted = addresses.read(self.home / ADDRESSES)
        given = {party: Endpoint(address) for party, address in noted.items()}
        return Directory(given, {party: self.port_file(party) for party in self.parties()})


def home_from(option: Path | None) -> Path:
    """The deployment's folder: the option, else $BLINDMATCH_HOME, else ./blindmatch-home."""
    return option or Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
