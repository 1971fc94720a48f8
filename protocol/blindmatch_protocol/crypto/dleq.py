"""Proofs that one key was used for a whole batch (discrete-logarithm equality); RFC 9497, section 2.2.

    prover(k, pk = k*G)                            verifier(pk)
        d[i]      = hash(pk, i, C[i], D[i])            d[i]      = the same
        M, Z      = sum d[i]*C[i], k*M                 M, Z      = sum d[i]*C[i], sum d[i]*D[i]
        t2, t3    = r*G, r*M                           t2, t3    = s*G + c*pk, s*M + c*Z
        c         = hash(pk, M, Z, t2, t3)             c         ?= hash(pk, M, Z, t2, t3)
        s         = r - c*k
                            ---- c, s ---->

The first generator is the group's own throughout, as in every use RFC 9497 makes of the proof.

A row's weight d[i] depends on that row and the public key alone, so that whoever has time finds wrong rows
whose errors cancel: a k-tree over 2^a rows (Wagner 2002, "A Generalized Birthday Problem", section 2) takes
some 2^(a + 252/(a+1)) steps, 2^38.5 for 160 rows (calculated). A reply verified at once has a deadline.
What is kept or shown to others is `certified` (version 2): the seed of the weights is a hash of all C and D,
so that no weight is known before every row is.

The ciphersuite ristretto255-SHA512 of RFC 9497: contexts and hashing, on batches.

Every domain-separation tag holds the version and the mode, so a value hashed for one mode means nothing
in the other. Hashing is the one part of the OPRF done an item at a time: fixed prefixes are absorbed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from functools import lru_cache
from hashlib import sha512
from hmac import compare_digest
from typing import Final

import numpy as np

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.group import rowwise, sodium

HASH_BYTES = 64
BLOCK_BYTES = 128
IDENTIFIER = b"ristretto255-SHA512"
MOST_INPUT_BYTES = 2**16 - 1
"""RFC 9497, section 1.2: the longest private input."""
MOST_BATCH = 2**16 - 1
"""Elements under one proof at most: a transcript gives their index two bytes; RFC 9497, section 2.2.1."""


class Mode(IntEnum):
    """The protocol variant; RFC 9497, section 3.1."""

    OPRF = 0
    VOPRF = 1


@lru_cache(maxsize=len(Mode))
def context_string(mode: Mode) -> bytes:
    """`CreateContextString`; RFC 9497, section 3.1."""
    return b"OPRFV1-" + mode.to_bytes(1, "big") + b"-" + IDENTIFIER


def prefixed(value: bytes) -> bytes:
    """`value` behind its length in two bytes, as in all transcripts of RFC 9497."""
    return len(value).to_bytes(2, "big") + value


def check_inputs(inputs: Iterable[bytes], step: str) -> None:
    """Make sure that every private input has at most 65,535 bytes; `ProtocolError` naming the first row that
    is longer."""
    for row, value in enumerate(inputs):
        if len(value) > MOST_INPUT_BYTES:
            raise ProtocolError(step, f"row {row} is longer than {MOST_INPUT_BYTES} bytes", "inputs")


_PADDING = sha512(bytes(BLOCK_BYTES))


def _framing(tag: bytes) -> tuple[bytes, bytes]:
    """What follows the message in the first hash, and the first hash in the second, of `expand_message_xmd`
    to 64 bytes, with SHA-512; RFC 9380, section 5.3.1. The tag has at most 255 bytes."""
    suffix = tag + len(tag).to_bytes(1, "big")
    return group.UNIFORM_BYTES.to_bytes(2, "big") + b"\x00" + suffix, b"\x01" + suffix


_TO_GROUP, _TO_SCALAR = (
    [_framing(tag + context_string(mode)) for mode in Mode] for tag in (b"HashToGroup-", b"HashToScalar-")
)
"""By mode: looking a mode up in a list takes a tenth of what a cache takes to hash it."""


def hash_inputs_to_uniform(inputs: Sequence[bytes], mode: Mode) -> Rows:
    """The first half of `HashToGroup`, uint8 (n, 64) (RFC 9497, section 4.1); then `group.hash_to_group`."""
    rows = rowwise.of_one_length(inputs)
    if rows is not None:
        return hash_rows_to_uniform(rows, mode)
    blocks = b"".join(_expanded(value, _TO_GROUP[mode]) for value in inputs)
    return np.frombuffer(blocks, np.uint8).reshape(-1, group.UNIFORM_BYTES)


def hash_rows_to_uniform(inputs: Rows, mode: Mode) -> Rows:
    """`hash_inputs_to_uniform` for inputs of one length, uint8 (n, w)."""
    return _expanded_rows(inputs, _TO_GROUP[mode])


def _expanded_rows(messages: Rows, framing: tuple[bytes, bytes]) -> Rows:
    before, after = framing
    first = rowwise.sha512(rowwise.joined(len(messages), messages, before), bytes(BLOCK_BYTES))
    return rowwise.sha512(rowwise.joined(len(messages), first, after))


def hash_rows_to_scalars(messages: Rows, mode: Mode) -> Rows:
    """`HashToScalar` for messages of one length, uint8 (n, w): (n, 32); RFC 9497, section 4.1."""
    return group.reduce_scalars(_expanded_rows(messages, _TO_SCALAR[mode]))


def hash_to_scalar(message: bytes, mode: Mode) -> bytes:
    """`HashToScalar` for one message, 32 bytes; RFC 9497, section 4.1."""
    return sodium.reduce_scalar(_expanded(message, _TO_SCALAR[mode]))


def _expanded(message: bytes, framing: tuple[bytes, bytes]) -> bytes:
    before, after = framing
    state = _PADDING.copy()
    state.update(message + before)
    return sha512(state.digest() + after).digest()


PROOF_BYTES = 2 * group.SCALAR_BYTES
"""A proof is the scalars c and s, in this order; RFC 9497, section 2.2.1."""


def generate_proof(
    key: Rows,
    public_key: Rows,
    inputs: Rows,
    outputs: Rows,
    rng: Randomness,
    executor: Executor | None = None,
    mode: Mode = Mode.VOPRF,
    certified: bool = False,
) -> bytes:
    """Prove that `outputs` are `inputs` times the key behind `public_key`; `GenerateProof`; `ProtocolError`
    if there are too few or too many rows, or not as many of both; `GroupError` if an input is no element or
    the identity.

    RFC 9497, section 2.2.1. Takes 64 bytes of `rng`.

    Args:
        key: the secret scalar, uint8 (1, 32).
        public_key: the key times the generator, uint8 (1, 32).
        inputs: elements, uint8 (n, 32), n from 1 to 65,535.
        outputs: elements, uint8 (n, 32), each row the key times the row of `inputs`.
        mode: the variant, which enters all hashes.
        certified: as version 2, for what is kept; no proof of the RFC.
    """
    _check_counts(inputs, outputs, "dleq/prove")
    (composite,) = _composites(public_key, inputs, outputs, [inputs], mode, executor, certified)
    secret = key.tobytes()
    image = sodium.multiply(secret, composite)
    nonce = group.random_scalars(1, rng).tobytes()
    commitments = [sodium.multiply_base(nonce), sodium.multiply(nonce, composite)]
    challenge = _challenge(public_key.tobytes(), composite, image, *commitments, mode=mode)
    return challenge + sodium.subtract_scalars(nonce, sodium.multiply_scalars(challenge, secret))


def verify_proof(
    public_key: Rows,
    inputs: Rows,
    outputs: Rows,
    proof: bytes,
    executor: Executor | None = None,
    mode: Mode = Mode.VOPRF,
    step: str = "dleq/verify",
    certified: bool = False,
) -> None:
    """Make sure that `outputs` are `inputs` times the key behind `public_key`; `VerifyProof`; RFC 9497,
    section 2.2.2. `inputs` and `public_key` must have been checked; `ProtocolError` if a row of `outputs` or
    the proof is malformed, or the proof does not hold. Stricter in one point: a scalar zero in a proof, which
    an honest prover makes with probability 2^-252, is refused."""
    _check_counts(inputs, outputs, step)
    challenge, response = _parse(proof, step)
    try:
        both = [inputs, outputs]
        composite, image = _composites(public_key, inputs, outputs, both, mode, executor, certified)
    except GroupError:
        group.check_elements(outputs, step, "elements", executor)
        raise
    try:
        public = public_key.tobytes()
        first = sodium.add(sodium.multiply_base(response), sodium.multiply(challenge, public))
        second = sodium.add(sodium.multiply(response, composite), sodium.multiply(challenge, image))
        expected = _challenge(public, composite, image, first, second, mode=mode)
    except GroupError as error:
        raise ProtocolError(step, "does not hold", "proof") from error
    if not compare_digest(expected, challenge):
        raise ProtocolError(step, "does not hold", "proof")


def _parse(proof: bytes, step: str) -> tuple[bytes, bytes]:
    if len(proof) != PROOF_BYTES:
        raise ProtocolError(step, f"must be {PROOF_BYTES} bytes, not {len(proof)}", "proof")
    challenge = bytes(proof[: group.SCALAR_BYTES])
    response = bytes(proof[group.SCALAR_BYTES :])
    if not (sodium.is_scalar(challenge) and sodium.is_scalar(response)):
        scalars = np.frombuffer(proof, np.uint8).reshape(2, group.SCALAR_BYTES)
        group.check_scalars(scalars, step, "proof")
    return challenge, response


def _check_counts(inputs: Rows, outputs: Rows, step: str) -> None:
    group.check_shape(outputs, group.ELEMENT_BYTES, step, "elements")
    if len(inputs) != len(outputs):
        raise ProtocolError(step, f"must have {len(inputs)} rows, not {len(outputs)}", "elements")
    if not 1 <= len(inputs) <= MOST_BATCH:
        raise ProtocolError(step, f"a proof covers 1 to {MOST_BATCH} rows, not {len(inputs)}", "elements")


def _composites(
    public_key: Rows,
    inputs: Rows,
    outputs: Rows,
    summed: Sequence[Rows],
    mode: Mode,
    executor: Executor | None,
    certified: bool,
) -> list[bytes]:
    """The sums of scalar d times element of `ComputeComposites` over each of `summed` (RFC 9497, section
    2.2.1); version 2 has another seed."""
    front = _seeds(public_key.tobytes())[mode]
    count = len(inputs)
    if certified:
        rows = public_key.tobytes() + count.to_bytes(4, "big") + inputs.tobytes() + outputs.tobytes()
        front = prefixed(sha512(rows + prefixed(CERTIFIED_TAG + context_string(mode))).digest())
    if count == 1:
        transcript = front + bytes(2) + _LENGTH + inputs.tobytes() + _LENGTH + outputs.tobytes() + _COMPOSITE
        weight = hash_to_scalar(transcript, mode)
        return [sodium.multiply(weight, elements.tobytes()) for elements in summed]
    indices = np.arange(count, dtype=">u2")[:, None].view(np.uint8)
    transcripts = rowwise.joined(count, front, indices, _LENGTH, inputs, _LENGTH, outputs, _COMPOSITE)
    weights = hash_rows_to_scalars(transcripts, mode)
    return [group.sum_products(weights, elements, executor).tobytes() for elements in summed]


CERTIFIED_TAG: Final = b"blindmatch/dleq/seed/v2-"
_COMPOSITE = b"Composite"
_LENGTH = group.ELEMENT_BYTES.to_bytes(2, "big")


@lru_cache(maxsize=64)
def _seeds(public_key: bytes) -> list[bytes]:
    """By mode: the seed behind its length; public, and the same for every proof of one key."""
    transcripts = [prefixed(public_key) + prefixed(b"Seed-" + context_string(mode)) for mode in Mode]
    return [prefixed(sha512(transcript).digest()) for transcript in transcripts]


def _challenge(*elements: bytes, mode: Mode) -> bytes:
    """The challenge c over Bm, M, Z, t2 and t3; RFC 9497, section 2.2.1."""
    return hash_to_scalar(_LENGTH + _LENGTH.join(elements) + b"Challenge", mode)
