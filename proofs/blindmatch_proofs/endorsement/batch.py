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
        order = [(one.name, one.key) for one in self.organisations]
        if any(a >= b for a, b in pairwise(order)):
            raise ProtocolError(self.NAME, "must ascend by name and key, each once", "organisations")
        if len({key for _, key in order}) < len(order):
            raise ProtocolError(self.NAME, "a key is of one organisation", "organisations")
        if not 1 <= self.needed <= len(self.names):
            raise ProtocolError(self.NAME, "must be 1 to the number of organisations", "needed")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.name for one in self.organisations))

    @property
    def needed_to_remove(self) -> int:
        """How many must agree to remove an entry: so many that too few are left to vouch for it."""
        return len(self.names) - self.needed + 1

    @property
    def digest(self) -> bytes:
        """What stands for the policy: SHA-256 of a tag and its encoding, 32 bytes."""
        return sha256(DIGEST_TAG + self.encode()).digest()


def policy_of(needed: int, keys: Iterable[tuple[str, bytes]]) -> EndorsementPolicy:
    """The policy of organisations by name and key, in whatever order; `ProtocolError` if a name, a key or the
    number breaks its rule."""
    organisations = tuple(Organisation(*one) for one in sorted(keys))
    return EndorsementPolicy.decode(EndorsementPolicy(needed, organisations).encode())


SIGNATURE_TAG: Final = b"blindmatch/endorsement/signature/v1"
LEAF_TAG: Final = b"\0blindmatch/endorsement/entry/v1"
LEAF_BYTES: Final = 32
UNSIGNED: Final = bytes(SIGNATURE_BYTES)
TAIL: Final = struct.Struct(">BQQQ32s")
"""The end of a statement: action, first and last epoch, size, root."""


class Action(IntEnum):
    """What is endorsed of the entries of a batch."""

    LIST = 1
    REMOVE = 2


class BatchStatement(Message, tag=0x24, name="endorsement/batch"):
    """What an organisation signs."""

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
        """As a statement ends, 57 bytes."""
        return TAIL.pack(self.action, self.first_epoch, self.last_epoch, self.size, self.root)

    @classmethod
    def unpack(cls, row: bytes) -> Self:
        """Of a statement's end and the signatures after it; `ValueError` for an unknown action."""
        action, first, last, size, root = TAIL.unpack_from(row)
        signatures = (row[at : at + SIGNATURE_BYTES] for at in range(TAIL.size, len(row), SIGNATURE_BYTES))
        return cls(Action(action), first, last, size, root, tuple(signatures))

    def holds_in(self, epoch: int) -> bool:
        return self.first_epoch <= epoch <= self.last_epoch


class Terms(Redacted, Struct, frozen=True):
    """What endorsements must be over to count here."""

    SHOWN: ClassVar = ("deployment", "design", "policy")

    deployment: bytes
    design: str
    policy: EndorsementPolicy
    _prefix: bytes = b""

    def __post_init__(self) -> None:
        blank = BatchStatement(self.deployment, self.design, self.policy.digest, 0, 0, 0, 0, bytes(32))
        force_setattr(self, "_prefix", blank.encode()[: -TAIL.size])

    def statement(self, batch: Batch) -> bytes:
        return self._prefix + batch.tail

    def statement_leaves(self, batches: Iterable[Batch]) -> list[bytes]:
        """Leaf hashes of the statements of batches (RFC 9162, section 2.1.1)."""
        return [merkle.leaf_hash(self.statement(batch)) for batch in batches]

    def root(self, batches: Iterable[Batch]) -> bytes:
        """What binds all batches of an epoch, 32 bytes: the root over their statements."""
        return root_of(self.statement_leaves(batches))

    def sign(self, batch: Batch, key: SigningKey) -> bytes:
        """An organisation's signature of a batch (RFC 8032, section 5.1.6), 64 bytes; `ProtocolError` if the
        batch breaks a rule."""
        statement = self.statement(batch)
        BatchStatement.decode(statement)
        return key.sign(SIGNATURE_TAG + statement).signature

    def signers(self, batch: Batch) -> frozenset[str] | Failed:
        """Names of the organisations whose signatures a batch bears; each counts once, whatever its keys."""
        signed = SIGNATURE_TAG + self.statement(batch)
        names = set[str]()
        for one, signature in zip(self.policy.organisations, batch.signatures, strict=True):
            if signature == UNSIGNED:
                continue
            if not is_signature(one.key, signed, signature):
                return Failed(
                    f"a signature of {one.name} is over another deployment, design, policy or batch"
                )
            names.add(one.name)
        return frozenset(names)

    def verify_batch(self, batch: Batch, epoch: int) -> Verdict:
        """Whether enough organisations have signed a batch that holds in `epoch`."""
        if not batch.holds_in(epoch):
            return Failed(f"endorsed from epoch {batch.first_epoch} to {batch.last_epoch}, not for {epoch}")
        signed = self.signers(batch)
        listing = batch.action is Action.LIST
        policy = self.policy
        if isinstance(signed, Failed):
            return signed
        needed = policy.needed if listing else policy.needed_to_remove
        if len(signed) >= needed:
            return Passed()
        what = "listed" if listing else "removed"
        of = len(policy.names)
        return Failed(f"{what} by {len(signed)} of {of} organisations, {needed} are needed")


def leaf_of(entry_hash: bytes, entry_id: int, salt: bytes) -> bytes:
    """The leaf of an entry, 32 bytes."""
    return sha256(LEAF_TAG + entry_hash + entry_id.to_bytes(8, "big") + salt).digest()


def leaves_of(entries: EntryBatch) -> list[bytes]:
    rows = zip(map(bytes, entries.hashes), entries.ids.tolist(), map(bytes, entries.salts), strict=True)
    return [leaf_of(*row) for row in rows]


def batch_of(action: Action, epochs: tuple[int, int], leaves: Iterable[bytes]) -> Batch:
    """The batch of these leaves, in whatever order, that nobody has signed."""
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

    def unverified(self) -> EndorsedTable:
        """The same table without comparing sections with their digests, which reads all of them: for who
        verifies what follows from it."""
        other = copy(self)
        other._section = self._unverified
        return other

    def _unverified(self, kind: int) -> memoryview:
        row = self._file.row(kind)
        return self._data[row.offset : row.end]

    def batch(self, number: int) -> Batch:
        """A batch, by its number from 0 on. Raises `SetFileError` if it is none."""
        row = bytes(self._section(KIND_BATCHES)[number * self._width : (number + 1) * self._width])
        try:
            return Batch.unpack(row)
        except (ValueError, struct.error):
            raise SetFileError(f"{FILE}: batch {number} is missing, or has an unknown action") from None

    def batches(self) -> Iterator[Batch]:
        return map(self.batch, range(self.size))

    @property
    def heads(self) -> npt.NDArray[Any]:
        """What stands at the front of all batches: `action`, `first_epoch`, `last_epoch`, `size`."""
        names = ["action", "first_epoch", "last_epoch", "size"]
        kinds = ["u1", ">u8", ">u8", ">u8"]
        places = [0, 1, 9, 17]
        kind = np.dtype({"names": names, "formats": kinds, "offsets": places, "itemsize": self._width})
        return np.frombuffer(self._section(KIND_BATCHES), kind)

    @property
    def leaves(self) -> Rows:
        """All leaves, uint8 (n, 32)."""
        return np.frombuffer(self._section(KIND_LEAVES), np.uint8).reshape(-1, LEAF_BYTES)

    @property
    def numbers(self) -> npt.NDArray[np.uint32]:
        """The batch of each leaf, uint32 (n,)."""
        return np.frombuffer(self._section(KIND_NUMBERS), "<u4")

    def numbers_with(self, leaf: bytes) -> list[int]:
        """Numbers of the batches a leaf is in."""
        raw = self._section(KIND_LEAVES)
        numbers = self.numbers

        def at(row: int) -> bytes:
            return bytes(raw[row * LEAF_BYTES : (row + 1) * LEAF_BYTES])

        row = bisect_left(range(len(numbers)), leaf, key=at)
        found = list[int]()
        while row < len(numbers) and at(row) == leaf:
            found.append(int(numbers[row]))
            row += 1
        return found

    def leaves_by_batch(self) -> Callable[[int], list[bytes]]:
        """Gives the leaves of a batch, ascending, by its number; `SetFileError` if leaves are not in order,
        one is of no batch, or a batch has another number of them than it says."""
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

        def of(number: int) -> list[bytes]:
            content = raw[order[ends[number] - counts[number] : ends[number]]].tobytes()
            return [content[n : n + LEAF_BYTES] for n in range(0, len(content), LEAF_BYTES)]

        return of

    def leaves_with(self, action: Action, until: int = 0, since: int = 0) -> npt.NDArray[np.bytes_]:
        """Leaves, each once and ascending, of batches with an action that hold up to epoch `until`, and from
        `since` on at the earliest."""
        heads = self.heads
        holds = (heads["last_epoch"] >= until) & (heads["first_epoch"] >= since)
        rows = ((heads["action"] == action) & holds)[self.numbers]
        # stable: one pass where they ascend, as they do in every table that passes; `np.unique` sorts anew
        found = np.sort(self.leaves.view(_SCALARS).ravel()[rows], kind="stable")
        first = np.ones(len(found), bool)
        first[1:] = found[1:] != found[:-1]
        return found[first]

    def ends(self, action: Action, until: int = 0) -> tuple[npt.NDArray[np.bytes_], npt.NDArray[np.uint64]]:
        """As `leaves_with`, with the last epoch of each. Leaves must ascend, as `leaves_by_batch` checks."""
        last = self.heads["last_epoch"].astype(np.uint64)[self.numbers]
        rows = (self.heads["action"] == action)[self.numbers] & (last >= until)
        leaves, first = np.unique(self.leaves.view(_SCALARS).ravel()[rows], return_index=True)
        return leaves, np.maximum.reduceat(last[rows], first)

    def listed(self, until: int = 0) -> npt.NDArray[np.bytes_]:
        """Leaves of the entries that are listed: endorsed, up to epoch `until`, and not removed."""
        return np.setdiff1d(self.leaves_with(Action.LIST, until), self.leaves_with(Action.REMOVE), True)


def write_table(
    out: Writer, info: Info, epoch: int, batches: Sequence[Batch], leaves: Sequence[Rows], entries: int
) -> bytes:
    """Write a table of signed batches, each with a signature or `UNSIGNED` for each key, and of the leaves of
    each, uint8 (n, 32); its overall digest."""
    numbers = np.repeat(np.arange(len(batches), dtype="<u4"), [len(part) for part in leaves])
    every = np.concatenate([np.zeros((0, LEAF_BYTES), np.uint8), *leaves])
    order = np.lexsort((numbers, every.view(_SCALARS).ravel()))
    writer = SetFileWriter(out, Identity(info.name, info.version, epoch, {}))
    rows = [batch.tail + b"".join(batch.signatures) for batch in batches]
    writer.section(KIND_BATCHES, [b"".join(rows)], len(batches))
    writer.section(KIND_LEAVES, [every[order].tobytes()], len(order))
    writer.section(KIND_NUMBERS, [numbers[order].tobytes()], len(order))
    return writer.finish(entries)
