"""Batches with their entries in the clear: a proposal, or the record of what an epoch was published with.

A set file (docs/reference/set-format.md): hashes, ids and salts of all batches, one after the other; the
batches, as `endorsement.bin` has them; and for each the organisations that were asked, a bit for each
name of the policy, 4 bytes, little-endian. Whoever has it has the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import ClassVar, Final, Self

import numpy as np
from blindmatch_proofs.endorsement import Action, Batch, EndorsementPolicy, Terms, hash_entries, write_table
from blindmatch_proofs.endorsement.batch import KIND_BATCHES, LEAF_BYTES, TAIL, UNSIGNED, build_batch
from blindmatch_proofs.epoch import Endorsement
from blindmatch_protocol.codec import Buffer, Rows
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import EntryBatch, Info
from blindmatch_protocol.contract.publishing import (
    HASH_BYTES,
    SALT_BYTES,
    HeldEntries,
    joined,
    reserved_rows,
)
from blindmatch_protocol.contract.steps import RESERVED, SIGNATURE_BYTES
from blindmatch_protocol.crypto.ed25519 import is_signature
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.sets.plain_list import KIND_HASHES, KIND_IDS, KIND_SALTS
from msgspec import Struct, field

from blindmatch_server.curator.source import ListError
from blindmatch_server.storage.files import Ed25519Key

KIND_ASKED: Final = 0x23
"""Organisations asked for each batch, 4 each, little-endian: a bit for each name of the policy."""
NEXT_ID: Final = "next_id"
NAME: Final = "batches.bin"


class Held(Redacted, Struct, frozen=True):
    """A batch, its entries, and the organisations that are asked to endorse it."""

    batch: Batch
    entries: EntryBatch
    asked: frozenset[str]

    @property
    def is_whole(self) -> bool:
        """Has the batch the size and root of its entries?"""
        batch = self.batch
        fresh = build_batch(batch.action, (batch.first_epoch, batch.last_epoch), hash_entries(self.entries))
        return (fresh.size, fresh.root) == (batch.size, batch.root)


class Batches(Redacted, Struct, frozen=True):
    """All batches of an epoch, and the id that the next new entry gets; one is given once."""

    epoch: int
    next_id: int
    held: tuple[Held, ...] = ()

    def with_action(self, action: Action) -> Iterable[Held]:
        """Those in which entries are listed, or removed."""
        return (one for one in self.held if one.batch.action is action)

    def listed(self, epoch: int) -> EntryBatch:
        """The entries that are listed in an epoch, in the order of their ids."""
        holding = [one for one in self.held if one.batch.is_valid_in(epoch)]
        every = joined(one.entries for one in holding if one.batch.action is Action.LIST)
        removed = joined(one.entries for one in self.with_action(Action.REMOVE)).ids
        ids, first = np.unique(every.ids, return_index=True)
        return every.take(first[~np.isin(ids, removed)])

    def endorsement(self, info: Info, terms: Terms) -> Endorsement:
        """What the epoch's leaf names, and what stands beside its set."""
        root = terms.compute_root(one.batch for one in self.held)
        return Endorsement(root, terms.policy.encode(), self.table(info))

    def table(self, info: Info) -> bytes:
        """`endorsement.bin` of these batches, each of which is signed."""
        out = BytesIO()
        leaves = [
            np.frombuffer(b"".join(hash_entries(one.entries)), np.uint8).reshape(-1, LEAF_BYTES)
            for one in self.held
        ]
        write_table(
            out, info, self.epoch, [one.batch for one in self.held], leaves, len(self.listed(self.epoch))
        )
        return out.getvalue()

    def encode(self, info: Info, policy: EndorsementPolicy) -> bytes:
        out = BytesIO()
        every = joined(one.entries for one in self.held)
        writer = SetFileWriter(out, Identity(info.name, info.version, self.epoch, {NEXT_ID: self.next_id}))
        for kind, column in ((KIND_HASHES, every.hashes), (KIND_IDS, every.ids), (KIND_SALTS, every.salts)):
            writer.section(kind, [np.ascontiguousarray(column).tobytes()], len(every))
        unsigned = (UNSIGNED,) * len(policy.organisations)
        rows = [one.batch.tail + b"".join(one.batch.signatures or unsigned) for one in self.held]
        masks = [sum(1 << n for n, name in enumerate(policy.names) if name in one.asked) for one in self.held]
        asked = [mask.to_bytes(4, "little") for mask in masks]
        writer.section(KIND_BATCHES, [b"".join(rows)], len(rows))
        writer.section(KIND_ASKED, [b"".join(asked)], len(rows))
        writer.finish(len(every))
        return out.getvalue()

    @classmethod
    def decode(cls, raw: Buffer, info: Info, policy: EndorsementPolicy) -> Self:
        """Read a file; `SetFileError` if it is altered, of another design, or its sections do not fit one
        another."""
        file = SetFile(raw, NAME, info.name, info.version)
        width = TAIL.size + SIGNATURE_BYTES * len(policy.organisations)
        every = _entries(file)
        content = bytes(file.section(KIND_BATCHES))
        masks = np.frombuffer(file.section(KIND_ASKED), "<u4").tolist()
        if len(content) != width * len(masks):
            raise SetFileError(f"{NAME}: batches do not fit the policy's number of keys")
        held = list[Held]()
        at = 0
        for number, mask in enumerate(masks):
            try:
                batch = Batch.unpack(content[number * width : (number + 1) * width])
            except ValueError:
                raise SetFileError(f"{NAME}: unknown action") from None
            held.append(Held(batch, every.part(at, at + batch.size), names_of(mask, policy.names)))
            at += batch.size
        if at != len(every) or not all(one.is_whole for one in held):
            raise SetFileError(f"{NAME}: batches do not have the size and root of their entries")
        return cls(file.identity.epoch, file.identity.parameters[NEXT_ID], tuple(held))


def change(before: EntryBatch, after: EntryBatch) -> tuple[HeldEntries, list[int]]:
    """What leads from one list to another: entries to add, and ids to remove."""
    adds = after.take(~np.isin(after.ids, before.ids))
    return HeldEntries(adds), before.ids[~np.isin(before.ids, after.ids)].tolist()


def _entries(file: SetFile) -> EntryBatch:
    hashes, ids, salts = (bytes(file.section(kind)) for kind in (KIND_HASHES, KIND_IDS, KIND_SALTS))
    count = file.entries
    if (len(hashes), len(ids), len(salts)) != (count * HASH_BYTES, count * 8, count * SALT_BYTES):
        raise SetFileError(f"{NAME}: sections of entries do not fit one another")
    return EntryBatch(
        np.frombuffer(hashes, np.uint8).reshape(count, HASH_BYTES),
        np.frombuffer(ids, "<u8").astype(np.uint64),
        np.frombuffer(salts, np.uint8).reshape(count, SALT_BYTES),
    )


def names_of(mask: int, names: Sequence[str]) -> frozenset[str]:
    """Those whose bit is set in `mask`, the first one's being the lowest."""
    return frozenset(name for place, name in enumerate(names) if mask >> place & 1)


SUBMISSION_TAG: Final = b"blindmatch/endorsement/submission/v1"
KEY_BYTES: Final = 32


class EndorsementError(ListError):
    """A submission, a proposal or an endorsement is not what it must be."""


class OrganisationKey(Ed25519Key, frozen=True):
    NAME: ClassVar[str] = "organisation"

    def submission(self, deployment: bytes, digest: str) -> bytes:
        """The signature of a submitted list: of the deployment's key and the list's digest in hex."""
        return self._key.sign(_submitted(deployment, digest)).signature

    def endorse(self, name: str, terms: Terms, proposal: Batches, own: Rows) -> SignedProposal:
        """Sign the batches of a proposal in which this organisation is asked and knows every hash, by those
        of its pictures, `own`, uint8 (n, 32); `terms` come from its own configuration. `EndorsementError` if
        the policy has no such key, or a hash is proposed twice."""
        if (name, self.public) not in [(one.name, one.key) for one in terms.policy.organisations]:
            raise EndorsementError(f"the policy has no organisation {name} with this key")
        known = frozenset(map(bytes, own))
        signed = list[bytes]()
        refused = dict[int, str]()
        hashes = [bytes(row) for held in proposal.with_action(Action.LIST) for row in held.entries.hashes]
        if len(set(hashes)) < len(hashes):
            raise EndorsementError("the proposal lists a hash twice, under two ids")
        for number, held in enumerate(proposal.held):
            reason = _objection(held, known) if name in held.asked else ""
            if reason:
                refused[number] = reason
            agrees = name in held.asked and not reason
            signed.append(terms.sign(held.batch, self._key) if agrees else UNSIGNED)
        return SignedProposal(self.public, tuple(signed), refused)


class SignedProposal(Struct, frozen=True):
    """An organisation's signatures of a proposal.

    Attributes:
        key: it signed with, 32 bytes.
        signatures: one for each batch; `UNSIGNED` where it did not.
        refused: why it did not sign, by the batch's number, where it was asked.
    """

    key: bytes
    signatures: tuple[bytes, ...]
    refused: dict[int, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The key, then 64 bytes for each batch."""
        return self.key + b"".join(self.signatures)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read it back; raises `EndorsementError` for another length."""
        rest = len(raw) - KEY_BYTES
        if rest < 0 or rest % SIGNATURE_BYTES:
            raise EndorsementError("an endorsement is a key and whole signatures")
        cut = range(KEY_BYTES, len(raw), SIGNATURE_BYTES)
        return cls(raw[:KEY_BYTES], tuple(raw[at : at + SIGNATURE_BYTES] for at in cut))


def check_submission(keys: Iterable[bytes], deployment: bytes, digest: str, signature: bytes) -> None:
    """Make sure that the holder of one of `keys` submitted the list with a digest to this deployment;
    `EndorsementError` if not."""
    if not any(is_signature(key, _submitted(deployment, digest), signature) for key in keys):
        raise EndorsementError("a submission must be signed by its organisation for this deployment")


def _submitted(deployment: bytes, digest: str) -> bytes:
    return SUBMISSION_TAG + deployment + digest.encode()


def _objection(held: Held, known: frozenset[bytes]) -> str:
    """Why an organisation with these hashes does not sign a batch; empty if it does."""
    mine = sum(bytes(row) in known for row in held.entries.hashes)
    if not held.is_whole:
        return "the batch does not have the root of its entries"
    reserved = int(reserved_rows(held.entries.ids, held.entries.salts).sum())
    if held.batch.action is Action.LIST and reserved:
        return f"{reserved} of {len(held.entries)} entries would be disabled: {RESERVED}"
    if held.batch.action is Action.LIST and mine < len(held.entries):
        return f"{len(held.entries) - mine} of {len(held.entries)} hashes are of no picture of its own"
    if held.batch.action is Action.REMOVE and mine:
        return f"{mine} of {len(held.entries)} entries are of pictures that it still submits"
    return ""
