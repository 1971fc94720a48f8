"""A deployment's own certificate authority: who is who on the wire.

Every party has one certificate whose URI names it: ``blindmatch://device/alice``, ``blindmatch://relay``,
``blindmatch://party_a``. A server's certificate also bears the DNS name ``relay.blindmatch.test``. Clients
connect to an address and check that name, so that no server passes for another, and a device's certificate
is not good for serving at all.

There are two roots. One signs servers and operators; all trust it. The other signs devices, and nobody else
is taken from it; a log and its witnesses do not trust it, so that a device cannot connect to them at all.

Keys are EC P-256: what every TLS stack in use takes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

from blindmatch_protocol.codec.redacted import Redacted
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from blindmatch_server.hosting.parties import (
    AuthorityError,
    Identity,
    Kind,
)
from blindmatch_server.storage.workspace import replace_file

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
        """Check that they belong together.

        Raises:
            AuthorityError: if one is unreadable, the root has not signed the certificate, or the key is
                another one's.
        """
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
        """Read what `write` wrote.

        Raises:
            AuthorityError: if a file is missing.
        """
        names, devices = (ROOT_CERTIFICATE, f"{stem}.crt", f"{stem}.key"), directory / DEVICES_CERTIFICATE
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
        """A new one called `name`."""
        key = ec.generate_private_key(ec.SECP256R1())
        draft = _draft(name, name, key.public_key(), now, valid_for)
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        draft = draft.add_extension(_usage(sign_certificates=True), critical=True)
        return cls(draft.sign(key, hashes.SHA256()), key)

    def write(self, certificate: Path, key: Path) -> None:
        """Write both files; the key's has mode 0600."""
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

    @classmethod
    def upgrade(cls, directory: Path, now: datetime) -> Authority:
        """What `read` gives, after a root of devices was made in a folder that has the other alone."""
        Root.read(directory / ROOT_CERTIFICATE, directory / ROOT_KEY)
        if not (directory / DEVICES_KEY).exists():
            devices = cls.create(now).devices
            devices.write(directory / DEVICES_CERTIFICATE, directory / DEVICES_KEY)
        return cls.read(directory)

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
        devices = _pem(self.devices.certificate) if is_device or identity.takes_devices else b""
        return Credentials(_pem(self.root.certificate), _pem(leaf), _key_pem(key), devices)

    def write(self, directory: Path) -> None:
        """Write ``ca.crt``, ``ca.key``, ``devices.crt`` and ``devices.key`` (keys with mode 0600).

        Raises:
            AuthorityError: if `directory` holds a root already.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (directory / ROOT_KEY).exists():
            raise AuthorityError(f"certificates: {directory} holds a root already")
        self.root.write(directory / ROOT_CERTIFICATE, directory / ROOT_KEY)
        self.devices.write(directory / DEVICES_CERTIFICATE, directory / DEVICES_KEY)

    @classmethod
    def read(cls, directory: Path) -> Authority:
        """Read what `write` wrote.

        Raises:
            AuthorityError: if a file is missing or unreadable, or a key and its certificate do not belong
                together.
        """
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
