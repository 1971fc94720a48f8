"""A deployment's own certificate authority: who is who on the wire (docs/reference/wire.md).

Keys are EC P-256: what every TLS stack in use takes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

from blindmatch_protocol.account_name import NOTICES, is_account, is_reserved
from blindmatch_protocol.codec.errors import BlindmatchError, DesignError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Party
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from blindmatch_server.storage.files import replace_file

SCHEME: Final = "blindmatch"
_OF_LOG: Final = re.compile(r"log|witness_[0-9]+")
_NO_PARTY: Final = "identity: must be the URI of a party of this deployment"


class AuthorityError(BlindmatchError):
    """A certificate cannot be issued, or the authority's files cannot be used."""


class IdentityError(AuthorityError):
    """A name or URI is not that of a party."""


class Kind(StrEnum):
    RELAY = "relay"
    CENTRE = "centre"
    HOST = "host"
    """A server that hosts roles of the design and does nothing else, such as the matcher."""
    DEVICE = "device"
    OPERATOR = "operator"


_NAMED: Final = frozenset({Kind.DEVICE, Kind.OPERATOR})
"""Kinds of which there are many, each with a name."""
_SERVER: Final = "server/"
SERVICES: Final = frozenset({Party.PROVIDER.server, Party.MATCHER.server, Party.CENTRE.server})
"""Servers that every deployment has; no device is called so."""


class Identity(Struct, frozen=True):
    """A party of a deployment: a device, an operator or a host has a name, relay and centre have none;
    `IdentityError` if one is missing, not wanted or breaks the rule for names."""

    kind: Kind
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind is Kind.HOST:
            if _server_of(self.name) in (Party.PROVIDER, Party.CENTRE):
                raise IdentityError("identity: relay and centre are no hosts")
        elif self.kind not in _NAMED:
            if self.name:
                raise IdentityError(f"identity: a {self.kind} has no name of its own")
        elif not is_account(self.name) or self.name in SERVICES | _NAMED:
            raise IdentityError(
                "identity: field name: must be 1 to 32 of a-z 0-9 _ -, begin with a letter or digit and "
                "not be the name of a service"
            )
        elif self.kind is Kind.DEVICE and self.name != NOTICES and is_reserved(self.name):
            raise IdentityError(
                "identity: field name: must not be read as that of the centre, a server or a role"
            )

    @classmethod
    def of(cls, party: Party) -> Identity:
        """The identity of the server that `party` runs; `IdentityError` if it can have none."""
        special = {Party.PROVIDER: Kind.RELAY, Party.CENTRE: Kind.CENTRE}
        return cls(special[party]) if party in special else cls(Kind.HOST, party.server)

    @property
    def party(self) -> Party | None:
        """Whose server it is; None if it is none."""
        return None if self.kind in _NAMED else _server_of(self.name or self.kind)

    @property
    def words(self) -> str:
        """What it is, for texts: ``device``, ``relay``, ``party_a``."""
        return self.name if self.kind is Kind.HOST else str(self.kind)

    @property
    def uri(self) -> str:
        return f"{SCHEME}://{self.words}" + (f"/{self.name}" if self.kind in _NAMED else "")

    @property
    def account(self) -> str:
        """How counters, logs and tables call it: ``alice``, ``operator/NAME``, ``matcher``, and a server that
        not every deployment has ``server/NAME``, as no device can be called."""
        if self.kind is Kind.OPERATOR:
            return f"{self.kind}/{self.name}"
        own = self.kind is Kind.DEVICE or self.words in SERVICES
        return self.name or self.words if own else _SERVER + self.words

    @property
    def host(self) -> str | None:
        """The DNS name a server is checked by; None for parties that do not serve."""
        return None if self.party is None else self.party.dns_name

    @property
    def slug(self) -> str:
        """Stem of its files: ``relay``, ``device-alice``."""
        return f"{self.kind}-{self.name}" if self.kind in _NAMED else self.words

    @classmethod
    def parse(cls, uri: str) -> Identity:
        """The identity with exactly this URI; `AuthorityError` if there is none."""
        kind, _, name = uri.removeprefix(f"{SCHEME}://").partition("/")
        identity = cls(Kind(kind), name) if kind in _NAMED else cls.of(_server_of(kind))
        if identity.uri != uri:
            raise IdentityError(_NO_PARTY)
        return identity


def identity_of(account: str) -> Identity:
    """The device or server with this account name; a device's name is never that of a server. Raises
    `IdentityError` if no party can have the name."""
    server = account.removeprefix(_SERVER)
    if account in SERVICES or (server != account and server not in SERVICES):
        return Identity.of(_server_of(server))
    return Identity(Kind.DEVICE, account)


def _server_of(name: str) -> Party:
    try:
        return Party.of_server(name)
    except DesignError as error:
        raise IdentityError(_NO_PARTY) from error


ROOT_CERTIFICATE: Final = "ca.crt"
ROOT_KEY: Final = "ca.key"
DEVICES_CERTIFICATE: Final = "devices.crt"
DEVICES_KEY: Final = "devices.key"
ROOT_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "blindmatch deployment root")])
DEVICES_NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "blindmatch deployment devices")])
"""The subjects of the two roots."""
_CLOCK_SKEW: Final = timedelta(minutes=5)


class Credentials(Redacted, Struct, frozen=True):
    """What a party needs for mutual TLS, as PEM: the root's certificate, its own, its key, and the root of
    devices where it is one or serves them."""

    SHOWN: ClassVar = ("root", "certificate")

    root: bytes
    certificate: bytes
    key: bytes
    devices: bytes = b""

    @property
    def callers(self) -> bytes:
        """The roots by which a server knows its callers."""
        return self.root + self.devices

    def write(self, directory: Path, stem: str) -> None:
        """Write ``STEM.crt``, ``STEM.key`` (mode 0600), ``ca.crt``, and ``devices.crt`` if there is one."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(directory / f"{stem}.key", self.key)
        (directory / f"{stem}.crt").write_bytes(self.certificate)
        (directory / ROOT_CERTIFICATE).write_bytes(self.root)
        if self.devices:
            (directory / DEVICES_CERTIFICATE).write_bytes(self.devices)

    def check(self) -> None:
        """Check that they belong together; `AuthorityError` if one is unreadable, the root has not signed the
        certificate, or the key is another one's."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate)
            key = serialization.load_pem_private_key(self.key, None)
            root = self.devices if certificate.issuer == DEVICES_NAME else self.root
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(root))
        except (ValueError, TypeError, InvalidSignature) as error:
            raise AuthorityError("certificates: unreadable, or not signed by this root") from error
        if key.public_key() != certificate.public_key():
            raise AuthorityError("certificates: certificate and key do not belong together")

    @classmethod
    def read(cls, directory: Path, stem: str) -> Credentials:
        """Read what `write` wrote; `AuthorityError` if a file is missing."""
        names = (ROOT_CERTIFICATE, f"{stem}.crt", f"{stem}.key")
        devices = directory / DEVICES_CERTIFICATE
        try:
            root, certificate, key = ((directory / name).read_bytes() for name in names)
            return cls(root, certificate, key, devices.read_bytes() if devices.exists() else b"")
        except OSError as error:
            raise AuthorityError(f"certificates: {error.filename}: {error.strerror}") from error


class Root(Redacted, Struct, frozen=True):
    """A root's certificate and key; it signs leaves only."""

    SHOWN: ClassVar = ("certificate",)

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: x509.Name, now: datetime, valid_for: timedelta) -> Root:
        key = ec.generate_private_key(ec.SECP256R1())
        draft = _draft(name, name, key.public_key(), now, valid_for)
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        draft = draft.add_extension(_usage(sign_certificates=True), critical=True)
        return cls(draft.sign(key, hashes.SHA256()), key)

    def write(self, certificate: Path, key: Path) -> None:
        certificate.write_bytes(_pem(self.certificate))
        replace_file(key, _key_pem(self.key))

    @classmethod
    def read(cls, certificate_file: Path, key_file: Path) -> Root:
        """Read what `write` wrote. Raises as `Authority.read`."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), None)
            certificate.verify_directly_issued_by(certificate)
        except (OSError, ValueError, TypeError, InvalidSignature) as error:
            raise AuthorityError(f"certificates: {key_file.parent} holds no usable root") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise AuthorityError(
                f"certificates: root key and certificate in {key_file.parent} do not belong together"
            )
        return cls(certificate, key)


class Authority(Redacted, Struct, frozen=True):
    """The roots of a deployment: of servers and operators, and of devices."""

    SHOWN: ClassVar = ("root", "devices")

    root: Root
    devices: Root

    @classmethod
    def create(cls, now: datetime, valid_for: timedelta = timedelta(days=3650)) -> Authority:
        """New roots, valid from `now` on (time zone aware)."""
        return cls(Root.create(ROOT_NAME, now, valid_for), Root.create(DEVICES_NAME, now, valid_for))

    def issue(
        self, identity: Identity, now: datetime, valid_for: timedelta = timedelta(days=90)
    ) -> Credentials:
        """A key and a certificate for `identity`, valid from `now` on (time zone aware)."""
        is_device = identity.kind is Kind.DEVICE
        issuer = self.devices if is_device else self.root
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.slug)])
        draft = _draft(name, issuer.certificate.subject, key.public_key(), now, valid_for)
        for extension, critical in _leaf_extensions(identity):
            draft = draft.add_extension(extension, critical=critical)
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        leaf = draft.add_extension(by, critical=False).sign(issuer.key, hashes.SHA256())
        # devices connect neither to a log nor to a witness of one
        serves = identity.party is not None and not _OF_LOG.fullmatch(identity.words)
        devices = _pem(self.devices.certificate) if is_device or serves else b""
        return Credentials(_pem(self.root.certificate), _pem(leaf), _key_pem(key), devices)

    def write(self, directory: Path) -> None:
        """Write ``ca.crt``, ``ca.key``, ``devices.crt`` and ``devices.key`` (keys with mode 0600);
        `AuthorityError` if `directory` holds a root already."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (directory / ROOT_KEY).exists():
            raise AuthorityError(f"certificates: {directory} holds a root already")
        self.root.write(directory / ROOT_CERTIFICATE, directory / ROOT_KEY)
        self.devices.write(directory / DEVICES_CERTIFICATE, directory / DEVICES_KEY)

    @classmethod
    def read(cls, directory: Path) -> Authority:
        """Read what `write` wrote; `AuthorityError` if a file is missing or unreadable, or a key and its
        certificate do not belong together."""
        return cls(
            Root.read(directory / ROOT_CERTIFICATE, directory / ROOT_KEY),
            Root.read(directory / DEVICES_CERTIFICATE, directory / DEVICES_KEY),
        )


def _draft(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    now: datetime,
    valid_for: timedelta,
) -> x509.CertificateBuilder:
    start = now.astimezone(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _CLOCK_SKEW)
        .not_valid_after(start + valid_for)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _leaf_extensions(identity: Identity) -> list[tuple[x509.ExtensionType, bool]]:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if identity.host is not None:
        names.append(x509.DNSName(identity.host))
        usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
    return [
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(sign_certificates=False), True),
        (x509.ExtendedKeyUsage(usages), False),
    ]


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
