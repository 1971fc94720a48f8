"""The files of oprf-psi, all in the set-file format: ``set.bin`` and deltas for devices, ``matcher.bin`` for
the matcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from blindmatch_protocol.contract.files import Buffers, Progress, Writer, no_progress
from blindmatch_protocol.designs.deltas import MOST_DELTAS, PUBLIC_KEY_KIND, SET_FILE, check_files
from blindmatch_protocol.designs.oprf_psi.layers import AnyLayer, FilterLayer, open_layers
from blindmatch_protocol.designs.oprf_psi.messages import MOST_EVALUATIONS
from blindmatch_protocol.errors import ProtocolError, SetFileError
from blindmatch_protocol.oprf import Mode, PublicKey, SecretKey
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter

DESIGN_NAME: Final = "oprf-psi"
DESIGN_VERSION: Final = 2

MATCHER_FILE: Final = "matcher.bin"

SECRET_KEY_KIND: Final = 0x101
"""Section of the matcher's file: the VOPRF secret scalar, 32 bytes."""
SET_DIGEST_KIND: Final = 0x102
"""Section of the matcher's file: the overall digest of the newest set-up file, 32 bytes."""


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """The set-up of one epoch, opened.

    Attributes:
        epoch: number of the epoch.
        evaluations: blinded elements in every request.
        public_key: the matcher's key of this epoch.
        layers: the full set, then the deltas since, oldest first.
    """

    epoch: int
    evaluations: int
    public_key: PublicKey
    layers: tuple[AnyLayer, ...] = field(repr=False)

    @property
    def entries(self) -> int:
        """Entries of the set: those of all layers, less those that deltas removed."""
        return sum(layer.entries - len(layer.removed) for layer in self.layers)

    @property
    def deltas(self) -> tuple[tuple[int, int], ...]:
        """Additions and removals of each delta, oldest first."""
        return tuple((layer.entries, len(layer.removed)) for layer in self.layers[1:])

    @property
    def unconfirmed(self) -> bool:
        """Is the set of kind `filter`, so that no label stands behind a match?"""
        return isinstance(self.layers[0], FilterLayer)

    @property
    def full_set_due(self) -> bool:
        """Must the next epoch be a full set?"""
        return len(self.layers) > MOST_DELTAS

    def verify(self, progress: Progress = no_progress) -> None:
        """Check every byte of every file.

        Raises:
            SetFileError: if one was altered.
        """
        check_files([layer.file for layer in self.layers], progress)

    def check(self, progress: Progress) -> None:
        """See `Design.check_setup`."""
        self.verify(progress)
        for layer in self.layers:
            layer.check()


@dataclass(frozen=True, slots=True, eq=False)
class MatcherState:
    """What the matcher holds of one epoch; `repr` shows nothing of the key.

    Attributes:
        epoch: number of the epoch.
        evaluations: blinded elements in every request.
        key: the VOPRF secret key.
    """

    epoch: int
    evaluations: int
    key: SecretKey = field(repr=False)


def identity(epoch: int, parameters: Mapping[str, int]) -> Identity:
    """What both files say they are for."""
    return Identity(DESIGN_NAME, DESIGN_VERSION, epoch, parameters)


def open_setup(files: Buffers, epoch: int | None) -> Setup:
    """See `Design.open_setup`."""
    layers = open_layers(files, DESIGN_NAME, DESIGN_VERSION, epoch)
    newest = layers[-1].file
    evaluations = _evaluations(newest.identity.parameters)
    return Setup(newest.identity.epoch, evaluations, public_key_of(newest, layers[-1].name), layers)


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
    evaluations = _evaluations(file.identity.parameters)
    if SET_FILE in files:
        _check_belongs(file, key, open_setup(files, file.identity.epoch))
    return MatcherState(file.identity.epoch, evaluations, key)


def _check_belongs(matcher: SetFile, key: SecretKey, setup: Setup) -> None:
    newest = setup.layers[-1]
    if bytes(matcher.section(SET_DIGEST_KIND)) != newest.file.digest:
        raise SetFileError(f"{MATCHER_FILE}: made for another {newest.name} than the one beside it")
    if key.public != setup.public_key:
        raise SetFileError(f"{MATCHER_FILE}: the key is not the one of {newest.name}")


def _open(files: Buffers, name: str, epoch: int | None) -> SetFile:
    if name not in files:
        raise SetFileError(f"{name} is missing")
    return SetFile(files[name], name, DESIGN_NAME, DESIGN_VERSION, epoch)


def public_key_of(file: SetFile, name: str) -> PublicKey:
    """The public key in a set-up file.

    Raises:
        SetFileError: if it is no element of the group, or the identity.
    """
    try:
        return PublicKey(Mode.VOPRF, bytes(file.section(PUBLIC_KEY_KIND)))
    except ProtocolError as error:
        raise SetFileError(f"{name}: the public key is no element of the group") from error


def _evaluations(parameters: Mapping[str, int]) -> int:
    value = parameters.get("evaluations", 0)
    if not 1 <= value <= MOST_EVALUATIONS:
        raise SetFileError(f"parameter evaluations: must be there, and 1 to {MOST_EVALUATIONS}")
    return value
