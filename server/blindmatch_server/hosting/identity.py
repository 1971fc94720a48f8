"""Who calls: the identity in the certificate of the TLS connection, never one from a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from cryptography import x509
from msgspec import Struct

from blindmatch_server.hosting.authority import DEVICES_NAME, AuthorityError, Identity, Kind
from blindmatch_server.storage.errors import UnauthenticatedError

_CERTIFICATE: Final = "x509_pem_cert"
_STEP: Final = "tls"


class Certificate(Struct, frozen=True):
    """What the certificate of a connection says; TLS has verified the chain.

    Attributes:
        identity: whom it names.
        expires: when it runs out, in Unix time.
        serial: its serial number.
    """

    identity: Identity
    expires: float
    serial: int

    def holder(self, now: float, is_revoked: Callable[[int], bool]) -> Identity:
        """Who calls at the Unix time `now`.

        Raises:
            UnauthenticatedError: if it has run out or is revoked; a connection outlives it, a call must not.
        """
        if now > self.expires:
            raise UnauthenticatedError(_STEP, "the client certificate has run out")
        if is_revoked(self.serial):
            raise UnauthenticatedError(_STEP, "the client certificate is revoked")
        return self.identity


def certificate_of(auth_context: Mapping[str, Iterable[bytes]]) -> Certificate:
    """The certificate in a gRPC authentication context.

    Args:
        auth_context: what `grpc.aio.ServicerContext.auth_context` returns.

    Raises:
        UnauthenticatedError: without a certificate, or with one that does not name exactly one party.
    """
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
        identity, ends = Identity.parse(uri), certificate.not_valid_after_utc.timestamp()
        if (identity.kind is Kind.DEVICE) != (certificate.issuer == DEVICES_NAME):
            raise AuthorityError("certificates: signed by the root of others")
        return Certificate(identity, ends, certificate.serial_number)
    except (ValueError, x509.ExtensionNotFound, AuthorityError) as error:
        raise UnauthenticatedError(_STEP, "the client certificate must name exactly one party") from error
