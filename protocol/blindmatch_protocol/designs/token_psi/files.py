"""The files of token-psi, both in the set-file format: ``set.bin`` for devices, ``matcher.bin`` for the
matcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from blindmatch_protocol.contract.files import Buffers, Writer
from blindmatch_protocol.designs.token_psi.addresses import AddressIndex
from blindmatch_protocol.designs.token_psi.parameters import Tokening, of_values
from blindmatch_protocol.errors import DesignError, ProtocolError, SetFileError
from blindmatch_protocol.labels import SealedLabels
from blindmatch_protocol.oprf import Mode, PublicKey, SecretKey
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.store import Store

DESIGN_NAME: Final = "token-psi"
DESIGN_VERSION: Final = 1

SET_FILE: Final = "set.bin"
MATCHER_FILE: Final = "matcher.bin"

PUBLIC_KEY_KIND: Final = 0x100
"""Section of the set file: the VOPRF public key, 32 bytes."""
SECRET_KEY_KIND: Final = 0x101
"""Section of the matcher's file: the VOPRF secret scalar, 32 bytes."""
SET_DIGEST_KIND: Final = 0x102
"""Section of the matcher's file: the overall digest of the set file it belongs to, 32 bytes."""
ADDRESSES_KIND: Final = 0x103
"""Section of the set file: the index of labels by address (`addresses`)."""


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """The set-up of one epoch, opened.

    Attributes:
        epoch: number of the epoch.
        entries: entries of the set.
        tokening: how hashes become tokens.
        public_key: the matcher's key of this epoch.
        store: finds a band's masked value.
        labels: the sealed labels.
        file: the set file they lie in.
    """

    epoch: int
    entries: int
    tokening: Tokening
    public_key: PublicKey
    store: Store = field(repr=False)
    labels: SealedLabels = field(repr=False)
    file: SetFile = field(repr=False)
    _opened: list[AddressIndex] = field(default_factory=list, repr=False)

    @property
    def addresses(self) -> AddressIndex:
        """Finds labels by address; checked and opened when first asked for.

        Raises:
            SetFileError: if the section was altered.
        """
        if not self._opened:
            self._opened.append(AddressIndex(self.file.section(ADDRESSES_KIND), self.entries))
        return self._opened[0]


@dataclass(frozen=True, slots=True, eq=False)
class MatcherState:
    """What the matcher holds of one epoch; `repr` shows nothing of the key.

    Attributes:
        epoch: number of the epoch.
        tokens: blinded tokens in every request.
        key: the VOPRF secret key.
    """

    epoch: int
    tokens: int
    key: SecretKey = field(repr=False)


def identity(epoch: int, tokening: Tokening) -> Identity:
    """What both files say they are for."""
    return Identity(DESIGN_NAME, DESIGN_VERSION, epoch, tokening.values())


def open_setup(files: Buffers, epoch: int | None, expected: Tokening | None = None) -> Setup:
    """See `Design.open_setup`; `expected` are the parameters it must be built for, if any."""
    file = _open(files, SET_FILE, epoch)
    tokening = _tokening(file, SET_FILE)
    if expected is not None and tokening != expected:
        raise SetFileError(f"{SET_FILE}: built for other parameters: {tokening}, not {expected}")
    labels = SealedLabels(file, file.entries, 0)
    file.row(ADDRESSES_KIND)
    return Setup(file.identity.epoch, file.entries, tokening, _public_key(file), Store(file), labels, file)


def write_matcher(out: Writer, key: SecretKey, set_digest: bytes, identity: Identity, entries: int) -> None:
    """Write the matcher's file. It holds a secret: whoever opens it must keep others from reading it."""
    file = SetFileWriter(out, identity)
    file.section(SECRET_KEY_KIND, [key.reveal()], 1)
    file.section(SET_DIGEST_KIND, [set_digest], 1)
    file.finish(entries)


def open_matcher(files: Buffers) -> MatcherState:
    """See `Design.open_role`. If the set file is there, it must be the one the key was made for."""
    file = _open(files, MATCHER_FILE, None)
    file.verify()
    try:
        key = SecretKey(Mode.VOPRF, bytes(file.section(SECRET_KEY_KIND)))
    except ProtocolError as error:
        raise SetFileError(f"{MATCHER_FILE}: the key is no scalar of the group") from error
    tokening = _tokening(file, MATCHER_FILE)
    if SET_FILE in files:
        _check_belongs(file, key, _open(files, SET_FILE, file.identity.epoch))
    return MatcherState(file.identity.epoch, tokening.tokens, key)


def _check_belongs(matcher: SetFile, key: SecretKey, published: SetFile) -> None:
    if matcher.identity.parameters != published.identity.parameters:
        raise SetFileError(f"{MATCHER_FILE}: built for other parameters than {SET_FILE}")
    if bytes(matcher.section(SET_DIGEST_KIND)) != published.digest:
        raise SetFileError(f"{MATCHER_FILE}: made for another {SET_FILE} than the one beside it")
    if key.public != _public_key(published):
        raise SetFileError(f"{MATCHER_FILE}: the key is not the one of {SET_FILE}")


def _open(files: Buffers, name: str, epoch: int | None) -> SetFile:
    if name not in files:
        raise SetFileError(f"{name} is missing")
    return SetFile(files[name], name, DESIGN_NAME, DESIGN_VERSION, epoch)


def _tokening(file: SetFile, name: str) -> Tokening:
    try:
        return of_values(file.identity.parameters)
    except DesignError as error:
        raise SetFileError(f"{name}: {error}") from error


def _public_key(file: SetFile) -> PublicKey:
    try:
        return PublicKey(Mode.VOPRF, bytes(file.section(PUBLIC_KEY_KIND)))
    except ProtocolError as error:
        raise SetFileError(f"{SET_FILE}: the public key is no element of the group") from error
