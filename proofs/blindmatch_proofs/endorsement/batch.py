"""Batches of entries that organisations endorse with one signature each, and the policy of who must.

A signature is over a statement with the batch's Merkle root. An entry's leaf is SHA-256(0x00 || tag || hash
|| id || salt), the tree that of RFC 9162, section 2.1.1, over a batch's leaves in ascending order, so that
places say nothing of the list. The salt, 128 random bits that only the list and whoever opened the label
have, hides the hash in a leaf. What is signed binds the root to deployment, design, policy, action and
epochs. A batch of one entry is a signature of that entry. The policy is the same on every device, at the
centre and in the log.

`endorsement.bin` (`EndorsedTable`), beside an epoch's set, is a set file (docs/set-format.md) of three
sections: the batches, a statement's end and a signature for each key of the policy; the leaves of all of
them, ascending; and for each leaf the number of its batch, 4 bytes, little-endian. A leaf that is listed and
then removed is there twice, in its two batches.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from enum import IntEnum
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Self

import numpy as np
import numpy.typing as npt
from blindmatch_protocol.codec import Buffer, Fixed, Message, Nested, Rows, Text, UInt
from blindmatch_protocol.codec import Sequence as Several
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntryBatch, Info
from blindmatch_protocol.contract.publishing import Writer
from blindmatch_protocol.contract.steps import SIGNATURE_BYTES
from blindmatch_protocol.crypto.ed25519 import is_signature
from blindmatch_protocol.messages.epoch_manifest import NAME_MOST
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.setfile.files import root_of
from msgspec import Struct
from msgspec.structs import force_setattr
from nacl.signing import SigningKey

from blindmatch_proofs import merkle
from blindmatch_proofs.verdict import Failed, Passed, Verdict

DIGEST_TAG: Final = b"blindmatch/endorsement/policy/v1"
KEY_BYTES: Final = 32
"""Ed25519 (RFC 8032, section 5.1)."""
NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
MOST_KEYS: Final = 16


class Organisation(Message, tag=0x22, name="endorsement/organisation"):
    """A key of an organisation; one that changes its key has two for a while."""

    name: Annotated[str, Text(32)]
    """1 to 32 lower-case letters, digits and inner dashes."""
    key: Annotated[bytes, Fixed(KEY_BYTES)]
    """Ed25519 public key, of this organisation alone."""

    def check(self) -> None:
        """A name has 1 to 32 lower-case letters, digits and inner dashes, so that one has one spelling."""
        if not NAME.fullmatch(self.name):
            raise ProtocolError(self.NAME, "is 1 to 32 lower-case letters, digits and inner dashes", "name")


class EndorsementPolicy(Message, tag=0x23, name="endorsement/policy"):
    """Who may endorse entries. Organisations are counted by name, whatever keys they sign with."""

    needed: Annotated[int, UInt(8)]
    """Names that an entry needs, 1 to all; it is removed by all - needed + 1."""
    organisations: Annotated[tuple[Organisation, ...], Several(Nested(Organisation), MOST_KEYS)]
    """In ascending order of name and key, each key once."""

    def check(self) -> None:
        """There are as many organisations as are needed, each key is of one alone."""
        order = [(organisation.name, organisation.key) for organisation in self.organisations]
        if any(first >= second for first, second in pairwise(order)):
            raise ProtocolError(self.NAME, "must ascend by name and key, each once", "organisations")
        if len({key for _, key in order}) < len(order):
            raise ProtocolError(self.NAME, "a key is of one organisation", "organisations")
        if not 1 <= self.needed <= len(self.names):
            raise ProtocolError(self.NAME, "must be 1 to the number of organisations", "needed")

    @property
    def names(self) -> tuple[str, ...]:
        """Return the organisations' names, each once."""
        return tuple(dict.fromkeys(organisation.name for organisation in self.organisations))

    @property
    def needed_to_remove(self) -> int:
        """Return how many must agree to remove an entry: so many that too few are left to vouch for it."""
        return len(self.names) - self.needed + 1

    @property
    def digest(self) -> bytes:
        """Return the policy's digest: SHA-256 of a tag and its encoding, 32 bytes."""
        return sha256(DIGEST_TAG + self.encode()).digest()


def build_endorsement_policy(needed: int, keys: Iterable[tuple[str, bytes]]) -> EndorsementPolicy:
    """Build the policy of organisations, given as names with keys in any order.

    Raises:
        ProtocolError: A name, a key or the number `needed` breaks its rule.
    """
    organisations = tuple(Organisation(name, key) for name, key in sorted(keys))
    return EndorsementPolicy.decode(EndorsementPolicy(needed, organisations).encode())


SIGNATURE_TAG: Final = b"blindmatch/endorsement/signature/v1"
LEAF_TAG: Final = b"\0blindmatch/endorsement/entry/v1"
LEAF_BYTES: Final = 32
UNSIGNED: Final = bytes(SIGNATURE_BYTES)
TAIL: Final = struct.Struct(">BQQQ32s")
"""The end of a statement: action, first and last epoch, size, root."""


class Action(IntEnum):
    """The change that an endorsement is for: the entries of a batch are listed, or removed."""

    LIST = 1
    REMOVE = 2


class BatchStatement(Message, tag=0x24, name="endorsement/batch"):
    """The statement of an organisation that it endorses a batch of entries, in a range of epochs."""

    deployment: Annotated[bytes, Fixed(32)]
    """The curator's public key."""
    design: Annotated[str, Text(NAME_MOST)]
    policy: Annotated[bytes, Fixed(32)]
    """Digest of the policy."""
    action: Annotated[int, UInt(8)]
    """1: the entries are listed; 2: they are removed."""
    first_epoch: Annotated[int, UInt(64)]
    """At least 1."""
    last_epoch: Annotated[int, UInt(64)]
    """Not before the first."""
    size: Annotated[int, UInt(64)]
    """Entries, at least 1."""
    root: Annotated[bytes, Fixed(32)]
    """Over the leaves of the entries."""

    def check(self) -> None:
        """A known action, a range that is one, and entries."""
        if self.action not in (Action.LIST, Action.REMOVE):
            raise ProtocolError(self.NAME, "must be 1 (list) or 2 (remove)", "action")
        if not 1 <= self.first_epoch <= self.last_epoch:
            raise ProtocolError(self.NAME, "must not be before the first", "last_epoch")
        if not self.size:
            raise ProtocolError(self.NAME, "must not be empty", "size")


class Batch(Struct, frozen=True):
    """A batch as it stands beside a set.

    Attributes:
        first_epoch, last_epoch: when that holds.
        root: over their leaves, 32 bytes.
        signatures: one for each key of the policy, in its order; `UNSIGNED` where there is none.
    """

    action: Action
    first_epoch: int
    last_epoch: int
    size: int
    root: bytes
    signatures: tuple[bytes, ...] = ()

    @property
    def tail(self) -> bytes:
        """Return the end of a statement on the batch, 57 bytes."""
        return TAIL.pack(self.action, self.first_epoch, self.last_epoch, self.size, self.root)

    @classmethod
    def unpack(cls, row: bytes) -> Self:
        """Read a batch from a statement's end and its signatures; `ValueError` for an unknown action."""
        action, first, last, size, root = TAIL.unpack_from(row)
        starts = range(TAIL.size, len(row), SIGNATURE_BYTES)
        signatures = (row[start : start + SIGNATURE_BYTES] for start in starts)
        return cls(Action(action), first, last, size, root, tuple(signatures))

    def is_valid_in(self, epoch: int) -> bool:
        """Tell if the endorsement covers `epoch`."""
        return self.first_epoch <= epoch <= self.last_epoch


class Terms(Redacted, Struct, frozen=True):
    """The deployment, design and policy that an endorsement must be signed for to count here."""

    SHOWN: ClassVar = ("deployment", "design", "policy")

    deployment: bytes
    design: str
    policy: EndorsementPolicy
    _prefix: bytes = b""

    def __post_init__(self) -> None:
        blank = BatchStatement(self.deployment, self.design, self.policy.digest, 0, 0, 0, 0, bytes(32))
        force_setattr(self, "_prefix", blank.encode()[: -TAIL.size])

    def encode_statement(self, batch: Batch) -> bytes:
        """Return the encoded statement on a batch; its fields are not checked."""
        return self._prefix + batch.tail

    def hash_statements(self, batches: Iterable[Batch]) -> list[bytes]:
        """Return the leaf hashes of the statements on batches (RFC 9162, section 2.1.1)."""
        return [merkle.leaf_hash(self.encode_statement(batch)) for batch in batches]

    def compute_root(self, batches: Iterable[Batch]) -> bytes:
        """Return the root over the statements, 32 bytes, which binds all batches of an epoch."""
        return root_of(self.hash_statements(batches))

    def sign(self, batch: Batch, key: SigningKey) -> bytes:
        """Sign a batch with an organisation's key (RFC 8032, section 5.1.6).

        Returns:
            The signature, 64 bytes.

        Raises:
            ProtocolError: The batch breaks a rule.
        """
        statement = self.encode_statement(batch)
        BatchStatement.decode(statement)
        return key.sign(SIGNATURE_TAG + statement).signature

    def verify_signatures(self, batch: Batch) -> frozenset[str] | Failed:
        """Verify a batch's signatures.

        Returns:
            The names of the organisations that signed; each counts once, whatever its keys.
        """
        signed = SIGNATURE_TAG + self.encode_statement(batch)
        names = set[str]()
        for organisation, signature in zip(self.policy.organisations, batch.signatures, strict=True):
            if signature == UNSIGNED:
                continue
            if not is_signature(organisation.key, signed, signature):
                return Failed(
                    f"a signature of {organisation.name} is over another deployment, design, policy or batch"
                )
            names.add(organisation.name)
        return frozenset(names)

    def verify_batch(self, batch: Batch, epoch: int) -> Verdict:
        """Verify that enough organisations have signed a batch, and that it is valid in `epoch`."""
        if not batch.is_valid_in(epoch):
            return Failed(f"endorsed from epoch {batch.first_epoch} to {batch.last_epoch}, not for {epoch}")
        signers = self.verify_signatures(batch)
        if isinstance(signers, Failed):
            return signers
        if batch.action is Action.LIST:
            what = "listed"
            needed = self.policy.needed
        else:
            what = "removed"
            needed = self.policy.needed_to_remove
        if len(signers) >= needed:
            return Passed()
        total = len(self.policy.names)
        return Failed(f"{what} by {len(signers)} of {total} organisations, {needed} are needed")


def hash_entry(entry_hash: bytes, entry_id: int, salt: bytes) -> bytes:
    """Return the leaf of an entry, 32 bytes."""
    return sha256(LEAF_TAG + entry_hash + entry_id.to_bytes(8, "big") + salt).digest()


def hash_entries(entries: EntryBatch) -> list[bytes]:
    """Return the leaves of entries, in their order."""
    rows = zip(map(bytes, entries.hashes), entries.ids.tolist(), map(bytes, entries.salts), strict=True)
    return [hash_entry(*row) for row in rows]


def build_batch(action: Action, epochs: tuple[int, int], leaves: Iterable[bytes]) -> Batch:
    """Build an unsigned batch.

    Args:
        epochs: The first and the last epoch that the endorsement covers.
        leaves: The entries' leaves, in any order.
    """
    ascending = sorted(leaves)
    return Batch(action, *epochs, len(ascending), root_of(ascending))


FILE: Final = "endorsement.bin"
KIND_BATCHES: Final = 0x20
"""Batches: action 1, first and last epoch 8 each, size 8, root 32, for each key a signature of 64."""
KIND_LEAVES: Final = 0x21
"""Leaves of all batches, 32 each, ascending."""
KIND_NUMBERS: Final = 0x22
"""The number of each leaf's batch, 4 each, little-endian."""
_SCALARS: Final = "S32"
"""Rows of 32 bytes as scalars that numpy compares as byte strings."""


class EndorsedTable:
    """An opened table of the design of `info`; sections are checked against their digests when they are first
    used; `SetFileError` if it is altered, of another design or epoch, or its sections do not fit."""

    __slots__ = ("_data", "_file", "_section", "_width", "entries", "epoch", "size")

    def __init__(self, data: Buffer, info: Info, epoch: int, keys: int) -> None:
        self._data = memoryview(data).toreadonly().cast("B")
        self._file = SetFile(data, FILE, info.name, info.version, epoch)
        self._section: Callable[[int], memoryview] = self._file.section
        self._width = TAIL.size + SIGNATURE_BYTES * keys
        self.epoch = epoch
        self.entries = self._file.entries
        self.size = self._file.row(KIND_BATCHES).items
        lengths = [self._file.row(kind).length for kind in (KIND_BATCHES, KIND_LEAVES, KIND_NUMBERS)]
        leaves = lengths[2] // 4
        if (
            lengths != [self.size * self._width, leaves * LEAF_BYTES, leaves * 4]
            or len(self._file.sections) != 3
        ):
            raise SetFileError(f"{FILE}: sections do not fit one another, or the policy's number of keys")

    def check_intact(self) -> None:
        """Compare every section with its digest, once; later look-ups take no time for that; `SetFileError`
        if one was altered."""
        self._file.verify()

    def skip_digests(self) -> EndorsedTable:
        """Return a view of the table that compares no section with its digest, which would read all of it.

        Use it only if the result is verified.
        """
        other = copy(self)
        other._section = self._read_unverified
        return other

    def _read_unverified(self, kind: int) -> memoryview:
        row = self._file.row(kind)
        return self._data[row.offset : row.end]

    def read_batch(self, number: int) -> Batch:
        """Read a batch by its number, from 0 on; `SetFileError` if there is none."""
        row = bytes(self._section(KIND_BATCHES)[number * self._width : (number + 1) * self._width])
        try:
            return Batch.unpack(row)
        except (ValueError, struct.error):
            raise SetFileError(f"{FILE}: batch {number} is missing, or has an unknown action") from None

    def read_batches(self) -> Iterator[Batch]:
        """Read all batches in the order of their numbers; raises as `read_batch`."""
        return map(self.read_batch, range(self.size))

    @property
    def heads(self) -> npt.NDArray[Any]:
        """Return the first fields of all batches: `action`, `first_epoch`, `last_epoch`, `size`."""
        names = ["action", "first_epoch", "last_epoch", "size"]
        kinds = ["u1", ">u8", ">u8", ">u8"]
        places = [0, 1, 9, 17]
        kind = np.dtype({"names": names, "formats": kinds, "offsets": places, "itemsize": self._width})
        return np.frombuffer(self._section(KIND_BATCHES), kind)

    @property
    def leaves(self) -> Rows:
        """Return all leaves, uint8 (n, 32)."""
        return np.frombuffer(self._section(KIND_LEAVES), np.uint8).reshape(-1, LEAF_BYTES)

    @property
    def numbers(self) -> npt.NDArray[np.uint32]:
        """Return the number of each leaf's batch, uint32 (n,)."""
        return np.frombuffer(self._section(KIND_NUMBERS), "<u4")

    def find_batches(self, leaf: bytes) -> list[int]:
        """Return the numbers of the batches that a leaf is in."""
        raw = self._section(KIND_LEAVES)
        numbers = self.numbers

        def read_leaf(row: int) -> bytes:
            return bytes(raw[row * LEAF_BYTES : (row + 1) * LEAF_BYTES])

        row = bisect_left(range(len(numbers)), leaf, key=read_leaf)
        matches = list[int]()
        while row < len(numbers) and read_leaf(row) == leaf:
            matches.append(int(numbers[row]))
            row += 1
        return matches

    def group_leaves(self) -> Callable[[int], list[bytes]]:
        """Group the leaves by their batch.

        Returns:
            A function that returns the leaves of a batch, ascending, by the batch's number.

        Raises:
            SetFileError: Leaves are not in order, one is of no batch, or a batch has another number of them
                than it says.
        """
        leaves = self.leaves.view(_SCALARS).ravel()
        numbers = self.numbers
        same = leaves[1:] == leaves[:-1]
        if not (np.where(same, numbers[1:] > numbers[:-1], leaves[1:] > leaves[:-1])).all():
            raise SetFileError(f"{FILE}: leaves must ascend, each once in a batch")
        if len(numbers) and numbers.max() >= self.size:  # before anything as long as the greatest is made
            raise SetFileError(f"{FILE}: numbers of batches must be below {self.size}")
        counts = np.bincount(numbers, minlength=self.size)
        if not np.array_equal(self.heads["size"], counts):
            raise SetFileError(f"{FILE}: a batch has another number of entries than it says")
        order = np.argsort(numbers, kind="stable")
        ends = np.cumsum(counts)
        raw = self.leaves

        def read_leaves(number: int) -> list[bytes]:
            content = raw[order[ends[number] - counts[number] : ends[number]]].tobytes()
            return [content[start : start + LEAF_BYTES] for start in range(0, len(content), LEAF_BYTES)]

        return read_leaves

    def select_leaves(self, action: Action, until: int = 0, since: int = 0) -> npt.NDArray[np.bytes_]:
        """Select the leaves of the batches with an action.

        Args:
            until: Leave out batches whose last epoch is before this one.
            since: Leave out batches whose first epoch is before this one.

        Returns:
            The leaves, each once and ascending.
        """
        heads = self.heads
        is_in_range = (heads["last_epoch"] >= until) & (heads["first_epoch"] >= since)
        rows = ((heads["action"] == action) & is_in_range)[self.numbers]
        # stable: one pass where they ascend, as they do in every table that passes; `np.unique` sorts anew
        leaves = np.sort(self.leaves.view(_SCALARS).ravel()[rows], kind="stable")
        is_first = np.ones(len(leaves), bool)
        is_first[1:] = leaves[1:] != leaves[:-1]
        return leaves[is_first]

    def find_last_epochs(
        self, action: Action, until: int = 0
    ) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.uint64]]:
        """Select leaves as `select_leaves`, with the last epoch of each.

        Leaves must ascend, as `group_leaves` checks.
        """
        last = self.heads["last_epoch"].astype(np.uint64)[self.numbers]
        rows = (self.heads["action"] == action)[self.numbers] & (last >= until)
        leaves, first = np.unique(self.leaves.view(_SCALARS).ravel()[rows], return_index=True)
        return leaves, np.maximum.reduceat(last[rows], first)

    def select_listed(self, until: int = 0) -> npt.NDArray[np.bytes_]:
        """Select the leaves of listed entries: endorsed, up to epoch `until`, and not removed."""
        endorsed = self.select_leaves(Action.LIST, until)
        removed = self.select_leaves(Action.REMOVE)
        return np.setdiff1d(endorsed, removed, True)


def write_table(
    out: Writer, info: Info, epoch: int, batches: Sequence[Batch], leaves: Sequence[Rows], entries: int
) -> bytes:
    """Write a table of batches.

    Args:
        batches: Signed batches, each with a signature or `UNSIGNED` for each key of the policy.
        leaves: The leaves of each batch, uint8 (n, 32).
        entries: Number of entries of the set.

    Returns:
        The overall digest of the file.
    """
    numbers = np.repeat(np.arange(len(batches), dtype="<u4"), [len(part) for part in leaves])
    every = np.concatenate([np.zeros((0, LEAF_BYTES), np.uint8), *leaves])
    order = np.lexsort((numbers, every.view(_SCALARS).ravel()))
    writer = SetFileWriter(out, Identity(info.name, info.version, epoch, {}))
    rows = [batch.tail + b"".join(batch.signatures) for batch in batches]
    writer.section(KIND_BATCHES, [b"".join(rows)], len(batches))
    writer.section(KIND_LEAVES, [every[order].tobytes()], len(order))
    writer.section(KIND_NUMBERS, [numbers[order].tobytes()], len(order))
    return writer.finish(entries)
