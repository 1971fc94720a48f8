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
from typing import Annotated, Final

from msgspec import Struct
from nacl.signing import SigningKey

from blindmatch_protocol import contract as bm
from blindmatch_protocol.codec.errors import DesignError, ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.crypto.ed25519 import is_signature
from blindmatch_protocol.crypto.hpke import OVERHEAD, TAG_BYTES, public_key
from blindmatch_protocol.group.rows import expand
from blindmatch_protocol.messages.content import padded_attachment_length

MOST_PIXEL_BYTES: Final = 3 * 50_000_000
_MOST_PADDED: Final = padded_attachment_length(MOST_PIXEL_BYTES + 64)


class Attest(bm.Message, tag=0x74, name="enclave/attest"):
    """Asks for a quote that is fresh."""

    nonce: Annotated[bytes, bm.Fixed(32)]


class Quote(bm.Message, tag=0x75, name="enclave/quote"):
    """What runs there, said by the platform."""

    measurement: Annotated[bytes, bm.Fixed(32)]
    """Of code and configuration."""
    epoch: Annotated[int, bm.UInt(64)]
    """Of the list inside."""
    key: Annotated[bytes, bm.Fixed(32)]
    """X25519; its private half is in the enclave alone."""
    nonce: Annotated[bytes, bm.Fixed(32)]
    """That of the 0x74."""
    signature: Annotated[bytes, bm.Fixed(64)]
    """The platform's, Ed25519, over a tag and all that stands before."""


class SealedPicture(bm.Message, tag=0x76, name="enclave/picture"):
    """A 0x77, padded and sealed to the enclave by HPKE."""

    sealed: Annotated[bytes, bm.Variable(_MOST_PADDED + OVERHEAD, least=OVERHEAD)]


class Picture(bm.Message, tag=0x77, name="enclave/inner-picture"):
    """A picture, and the key that its reply is sealed under, used once."""

    reply_key: Annotated[bytes, bm.Fixed(32)]
    height: Annotated[int, bm.UInt(32)]
    width: Annotated[int, bm.UInt(32)]
    pixels: Annotated[bytes, bm.Variable(MOST_PIXEL_BYTES, least=1)]
    """RGB, row by row: height x width x 3."""

    def check(self) -> None:
        """The pixels are height x width x 3 bytes."""
        if len(self.pixels) != self.height * self.width * 3:
            raise bm.ProtocolError(self.NAME, "must be height x width x 3 bytes", "pixels")


class Found(bm.Message, tag=0x78, name="enclave/inner-reply"):
    """Whether an entry matches."""

    matched: Annotated[bool, bm.Bool()]
    label: Annotated[bm.Label, bm.Nested(bm.Label)]
    """Of the nearest entry; all zeros without a match."""

    def check(self) -> None:
        """Without a match there is no label; the same steps are taken with one."""
        if not self.matched | (self.label == bm.NO_LABEL):
            raise bm.ProtocolError(self.NAME, "must be all zeros without a match", "label")


class SealedReply(bm.Message, tag=0x79, name="enclave/reply"):
    """A 0x78, sealed under the picture's reply key: the same length for every picture."""

    sealed: Annotated[bytes, bm.Fixed(len(Found(False, bm.NO_LABEL).encode()) + TAG_BYTES)]


MEASURE_TAG: Final = b"blindmatch/enclave/measurement/v1"
CODE_TAG: Final = b"blindmatch/enclave/code/v1"
QUOTE_TAG: Final = b"blindmatch/enclave/quote/v1"
SEAL_TAG: Final = b"blindmatch/enclave/sealing-key/v1"
SECRET_BYTES: Final = 32
MEASURED: Final = (
    "blindmatch_protocol.designs.plain_scan",
    "blindmatch_protocol.crypto.ed25519",
    "blindmatch_protocol.crypto.hpke",
    "blindmatch_protocol.messages.content",
    "blindmatch_protocol.picture.container",
    "blindmatch_protocol.picture.decode",
    "blindmatch_protocol.picture.pdq",
    "blindmatch_protocol.sets.plain_list",
    "blindmatch_protocol.codec.redacted",
    *(f"blindmatch_protocol.setfile.{name}" for name in ("layout", "files")),
    "blindmatch_protocol.group.rows",
    *(f"{__package__}.{name}" for name in ("attestation", "design")),
)
"""Modules that are measured: those that open the list and what is sealed, hash, look up and answer."""


def code_digest(modules: Iterable[str]) -> bytes:
    """Digest over names and sources of modules, 32 bytes; read by the import system, once, when it is called;
    `DesignError` if one has no source."""
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
        key = public_key(self.enclave_key(measurement, epoch))
        return signed_quote(self.signing, Quote(measurement, epoch, key, nonce, bytes(64)))


class Policy(Struct, frozen=True):
    """What a device takes: of which platform, of which measurements, of which epoch."""

    epoch: int
    platform_key: bytes
    measurements: frozenset[bytes]

    def check(self, quote: Quote, nonce: bytes) -> None:
        """Take a quote for the nonce that was asked with, or refuse it by a `ProtocolError` that names
        the field that is not as it must be."""
        if not is_signature(self.platform_key, _covered(quote), quote.signature):
            raise ProtocolError(Quote.NAME, "must be the pinned platform's", "signature")
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
