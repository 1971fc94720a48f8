"""Batches of entries that organisations endorse with one signature each, and the policy of who must.

A signature is over a statement with the batch's Merkle root. An entry's leaf is SHA-256(0x00 || tag || hash
|| id || salt), the tree that of RFC 9162, section 2.1.1, over a batch's leaves in ascending order, so that
places say nothing of the list. The salt, 128 random bits that only the list and whoever opened the label
have, hides the hash in a leaf. What is signed binds the root to deployment, design, policy, action and
epochs. A batch of one entry is a signature of that entry. The policy is the same on every device, at the
centre and in the log.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from enum import IntEnum
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Self

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, Text, UInt
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntryBatch
from blindmatch_protocol.contract.steps import SIGNATURE_BYTES
from blindmatch_protocol.messages.epoch_manifest import NAME_MOST
from blindmatch_protocol.setfile.files import root_of
from msgspec import Struct
from msgspec.structs import force_setattr
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

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
    organisations: Annotated[tuple[Organisation, ...], Sequence(Nested(Organisation), MOST_KEYS)]
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
        """Is `epoch` one of its epochs?"""
        return self.first_epoch <= epoch <= self.last_epoch


class Terms(Redacted, Struct, frozen=True):
    """What endorsements must be over to count here.

    Attributes:
        deployment: the curator's public key, 32 bytes.
    """

    SHOWN: ClassVar = ("deployment", "design", "policy")

    deployment: bytes
    design: str
    policy: EndorsementPolicy
    _prefix: bytes = b""

    def __post_init__(self) -> None:
        blank = BatchStatement(self.deployment, self.design, self.policy.digest, 0, 0, 0, 0, bytes(32))
        force_setattr(self, "_prefix", blank.encode()[: -TAIL.size])

    def statement(self, batch: Batch) -> bytes:
        """The encoded `BatchStatement` of a batch."""
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
        signed, names = SIGNATURE_TAG + self.statement(batch), set[str]()
        for one, signature in zip(self.policy.organisations, batch.signatures, strict=True):
            if signature == UNSIGNED:
                continue
            try:
                VerifyKey(one.key).verify(signed, signature)
            except (BadSignatureError, ValueError):
                return Failed(
                    f"a signature of {one.name} is over another deployment, design, policy or batch"
                )
            names.add(one.name)
        return frozenset(names)

    def verify_batch(self, batch: Batch, epoch: int) -> Verdict:
        """Whether enough organisations have signed a batch that holds in `epoch`."""
        if not batch.holds_in(epoch):
            return Failed(f"endorsed from epoch {batch.first_epoch} to {batch.last_epoch}, not for {epoch}")
        signed, listing, policy = self.signers(batch), batch.action is Action.LIST, self.policy
        if isinstance(signed, Failed):
            return signed
        needed = policy.needed if listing else policy.needed_to_remove
        if len(signed) >= needed:
            return Passed()
        what, of = "listed" if listing else "removed", len(policy.names)
        return Failed(f"{what} by {len(signed)} of {of} organisations, {needed} are needed")


def leaf_of(entry_hash: bytes, entry_id: int, salt: bytes) -> bytes:
    """The leaf of an entry, 32 bytes."""
    return sha256(LEAF_TAG + entry_hash + entry_id.to_bytes(8, "big") + salt).digest()


def leaves_of(entries: EntryBatch) -> list[bytes]:
    """The leaves of entries, in their order."""
    columns = (entries.hashes.tobytes(), entries.ids.tolist(), entries.salts.tobytes())
    hashes, ids, salts = columns
    return [
        leaf_of(hashes[32 * n : 32 * n + 32], ids[n], salts[16 * n : 16 * n + 16]) for n in range(len(ids))
    ]


def batch_of(action: Action, epochs: tuple[int, int], leaves: Iterable[bytes]) -> Batch:
    """The batch of these leaves, in whatever order, that nobody has signed."""
    ascending = sorted(leaves)
    return Batch(action, *epochs, len(ascending), root_of(ascending))
