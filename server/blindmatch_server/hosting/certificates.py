"""Whose certificate it is that a call came under, and which certificates are refused before they run out.

The identity is that of the TLS connection's certificate, never one from a message. The list of refused serial
numbers, whoever of the deployment's authorities issued them, is signed by the root (RFC 5280, section 5). A
server looks at its file at every call and reads it again when it has changed, so a new list counts from the
next call on; an older one is refused, also after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from blindmatch_server.hosting.authority import DEVICES_NAME, Authority, AuthorityError, Identity, Kind
from blindmatch_server.hosting.event_log import EventLog
from blindmatch_server.storage.errors import UnauthenticatedError
from blindmatch_server.storage.files import StorageError, replace_file

_CERTIFICATE: Final = "x509_pem_cert"
_STEP: Final = "tls"


class Certificate(Struct, frozen=True):
    """What the certificate of a connection says, which runs out at the Unix time `expires`; TLS has verified
    the chain."""

    identity: Identity
    expires: float
    serial: int

    def holder(self, now: float, is_revoked: Callable[[int], bool]) -> Identity:
        """Who calls at the Unix time `now`; `UnauthenticatedError` if it has run out or is revoked; a
        connection outlives it, a call must not."""
        if now > self.expires:
            raise UnauthenticatedError(_STEP, "the client certificate has run out")
        if is_revoked(self.serial):
            raise UnauthenticatedError(_STEP, "the client certificate is revoked")
        return self.identity


def certificate_of(auth_context: Mapping[str, Iterable[bytes]]) -> Certificate:
    """The certificate in a gRPC authentication context; `UnauthenticatedError` without a certificate, or with
    one that does not name exactly one party."""
    certificates = list(auth_context.get(_CERTIFICATE, ()))
    if len(certificates) != 1:
        raise UnauthenticatedError(_STEP, "a client certificate is needed")
    return _read(certificates[0])


@lru_cache(maxsize=4096)
def _read(pem: bytes) -> Certificate:
    """A certificate; read once for all calls of a connection."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        (uri,) = uris
        identity = Identity.parse(uri)
        ends = certificate.not_valid_after_utc.timestamp()
        if (identity.kind is Kind.DEVICE) != (certificate.issuer == DEVICES_NAME):
            raise AuthorityError("certificates: signed by the root of others")
        return Certificate(identity, ends, certificate.serial_number)
    except (ValueError, x509.ExtensionNotFound, AuthorityError) as error:
        raise UnauthenticatedError(_STEP, "the client certificate must name exactly one party") from error


FILE: Final = "revoked.crl"


class RevocationList(Struct, frozen=True):
    """Which certificates are refused; of two lists the one with the higher `number` holds."""

    number: int = 0
    serials: frozenset[int] = frozenset()

    def signed(self, authority: Authority, now: datetime) -> bytes:
        """The list as a PEM file; it holds as long as the root does, or until there is a newer one."""
        start = now.astimezone(UTC)
        root = authority.root.certificate
        draft = x509.CertificateRevocationListBuilder().issuer_name(root.subject).last_update(start)
        draft = draft.next_update(root.not_valid_after_utc)
        draft = draft.add_extension(x509.CRLNumber(self.number), critical=False)
        for serial in sorted(self.serials):
            one = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
            draft = draft.add_revoked_certificate(one.build())
        return draft.sign(authority.root.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    @classmethod
    def read(cls, path: Path, root: bytes) -> RevocationList:
        """The list in a file that the root (PEM) has signed; `AuthorityError` if it is missing, damaged, or
        signed by somebody else."""
        try:
            held = x509.load_pem_x509_crl(path.read_bytes())
            key = x509.load_pem_x509_certificate(root).public_key()
            if not isinstance(key, ec.EllipticCurvePublicKey) or not held.is_signature_valid(key):
                raise AuthorityError(f"certificates: {path.name} is not signed by this root")
            number = held.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            return cls(number, frozenset(one.serial_number for one in held))
        except OSError as error:
            where = "the authority's machine has it, and every server's has a copy"
            raise AuthorityError(f"certificates: {path.name}: {error.strerror}; {where}") from error
        except (ValueError, x509.ExtensionNotFound) as error:
            raise AuthorityError(f"certificates: {path.name} is damaged") from error


class Revocations:
    """A server's list, read again whenever its file has changed; the highest number that was read is kept in
    the file `highest`, so that it outlives the process."""

    def __init__(self, path: Path, highest: Path, root: bytes, log: EventLog) -> None:
        """Read it; raises as `RevocationList.read`; `AuthorityError` if it is older than what was read
        before, or `highest` holds no number; `StorageError` if its number cannot be kept."""
        self._path = path
        self._root = root
        self._log = log
        self._highest = highest
        self._seen = self._stamp()
        try:
            self._held = RevocationList(int(highest.read_text()) if highest.exists() else 0)
        except (OSError, ValueError) as error:
            raise AuthorityError(f"certificates: {highest} must hold the highest number read") from error
        self._read()

    def includes(self, serial: int) -> bool:
        """Is the certificate with this serial number refused now? A file that is missing, damaged or older
        than what was read before changes nothing; the log says so."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            try:
                self._read()
                held = self._held
                self._log.write("revocations-read", number=held.number, refused=len(held.serials))
            except AuthorityError as error:
                self._log.write("revocations-kept", reason=str(error))
            except StorageError as error:
                self._log.write("revocations-number-not-kept", number=self._held.number, reason=str(error))
        return serial in self._held.serials

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    def _read(self) -> None:
        new = RevocationList.read(self._path, self._root)
        before = self._held.number
        if new.number < before:
            rule = f"number {new.number} is older than number {before}, which was read before"
            raise AuthorityError(f"certificates: {self._path.name}: {rule} ({self._highest})")
        self._held = new
        if new.number > before:
            replace_file(self._highest, b"%d" % new.number)
