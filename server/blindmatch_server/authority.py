"""A deployment's own certificate authority: who is who on the wire.

Every party has one certificate, signed by the deployment's root, whose URI names it:
``blindmatch://device/alice``, ``blindmatch://relay``, ``blindmatch://party_a``. A server's certificate also
bears the DNS name ``relay.blindmatch.test``. Clients connect to an address and check that name, so that no
server passes for another, and a device's certificate is not good for serving at all.

Keys are EC P-256: what every TLS stack in use takes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

from blindmatch_protocol.redacted import Redacted
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from blindmatch_server.parties import SERVICES as SERVICES
from blindmatch_server.parties import AuthorityError as AuthorityError
from blindmatch_server.parties import Identity as Identity
from blindmatch_server.parties import IdentityError as IdentityError
from blindmatch_server.parties import Kind as Kind
from blindmatch_server.parties import identity_of as identity_of
from blindmatch_server.workspace import replace_file

ROOT_CERTIFICATE: Final = "ca.crt"
ROOT_KEY: Final = "ca.key"
_CLOCK_SKEW: Final = timedelta(minutes=5)


class Credentials(Redacted, Struct, frozen=True):
    """What a party needs for mutual TLS, as PEM: the root's certificate, its own, and its key."""

    SHOWN: ClassVar = ("root", "certificate")

    root: bytes
    certificate: bytes
    key: bytes

    def write(self, directory: Path, stem: str) -> None:
        """Write ``STEM.crt``, ``STEM.key`` (mode 0600) and ``ca.crt``."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(directory / f"{stem}.key", self.key)
        (directory / f"{stem}.crt").write_bytes(self.certificate)
        (directory / ROOT_CERTIFICATE).write_bytes(self.root)

    def check(self) -> None:
        """Check that the three belong together.

        Raises:
            AuthorityError: if one is unreadable, the root has not signed the certificate, or the key is
                another one's.
        """
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate)
            key = serialization.load_pem_private_key(self.key, None)
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(self.root))
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
        names = (ROOT_CERTIFICATE, f"{stem}.crt", f"{stem}.key")
        try:
            return cls(*((directory / name).read_bytes() for name in names))
        except OSError as error:
            raise AuthorityError(f"certificates: {error.filename}: {error.strerror}") from error


class Authority(Redacted, Struct, frozen=True):
    """The root of a deployment; it signs leaves only."""

    SHOWN: ClassVar = ("certificate",)

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, now: datetime, valid_for: timedelta = timedelta(days=3650)) -> Authority:
        """A new root, valid from `now` on (time zone aware)."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "blindmatch deployment root")])
        draft = _draft(name, name, key.public_key(), now, valid_for)
        draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        draft = draft.add_extension(_usage(sign_certificates=True), critical=True)
        return cls(draft.sign(key, hashes.SHA256()), key)

    def issue(
        self, identity: Identity, now: datetime, valid_for: timedelta = timedelta(days=90)
    ) -> Credentials:
        """A key and a certificate for `identity`, valid from `now` on (time zone aware)."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.slug)])
        draft = _draft(name, self.certificate.subject, key.public_key(), now, valid_for)
        for extension, critical in _leaf_extensions(identity):
            draft = draft.add_extension(extension, critical=critical)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        leaf = draft.add_extension(issuer, critical=False).sign(self.key, hashes.SHA256())
        return Credentials(_pem(self.certificate), _pem(leaf), _key_pem(key))

    def write(self, directory: Path) -> None:
        """Write ``ca.crt`` and ``ca.key`` (mode 0600).

        Raises:
            AuthorityError: if `directory` holds a root already.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if (directory / ROOT_KEY).exists():
            raise AuthorityError(f"certificates: {directory} holds a root already")
        replace_file(directory / ROOT_KEY, _key_pem(self.key))
        (directory / ROOT_CERTIFICATE).write_bytes(_pem(self.certificate))

    @classmethod
    def read(cls, directory: Path) -> Authority:
        """Read what `write` wrote.

        Raises:
            AuthorityError: if a file is missing or unreadable, or the two do not belong together.
        """
        try:
            certificate = x509.load_pem_x509_certificate((directory / ROOT_CERTIFICATE).read_bytes())
            key = serialization.load_pem_private_key((directory / ROOT_KEY).read_bytes(), None)
            certificate.verify_directly_issued_by(certificate)
        except (OSError, ValueError, TypeError, InvalidSignature) as error:
            raise AuthorityError(f"certificates: {directory} holds no usable root") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise AuthorityError(
                f"certificates: root key and certificate in {directory} do not belong together"
            )
        return cls(certificate, key)


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
