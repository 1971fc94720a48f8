"""That k organisations endorsed an entry, in a few hundred bytes: for whoever has no table, and no list.

entry's leaf --path--> root of its batch, in a statement <-- signatures of k organisations
statement --path--> root of all statements of an epoch = `endorsement_root` of the epoch's leaf in the log
"""

from __future__ import annotations

from typing import Annotated, Final

from blindmatch_protocol.codec import Fixed, Message, Nested, Sequence, UInt
from blindmatch_protocol.contract import Label

from blindmatch_proofs import merkle
from blindmatch_proofs.endorsement.batch import Action, Batch, BatchStatement, Terms, leaf_of
from blindmatch_proofs.endorsement.policy import MOST_KEYS
from blindmatch_proofs.endorsement.table import EndorsedTable
from blindmatch_proofs.verdict import Failed, Passed, Verdict

PATH_MOST: Final = merkle.PATH_MOST


class EndorsementProof(Message, tag=0x25, name="endorsement/proof"):
    """That an entry was endorsed; paths are inclusion proofs (RFC 9162, section 2.1.3)."""

    statement: Annotated[BatchStatement, Nested(BatchStatement)]
    """Of the entry's batch."""
    signatures: Annotated[tuple[bytes, ...], Sequence(Fixed(64), MOST_KEYS)]
    """One for each key of the policy, in its order; zeros where there is none."""
    index: Annotated[int, UInt(64)]
    """Of the entry's leaf among those of its batch."""
    path: Annotated[tuple[bytes, ...], Sequence(Fixed(32), PATH_MOST)]
    """To the statement's root."""
    number: Annotated[int, UInt(32)]
    """Of the batch among those of the epoch."""
    batches: Annotated[int, UInt(32)]
    """How many those are."""
    batches_path: Annotated[tuple[bytes, ...], Sequence(Fixed(32), PATH_MOST)]
    """To the endorsement root in the epoch's 0x1e."""

    @property
    def batch(self) -> Batch:
        """The batch that was signed."""
        one = self.statement
        return Batch(Action(one.action), one.first_epoch, one.last_epoch, one.size, one.root, self.signatures)


def prove(table: EndorsedTable, terms: Terms, label: Label) -> EndorsementProof | None:
    """The proof for the entry of a label; None if the table has none that lists it.

    Takes a pass over the entry's batch: seconds for a million entries.

    Raises:
        SetFileError: if the table is altered.
    """
    leaf = leaf_of(label.entry_hash, label.entry_id, label.salt)
    leaves_of = table.leaves_by_batch()
    for number in table.numbers_with(leaf):
        batch, leaves = table.batch(number), leaves_of(number)
        if batch.action is not Action.LIST or not batch.holds_in(table.epoch):
            continue
        return proof_of(terms, leaf, leaves, number, list(table.batches()))
    return None


def proof_of(
    terms: Terms, leaf: bytes, leaves: list[bytes], number: int, batches: list[Batch]
) -> EndorsementProof:
    """The proof for a leaf, one of the `leaves`, ascending, of the batch that is `number` of an epoch's."""
    batch, index = batches[number], leaves.index(leaf)
    return EndorsementProof(
        BatchStatement.decode(terms.statement(batch)),
        batch.signatures,
        index,
        _path(leaves, index),
        number,
        len(batches),
        _path(terms.statement_leaves(batches), number),
    )


def verify_proof(proof: EndorsementProof, terms: Terms, label: Label, epoch: int, root: bytes) -> Verdict:
    """Whether the entry of a label was endorsed in an epoch with the endorsement root `root`.

    That no removal of it was endorsed is for the table to say.
    """
    batch = proof.batch
    if proof.statement.encode() != terms.statement(batch):
        return Failed("endorsed for another deployment, design or policy")
    if len(proof.signatures) != len(terms.policy.organisations):
        return Failed("there must be a signature, or zeros, for each key of the policy")
    if batch.action is not Action.LIST:
        return Failed("the statement lists no entry")
    leaf = leaf_of(label.entry_hash, label.entry_id, label.salt)
    stated = merkle.leaf_hash(proof.statement.encode())
    checks = (
        merkle.verify_inclusion(leaf, proof.index, batch.size, proof.path, batch.root),
        terms.verify_batch(batch, epoch),
        merkle.verify_inclusion(stated, proof.number, proof.batches, proof.batches_path, root),
    )
    return next((one for one in checks if isinstance(one, Failed)), Passed())


def _path(leaves: list[bytes], index: int) -> tuple[bytes, ...]:
    return merkle.inclusion_path(merkle.Tree.of(leaves).node, index, len(leaves))
