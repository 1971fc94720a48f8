"""A published epoch: its files, who reads which, and its manifest; `building` makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final, Literal, Self

import msgspec
from blindmatch_proofs.endorsement import FILE as ENDORSEMENT
from blindmatch_proofs.endorsement import TREE_FILE, KeptTrees
from blindmatch_proofs.epoch import EpochLeaf, verify_signature
from blindmatch_proofs.merkle import Tree, compute_root, prove_consistency, split_hashes
from blindmatch_proofs.tlog import TlogProof
from blindmatch_proofs.verdict import Failed, Passed
from blindmatch_protocol.codec.errors import BlindmatchError, ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import Info, Published
from blindmatch_protocol.messages.epoch_manifest import EpochManifest, ManifestFile, SignedManifest
from blindmatch_protocol.rpc import blindmatch_v1_pb2 as wire
from msgspec import Struct

from blindmatch_server.storage.errors import StateError
from blindmatch_server.storage.files import (
    FileRecord,
    MappedFile,
    MappingError,
    StorageError,
    hold,
    replace_file,
)

FILES = "files.json"
"""Which files the epoch has, and who reads which."""
SIGNED = "epoch.manifest"
"""The encoding of the signed manifest (docs/reference/wire.md)."""
LEAF = "epoch.leaf"
"""The encoding of what a log holds of the epoch (docs/reference/wire.md)."""
PROOF = "epoch.proof"
TREE = "epoch.tree"
"""What a log says of the epoch."""
OWN: Final = frozenset({FILES, SIGNED, LEAF, PROOF, TREE})
"""Files of an epoch that are no design's."""
FORMAT: Final = 1
CURRENT = "current"


class PublicationError(BlindmatchError):
    """An epoch cannot be published or opened."""


class NoPublicationError(PublicationError):
    """There is no such epoch, or none at all."""


class DamagedPublicationError(PublicationError):
    """A published file is missing, truncated or altered."""


class Contents(Struct, frozen=True, forbid_unknown_fields=True):
    """What a published epoch consists of, as JSON for its operators; all else its signed manifest says.

    Attributes:
        setup: names of the files every device gets.
        files: all of them, by name.
    """

    format: Literal[1]
    setup: tuple[str, ...]
    roles: dict[str, tuple[str, ...]]
    opener: tuple[str, ...]
    files: tuple[FileRecord, ...]

    def __post_init__(self) -> None:
        used = {*self.setup, *self.opener, *(name for names in self.roles.values() for name in names)}
        names = [file.name for file in self.files]
        if names != sorted(set(names)) or used != set(names):
            raise ValueError("files: must be the files used, each once and in order")

    @classmethod
    def of(cls, published: Published, records: Iterable[FileRecord]) -> Self:
        roles = {str(role): tuple(names) for role, names in published.roles.items()}
        files = tuple(sorted(records, key=lambda file: file.name))
        return cls(FORMAT, tuple(published.setup), roles, tuple(published.opener), files)

    @classmethod
    def read(cls, home: Path) -> Self:
        """What the epoch in the folder `home` consists of. Raises `NoPublicationError` if there is no such
        folder, and `DamagedPublicationError` if its file is missing or breaks a rule."""
        if not home.is_dir():
            raise NoPublicationError(f"epoch {home.name} is not published in {home.parent.name}")
        try:
            return cls.decode((home / FILES).read_bytes())
        except FileNotFoundError:
            raise DamagedPublicationError(f"epoch {home.name} has no {FILES}: build a new one") from None
        except (OSError, ValueError) as error:
            raise DamagedPublicationError(f"{FILES} of epoch {home.name} cannot be read: {error}") from error

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read what `encode` wrote; raises `ValueError`, which names the field and its rule."""
        return msgspec.json.decode(raw, type=cls)

    def encode(self) -> bytes:
        """The document's bytes, of which there is one form."""
        return msgspec.json.format(msgspec.json.encode(self, order="sorted"), indent=2) + b"\n"

    def needed(self, roles: Iterable[str], opener: bool = False) -> frozenset[str]:
        """Names of the files that a party needs which plays `roles`, or is the centre and opens vouchers."""
        names = (name for role in roles for name in self.roles.get(role, ()))
        return frozenset((*self.setup, *names, *(self.opener if opener else ())))

    def setup_files(self) -> tuple[ManifestFile, ...]:
        """The files every device gets, as the signed manifest names them."""
        mine = (file for file in self.files if file.name in self.setup)
        return tuple(ManifestFile(file.name, file.size, bytes.fromhex(file.sha256)) for file in mine)


class Publication:
    """A published epoch, its files, or those of them that a party needs, memory-mapped read-only, and its
    signed manifest as devices get it; `check_signed` says whether the curator signed it."""

    __slots__ = ("_files", "contents", "folder", "signed")

    def __init__(
        self, folder: Path, contents: Contents, signed: SignedManifest, needed: frozenset[str] | None = None
    ) -> None:
        self.folder = folder
        self.contents = contents
        self.signed = signed
        with _damaged():
            self._files = {
                file.name: MappedFile(folder / file.name, file.size)
                for file in contents.files
                if needed is None or file.name in needed
            }

    @property
    def manifest(self) -> EpochManifest:
        return self.signed.manifest

    @property
    def parameters(self) -> dict[str, int]:
        return {one.name: one.value for one in self.manifest.parameters}

    @property
    def setup_bytes(self) -> int:
        """What a device fetches once."""
        return sum(file.size for file in self.manifest.files)

    def setup(self) -> dict[str, memoryview]:
        return self._named(self.contents.setup)

    def role(self, role: str) -> dict[str, memoryview]:
        """The files of a role, and the set-up's; `NoPublicationError` if the epoch has no such role."""
        if role not in self.contents.roles:
            raise NoPublicationError(f"epoch {self.manifest.epoch} has no files for role {role}")
        return self._named((*self.contents.setup, *self.contents.roles[role]))

    def opener(self) -> dict[str, memoryview]:
        """The centre's files, and the set-up's."""
        return self._named((*self.contents.setup, *self.contents.opener))

    def endorsement(self) -> dict[str, memoryview]:
        """The file of endorsements, if there is one: no design's, and so in none of the others."""
        return {name: file.content for name, file in self._files.items() if name == ENDORSEMENT}

    def kept_trees(self, info: Info, root: bytes) -> KeptTrees | None:
        """The trees over the endorsements, by the `root` that the curator signed; None if they are not here,
        or are damaged: proofs are then made without."""
        path = self.folder / TREE_FILE
        try:
            mapped = MappedFile(path, path.stat().st_size)
            return KeptTrees(mapped.content, info, self.manifest.epoch, root)
        except (OSError, MappingError, SetFileError):
            return None

    def every_file(self) -> dict[str, memoryview]:
        """All files: what the next epoch is made from."""
        return self._named(tuple(self._files))

    def check_intact(self) -> None:
        """Make sure that no file was truncated or overwritten in place since it was mapped, before it is
        used: a page that is gone ends the process with a signal. `DamagedPublicationError` if one was."""
        with _damaged():
            for mapped in self._files.values():
                mapped.check_intact()

    def verify(self) -> None:
        """Read every file and compare it with the manifest's digest; `DamagedPublicationError` if one
        differs."""
        self.check_intact()
        with _damaged():
            for file in self.contents.files:
                if file.name in self._files:
                    self._files[file.name].check_digest(file.sha256)

    def check_signed(self, curator: bytes) -> None:
        """Make sure that the key `curator`, Ed25519, 32 bytes, signed the epoch's manifest;
        `DamagedPublicationError` if it did not: no device would take the epoch."""
        match verify_signature(self.signed, curator):
            case Failed(reason):
                raise DamagedPublicationError(
                    f"{SIGNED} of epoch {self.manifest.epoch}: {reason}; was it built in this deployment?"
                )

    def _named(self, names: tuple[str, ...]) -> dict[str, memoryview]:
        return {name: self._files[name].content for name in names if name != ENDORSEMENT}


@contextmanager
def _damaged() -> Iterator[None]:
    try:
        yield
    except MappingError as error:
        raise DamagedPublicationError(str(error)) from error


def current_epoch(folder: Path) -> int:
    """The epoch that is served. Raises `NoPublicationError` if none was published yet, and
    `DamagedPublicationError` if `current` holds no number."""
    try:
        text = (folder / CURRENT).read_text("ascii")
    except FileNotFoundError:
        raise NoPublicationError(f"nothing is published in {folder.name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedPublicationError(f"{CURRENT} cannot be read") from error
    number = text.removesuffix("\n")
    if not (number.isdecimal() and len(number) < 20 and text == f"{int(number)}\n"):
        raise DamagedPublicationError(f"{CURRENT} does not hold the number of an epoch")
    return int(number)


def signed_epochs(folder: Path, info: Info, curator: bytes) -> frozenset[int]:
    """Numbers of a design's epochs in `folder` whose manifest the key `curator` signed; no others count."""
    numbers = set[int]()
    for path in folder.glob(f"[0-9]*/{SIGNED}"):
        with suppress(DamagedPublicationError):
            signed = read_signed(path.parent)
            if signed.manifest.is_of(info) and verify_signature(signed, curator) == Passed():
                numbers.add(signed.manifest.epoch)
    return frozenset(numbers)


def open_publication(
    folder: Path, epoch: int | None = None, roles: Iterable[str] | None = None, opener: bool = False
) -> Publication:
    """Open an epoch, by default the current one, with the set-up's files, those of `roles` and, if `opener`,
    the centre's; all if `roles` is None. `NoPublicationError` if there is no such epoch,
    `DamagedPublicationError` if its manifests are damaged or missing or say different things, or a file is
    missing or has another length."""
    number = current_epoch(folder) if epoch is None else epoch
    home = folder / str(number)
    contents = Contents.read(home)
    signed = read_signed(home)
    if signed.manifest.epoch != number:
        raise DamagedPublicationError(f"{SIGNED} of epoch {number} is for epoch {signed.manifest.epoch}")
    if contents.setup_files() != signed.manifest.files:
        raise DamagedPublicationError(f"{SIGNED} of epoch {number} is for other files than {FILES}")
    return Publication(home, contents, signed, None if roles is None else contents.needed(roles, opener))


def read_signed(home: Path) -> SignedManifest:
    """The signed manifest in an epoch's folder; `DamagedPublicationError` if it is missing or is none."""
    try:
        return SignedManifest.decode((home / SIGNED).read_bytes())
    except FileNotFoundError:
        raise DamagedPublicationError(
            f"epoch {home.name} has no {SIGNED}: it must be signed; build a new one"
        ) from None
    except (OSError, ProtocolError) as error:
        raise DamagedPublicationError(f"{SIGNED} of epoch {home.name} cannot be read: {error}") from error


SIZES_MOST: Final = 16
"""Of earlier checkpoints that a device may ask about at a time."""
_PUBLIC: Final = 0o444
_LOCK: Final = ".proof.lock"


class Logged(Redacted, Struct, frozen=True):
    """An epoch's leaf and proof, and the tree it is in."""

    SHOWN: ClassVar = ("leaf", "proof")

    leaf: bytes
    proof: bytes
    tree: Tree

    @classmethod
    def of(cls, leaf: EpochLeaf, proof: TlogProof, hashes: bytes) -> Logged:
        """Raises `ProtocolError` unless `hashes` are the leaves under the proof's checkpoint."""
        tree = Tree.from_leaves(split_hashes(hashes))
        head = proof.head
        if tree.size != head.size or compute_root(tree.node, tree.size) != head.root:
            raise ProtocolError("log", "must be those under the checkpoint", "leaves")
        return cls(leaf.encode(), proof.encode(), tree)

    def consistency(self, sizes: Iterable[int]) -> list[wire.Consistency]:
        """That the log continues what it was with so many leaves; of larger sizes nothing can be said."""
        size = self.tree.size
        known = sorted({one for one in sizes if 0 < one <= size})[:SIZES_MOST]
        paths = {one: prove_consistency(self.tree.node, one, size) for one in known}
        return [wire.Consistency(tree_size=one, path=path) for one, path in paths.items()]


def write_logged(home: Path, logged: Logged) -> None:
    """Write the files into an epoch's folder, each in one step, the proof last; `StateError` if somebody else
    is writing those of the design at this time."""
    busy = StateError("a proof of this design is being renewed at this time: try again")
    with hold(home.parent / _LOCK, busy, StorageError):
        replace_file(home / TREE, b"".join(logged.tree.levels[0]), _PUBLIC)
        replace_file(home / PROOF, logged.proof, _PUBLIC)


def read_logged(home: Path) -> Logged | None:
    """What a log says of the epoch in `home`, read again when it was renewed; None if it was never logged.
    Raises `StateError` if the files cannot be read, or do not fit one another."""
    try:
        return _read(home, (home / PROOF).stat().st_mtime_ns)
    except FileNotFoundError:
        return None


@lru_cache(4)
def _read(home: Path, written: int) -> Logged:
    try:
        proof = TlogProof.parse((home / PROOF).read_bytes())
        leaf = EpochLeaf.decode((home / LEAF).read_bytes())
        return Logged.of(leaf, proof, (home / TREE).read_bytes())
    except (OSError, ProtocolError) as error:
        raise StateError(f"{PROOF} of epoch {home.name} cannot be used: {error}") from error
