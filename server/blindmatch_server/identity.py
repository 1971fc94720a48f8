"""Who calls: the identity in the certificate of the TLS connection, never one from a message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from cryptography import x509

from blindmatch_server.authority import AuthorityError, Identity
from blindmatch_server.errors import UnauthenticatedError

_CERTIFICATE: Final = "x509_pem_cert"
_STEP: Final = "tls"


def caller_of(auth_context: Mapping[str, Iterable[bytes]], now: float) -> Identity:
    """The caller's identity from a gRPC authentication context.

    Args:
        auth_context: what `grpc.aio.ServicerContext.auth_context` returns; TLS has verified the chain.
        now: Unix time in seconds; a connection outlives its certificate, a call must not.

    Raises:
        UnauthenticatedError: without a certificate, with one that has run out, or with one that does not
            name exactly one party.
    """
    certificates = list(auth_context.get(_CERTIFICATE, ()))
    if len(certificates) != 1:
        raise UnauthenticatedError(_STEP, "a client certificate is needed")
    identity, expires = _read(certificates[0])
    if now > expires:
        raise UnauthenticatedError(_STEP, "the client certificate has run out")
    return identity


@lru_cache(maxsize=4096)
def _read(pem: bytes) -> tuple[Identity, float]:
    """Identity and end of validity of a certificate; read once for all calls of a connection."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        (uri,) = uris
        return Identity.parse(uri), certificate.not_valid_after_utc.timestamp()
    except (ValueError, x509.ExtensionNotFound, AuthorityError) as error:
        raise UnauthenticatedError(_STEP, "the client certificate must name exactly one party") from error
