"""Oblivious pseudorandom functions: OPRF and VOPRF with ristretto255-SHA512; RFC 9497.

    client(inputs)                                      server(key)
        blind           r = random, C = r*H(input)
                                    ---- C ---->
                                                        blind_evaluate   D = k*C
                                                                         proof over (pk, C, D), VOPRF only
                                    <-- D, proof ---
        finalize        verify the proof, VOPRF only
                        output = hash(input, D/r)
                                                        evaluate         output = hash(input, k*H(input))

Everything is a batch: inputs are byte strings, elements uint8 (n, 32), outputs uint8 (n, 64). The client
learns the outputs and, in mode VOPRF, that one key made them; the server learns how many there were.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha512
from typing import ClassVar, NoReturn

import numpy as np
from msgspec import Struct

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.crypto import dleq
from blindmatch_protocol.crypto.dleq import (
    HASH_BYTES,
    MOST_BATCH,
    Mode,
    check_inputs,
    hash_inputs_to_uniform,
    hash_rows_to_uniform,
)
from blindmatch_protocol.group import rowwise

__all__ = [
    "MOST_BATCH", "OUTPUT_BYTES", "Blinding", "Evaluation", "Mode", "PublicKey",
    "SecretKey", "blind", "blind_evaluate", "evaluate", "evaluate_rows", "finalize",
    "generate_key_pair", "hash_inputs_to_uniform", "unblind", "verified",
]  # fmt: skip

OUTPUT_BYTES = HASH_BYTES


def _frozen(rows: Rows) -> Rows:
    """A read-only view, or `rows` if they are read-only."""
    if not rows.flags.writeable:
        return rows
    view = rows.view()
    view.flags.writeable = False
    return view


class PublicKey(Struct, frozen=True):
    """The server's public key: its secret scalar times the generator; `ProtocolError` unless `element` is the
    canonical encoding of an element that is not the identity."""

    mode: Mode
    element: bytes

    def __post_init__(self) -> None:
        if len(self.element) != group.ELEMENT_BYTES:
            raise ProtocolError("oprf/public-key", f"must be {group.ELEMENT_BYTES} bytes", "element")
        group.check_elements(self.rows(), "oprf/public-key", "element")

    def rows(self) -> Rows:
        """The element as uint8 (1, 32)."""
        return np.frombuffer(self.element, np.uint8).reshape(1, group.ELEMENT_BYTES)


class SecretKey:
    """The server's secret scalar, 32 bytes, little-endian, between 1 and the order less 1, bound to one mode;
    never printed, pickled or copied; `ProtocolError` for any other."""

    __slots__ = ("_scalar", "mode", "public")

    def __init__(self, mode: Mode, scalar: bytes) -> None:
        if len(scalar) != group.SCALAR_BYTES:
            raise ProtocolError("oprf/secret-key", f"must be {group.SCALAR_BYTES} bytes", "scalar")
        self._scalar = np.frombuffer(bytes(scalar), np.uint8).reshape(1, group.SCALAR_BYTES)
        group.check_scalars(self._scalar, "oprf/secret-key", "scalar")
        self.mode = mode
        self.public = PublicKey(mode, group.multiply_base(self._scalar).tobytes())

    def rows(self) -> Rows:
        """The secret scalar as uint8 (1, 32)."""
        return self._scalar

    def reveal(self) -> bytes:
        return self._scalar.tobytes()

    def __repr__(self) -> str:
        return f"<SecretKey {self.mode.name}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a secret key is neither pickled nor copied")


class Blinding(Redacted, Struct, frozen=True, eq=False):
    """What the client keeps between `blind` and `finalize`; secret, and for one use."""

    SHOWN: ClassVar = ("mode",)

    mode: Mode
    inputs: tuple[bytes, ...]
    blinds: Rows
    blinded: Rows

    def __len__(self) -> int:
        return len(self.inputs)


class Evaluation(Struct, frozen=True, eq=False):
    """The server's reply: elements, uint8 (n, 32), and in mode VOPRF one proof of 64 bytes."""

    elements: Rows
    proof: bytes = b""


def generate_key_pair(mode: Mode, rng: Randomness) -> SecretKey:
    """A fresh key with its public key; RFC 9497, section 3.2. Takes 64 bytes of `rng`."""
    return SecretKey(mode, group.random_scalars(1, rng).tobytes())


def blind(
    inputs: Sequence[bytes], mode: Mode, rng: Randomness, executor: Executor | None = None
) -> tuple[Blinding, Rows]:
    """Blind every input; returns the state to keep and the elements to send, uint8 (n, 32); `Blind`; RFC
    9497, sections 3.3.1 and 3.3.2. Takes 64 bytes of `rng` an input, at once and in order. `ProtocolError` if
    an input is too long, or in mode VOPRF there are more of them than one proof covers; `GroupError`
    (`InvalidInputError`) if one hashes to the identity, which nobody knows one to do."""
    check_inputs(inputs, "oprf/blind")
    if mode is Mode.VOPRF and len(inputs) > MOST_BATCH:
        raise ProtocolError("oprf/blind", f"at most {MOST_BATCH} fit one proof, not {len(inputs)}", "inputs")
    blinds = group.random_scalars(len(inputs), rng)
    blinded = _frozen(group.hash_multiply(blinds, hash_inputs_to_uniform(inputs, mode), executor))
    return Blinding(mode, tuple(inputs), _frozen(blinds), blinded), blinded


def blind_evaluate(
    key: SecretKey,
    blinded: Rows,
    rng: Randomness,
    executor: Executor | None = None,
    step: str = "oprf/blind-evaluate",
    certified: bool = False,
) -> Evaluation:
    """Apply the key to blinded elements, uint8 (n, 32), and in mode VOPRF prove it; `certified` as in `dleq`;
    `ProtocolError` if a row is not the canonical encoding of an element or is the identity, or if in mode
    VOPRF there are none or more than 65,535.

    `BlindEvaluate`; RFC 9497, sections 3.3.1 and 3.3.2. Mode VOPRF takes 64 bytes of `rng`.
    """
    if key.mode is Mode.VOPRF and not 1 <= len(blinded) <= MOST_BATCH:
        raise ProtocolError(step, f"a proof covers 1 to {MOST_BATCH} rows, not {len(blinded)}", "blinded")
    elements = _multiply(key.rows(), blinded, executor, step, "blinded")
    if key.mode is Mode.OPRF:
        return Evaluation(elements)
    statement = (key.rows(), key.public.rows(), blinded, elements)
    return Evaluation(elements, dleq.generate_proof(*statement, rng, executor, key.mode, certified))


def finalize(state: Blinding, evaluation: Evaluation, public_key: PublicKey | None = None) -> Rows:
    """The outputs, uint8 (n, 64), in the order of the inputs; in mode VOPRF after the proof was verified;
    `ProtocolError` if there are not as many elements as inputs, one is malformed, a proof is there in mode
    OPRF, or the proof does not hold in mode VOPRF; `ValueError` if mode VOPRF is used without its public key,
    or mode OPRF with one.

    `Finalize`; RFC 9497, sections 3.3.1 and 3.3.2.
    """
    needed = Mode.VOPRF if state.mode is Mode.VOPRF else None
    if (None if public_key is None else public_key.mode) is not needed:
        raise ValueError("a public key of mode VOPRF goes with mode VOPRF, and none with mode OPRF")
    if public_key is not None:
        elements = verified(state, evaluation, public_key)
    else:
        elements = _counted(state, evaluation.elements, "oprf/finalize")
        if evaluation.proof:
            raise ProtocolError("oprf/finalize", "must be empty in mode OPRF", "proof")
    return unblind(state, elements)


def verified(
    state: Blinding,
    evaluation: Evaluation,
    public_key: PublicKey,
    executor: Executor | None = None,
    step: str = "oprf/finalize",
    certified: bool = False,
) -> Rows:
    """The elements of an evaluation, once its proof was verified: the first half of `finalize` in mode VOPRF.
    `certified` as in `dleq`; raises as `finalize`."""
    elements = _counted(state, evaluation.elements, step)
    statement = (public_key.rows(), state.blinded, elements)
    dleq.verify_proof(*statement, evaluation.proof, executor, state.mode, step, certified)
    return elements


def unblind(
    state: Blinding, elements: Rows, executor: Executor | None = None, step: str = "oprf/finalize"
) -> Rows:
    """The outputs, uint8 (n, 64), from the key times the blinded elements: the second half of `finalize`;
    `ProtocolError` if an element is malformed."""
    unblinded = _multiply(group.invert_scalars(state.blinds), elements, executor, step, "elements")
    return _outputs(state.inputs, unblinded)


def _counted(state: Blinding, elements: Rows, step: str) -> Rows:
    group.check_shape(elements, group.ELEMENT_BYTES, step, "elements")
    if len(elements) != len(state):
        raise ProtocolError(step, f"must have {len(state)} rows, not {len(elements)}", "elements")
    return elements


def evaluate(key: SecretKey, inputs: Sequence[bytes]) -> Rows:
    """The outputs for inputs that the server knows itself, uint8 (n, 64); `Evaluate`; RFC 9497, sections
    3.3.1 and 3.3.2. Raises as `blind`."""
    check_inputs(inputs, "oprf/evaluate")
    uniform = hash_inputs_to_uniform(inputs, key.mode)
    return _outputs(inputs, group.hash_multiply(key.rows(), uniform))


def evaluate_rows(key: SecretKey, inputs: Rows) -> Rows:
    """`evaluate` for inputs of one length, uint8 (n, w), w at most 65,535, with no Python between the rows;
    raises `InvalidInputError` as it does."""
    uniform = hash_rows_to_uniform(inputs, key.mode)
    return _output_rows(inputs, group.hash_multiply(key.rows(), uniform))


def _multiply(scalars: Rows, elements: Rows, executor: Executor | None, step: str, name: str) -> Rows:
    """Products with another party's elements; which rule a bad one broke is looked up only then."""
    group.check_shape(elements, group.ELEMENT_BYTES, step, name)
    try:
        return _frozen(group.multiply(scalars, elements, executor))
    except GroupError:
        group.check_elements(elements, step, name, executor)
        raise


def _outputs(inputs: Sequence[bytes], unblinded: Rows) -> Rows:
    """The final hash; RFC 9497, section 3.3.1."""
    rows = rowwise.of_one_length(inputs)
    if rows is not None:
        return _output_rows(rows, unblinded)
    raw = unblinded.tobytes()
    middle = group.ELEMENT_BYTES.to_bytes(2, "big")
    digests = [
        sha512(len(value).to_bytes(2, "big") + value + middle + raw[at : at + 32] + b"Finalize").digest()
        for value, at in zip(inputs, range(0, len(raw), group.ELEMENT_BYTES), strict=True)
    ]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, OUTPUT_BYTES)


def _output_rows(inputs: Rows, unblinded: Rows) -> Rows:
    """`_outputs` for inputs of one length, uint8 (n, w)."""
    front = inputs.shape[1].to_bytes(2, "big")
    middle = group.ELEMENT_BYTES.to_bytes(2, "big")
    return rowwise.sha512(rowwise.joined(len(inputs), front, inputs, middle, unblinded, b"Finalize"))
