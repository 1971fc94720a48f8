"""What an enclave is measured as, what the platform signs of it, and what a device takes for its policy.

    measurement = SHA-256( tag | digest of the code | epoch | digest of the list | blind | largest distance )
    quote       = measurement, epoch, key, nonce, Ed25519(platform, tag | all of them)

The code is the source of the modules in `MEASURED`, as the import system has it when this module is loaded.
That is not a measurement of what runs: this process makes it of itself, Python may have loaded something else
(a .pyc that it does not check), and the codec, the contract, Python, its libraries and the operating system
are left out. The platform stands for the hardware: its two
secrets lie in a file at the host. The key of an enclave follows from one of them and the measurement, so
another enclave has another.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest
from importlib.abc import InspectLoader
from importlib.util import find_spec
from typing import Final

from msgspec import Struct
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto.hpke import public_key
from blindmatch_protocol.designs.enclave.messages import Quote
from blindmatch_protocol.group.tagged import expand

MEASURE_TAG: Final = b"blindmatch/enclave/measurement/v1"
CODE_TAG: Final = b"blindmatch/enclave/code/v1"
QUOTE_TAG: Final = b"blindmatch/enclave/quote/v1"
SEAL_TAG: Final = b"blindmatch/enclave/sealing-key/v1"
SECRET_BYTES: Final = 32
MEASURED: Final = (
    "blindmatch_protocol.designs.plain_scan",
    "blindmatch_protocol.crypto.hpke",
    "blindmatch_protocol.messages.padding",
    "blindmatch_protocol.picture.distance",
    "blindmatch_protocol.picture.item",
    "blindmatch_protocol.picture.pdq",
    "blindmatch_protocol.sets.plain_list",
    "blindmatch_protocol.codec.redacted",
    *(f"blindmatch_protocol.setfile.{name}" for name in ("layout", "pages", "reader")),
    "blindmatch_protocol.group.tagged",
    *(f"{__package__}.{name}" for name in ("attestation", "design", "messages", "oblivious")),
)
"""Modules that are measured: those that open the list and what is sealed, hash, look up and answer."""


def code_digest(modules: Iterable[str]) -> bytes:
    """Digest over names and sources of modules, 32 bytes; read by the import system, once, when it is called.

    Raises:
        DesignError: if one has no source.
    """
    digest = sha256(CODE_TAG)
    for name in sorted(modules):
        spec = find_spec(name)
        loader = spec.loader if spec else None
        source = loader.get_source(name) if isinstance(loader, InspectLoader) else None
        if source is None:
            raise DesignError(f"enclave: module {name} has no source to measure")
        digest.update(sha256(name.encode()).digest() + sha256(source.encode()).digest())
    return digest.digest()


CODE: Final = code_digest(MEASURED)
"""Of the sources that this process finds of itself."""


def measured(code: bytes, epoch: int, data: bytes, distance: int) -> bytes:
    """The measurement of an enclave, 32 bytes; `data` is the digest of its list, and the blind."""
    configuration = epoch.to_bytes(8, "big") + data + distance.to_bytes(4, "big")
    return sha256(MEASURE_TAG + code + configuration).digest()


class Platform(Redacted, Struct, frozen=True):
    """Stands for the hardware; whoever has the signing key can say anything of any enclave.

    Attributes:
        signing: Ed25519 seed, 32 bytes.
        sealing: secret that the keys of enclaves follow from, 32 bytes.
    """

    signing: bytes
    sealing: bytes

    @property
    def public(self) -> bytes:
        """The Ed25519 key that quotes are checked with, 32 bytes."""
        return bytes(SigningKey(self.signing).verify_key)

    def enclave_key(self, measurement: bytes, epoch: int) -> bytes:
        """The X25519 private key of the enclave with this measurement, 32 bytes."""
        (row,) = expand(SEAL_TAG, epoch, [self.sealing + measurement], SECRET_BYTES)
        return bytes(row)

    def quote(self, measurement: bytes, epoch: int, nonce: bytes) -> Quote:
        """A quote of the enclave with this measurement."""
        key = public_key(self.enclave_key(measurement, epoch))
        return signed_quote(self.signing, Quote(measurement, epoch, key, nonce, bytes(64)))


class Policy(Struct, frozen=True):
    """What a device takes: of which platform, of which measurements, of which epoch."""

    epoch: int
    platform_key: bytes
    measurements: frozenset[bytes]

    def check(self, quote: Quote, nonce: bytes) -> None:
        """Take a quote for the nonce that was asked with, or refuse it.

        Raises:
            ProtocolError: naming the field that is not as it must be.
        """
        try:
            VerifyKey(self.platform_key).verify(_covered(quote), quote.signature)
        except (BadSignatureError, ValueError):
            raise ProtocolError(Quote.NAME, "must be the pinned platform's", "signature") from None
        if not compare_digest(quote.nonce, nonce):
            raise ProtocolError(Quote.NAME, "must be the one that was asked with", "nonce")
        if quote.epoch != self.epoch:
            raise ProtocolError(Quote.NAME, f"must be {self.epoch}", "epoch")
        if quote.measurement not in self.measurements:
            raise ProtocolError(Quote.NAME, "must be one of the set-up's policy", "measurement")


def signed_quote(signing: bytes, quote: Quote) -> Quote:
    """The quote with the signature of the platform whose Ed25519 seed this is."""
    signature = SigningKey(signing).sign(_covered(quote)).signature
    return Quote(quote.measurement, quote.epoch, quote.key, quote.nonce, signature)


def _covered(quote: Quote) -> bytes:
    return QUOTE_TAG + quote.measurement + quote.epoch.to_bytes(8, "big") + quote.key + quote.nonce
