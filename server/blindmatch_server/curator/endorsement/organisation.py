"""An organisation: its key, what it submits, and what it endorses.

What it endorses it knows by pictures of its own: its hashes come from `curator.list_pictures` alone, and a
hash that somebody hands it, in a proposal, is compared with these and with nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import ClassVar, Final, Self

from blindmatch_proofs.endorsement import Action, Terms
from blindmatch_proofs.endorsement.batch import UNSIGNED
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.contract.outcome import SIGNATURE_BYTES
from msgspec import Struct, field
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from blindmatch_server.curator.endorsement.batches import Batches, Held
from blindmatch_server.curator.errors import ListError
from blindmatch_server.storage.key_files import Ed25519Key

SUBMISSION_TAG: Final = b"blindmatch/endorsement/submission/v1"
KEY_BYTES: Final = 32


class EndorsementError(ListError):
    """A submission, a proposal or an endorsement is not what it must be."""


class OrganisationKey(Ed25519Key, frozen=True):
    """Signs what an organisation submits and endorses."""

    NAME: ClassVar[str] = "organisation"

    def submission(self, deployment: bytes, digest: str) -> bytes:
        """The signature of a submitted list: of the deployment's key and the list's digest in hex."""
        return self._key.sign(_submitted(deployment, digest)).signature

    def endorse(self, name: str, terms: Terms, proposal: Batches, own: Rows) -> SignedProposal:
        """Sign the batches of a proposal in which this organisation is asked and knows every hash.

        Args:
            name: the organisation's own, in the policy.
            terms: what it signs for, from its own configuration.
            own: hashes of the pictures it has, uint8 (n, 32).

        Raises:
            EndorsementError: if the policy has no such key, or a hash is proposed twice.
        """
        if (name, self.public) not in [(one.name, one.key) for one in terms.policy.organisations]:
            raise EndorsementError(f"the policy has no organisation {name} with this key")
        known, signed, refused = frozenset(map(bytes, own)), list[bytes](), dict[int, str]()
        _check_once(proposal)
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
    """Make sure that the holder of one of `keys` submitted the list with a digest to this deployment.

    Raises:
        EndorsementError: if not.
    """
    for key in keys:
        with suppress(BadSignatureError, ValueError):
            VerifyKey(key).verify(_submitted(deployment, digest), signature)
            return
    raise EndorsementError("a submission must be signed by its organisation for this deployment")


def _submitted(deployment: bytes, digest: str) -> bytes:
    return SUBMISSION_TAG + deployment + digest.encode()


def _check_once(proposal: Batches) -> None:
    hashes = [bytes(row) for held in proposal.with_action(Action.LIST) for row in held.entries.hashes]
    if len(set(hashes)) < len(hashes):
        raise EndorsementError("the proposal lists a hash twice, under two ids")


def _objection(held: Held, known: frozenset[bytes]) -> str:
    """Why an organisation with these hashes does not sign a batch; empty if it does."""
    mine = sum(bytes(row) in known for row in held.entries.hashes)
    if not held.is_whole:
        return "the batch does not have the root of its entries"
    if held.batch.action is Action.LIST and mine < len(held.entries):
        return f"{len(held.entries) - mine} of {len(held.entries)} hashes are of no picture of its own"
    if held.batch.action is Action.REMOVE and mine:
        return f"{mine} of {len(held.entries)} entries are of pictures that it still submits"
    return ""
