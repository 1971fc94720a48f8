"""Proofs of one key for a batch hold for that key, those elements in that order, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pytest
from blindmatch_protocol import dleq, group
from blindmatch_protocol.ciphersuite import Mode
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.errors import ProtocolError
from blindmatch_protocol.randomness import system_randomness
from hypothesis import given, settings
from hypothesis import strategies as st

RNG = system_randomness()
ORDER_BYTES = group.ORDER.to_bytes(32, "little")
MINUS_ONE = group.one_row((group.ORDER - 1).to_bytes(32, "little"))


class Statement(NamedTuple):
    """A true statement, its witness and a proof."""

    key: Rows
    public_key: Rows
    inputs: Rows
    outputs: Rows
    proof: bytes


def prove(rows: int) -> Statement:
    key = group.random_scalars(1, RNG)
    public_key, inputs = group.multiply_base(key), group.multiply_base(group.random_scalars(rows, RNG))
    outputs = group.multiply(key, inputs)
    return Statement(
        key, public_key, inputs, outputs, dleq.generate_proof(key, public_key, inputs, outputs, RNG)
    )


def assert_refused(public_key: Rows, inputs: Rows, outputs: Rows, proof: bytes, rule: str = "hold") -> None:
    with pytest.raises(ProtocolError, match=rule):
        dleq.verify_proof(public_key, inputs, outputs, proof)


THREE = prove(3)


@settings(max_examples=10)
@given(st.integers(1, 40))
def test_an_honest_proof_holds(rows: int) -> None:
    true = prove(rows)
    dleq.verify_proof(true.public_key, true.inputs, true.outputs, true.proof)


def test_an_executor_changes_nothing() -> None:
    true = prove(50)
    with ThreadPoolExecutor(2) as pool:
        proof = dleq.generate_proof(true.key, true.public_key, true.inputs, true.outputs, RNG, pool)
        dleq.verify_proof(true.public_key, true.inputs, true.outputs, proof, pool)
    dleq.verify_proof(true.public_key, true.inputs, true.outputs, proof)


def test_two_proofs_of_one_statement_differ() -> None:
    again = dleq.generate_proof(*THREE[:4], RNG)
    assert again[:32] != THREE.proof[:32]
    assert again[32:] != THREE.proof[32:]


def test_a_proof_holds_for_no_other_key() -> None:
    other = group.multiply_base(group.random_scalars(1, RNG))
    assert_refused(other, THREE.inputs, THREE.outputs, THREE.proof)


@pytest.mark.parametrize("order", [[1, 0, 2], [0, 2, 1], [0, 0, 2]])
def test_a_proof_holds_for_no_other_order_of_elements(order: list[int]) -> None:
    assert_refused(THREE.public_key, THREE.inputs, THREE.outputs[order], THREE.proof)
    assert_refused(THREE.public_key, THREE.inputs[order], THREE.outputs, THREE.proof)
    assert_refused(THREE.public_key, THREE.inputs[order], THREE.outputs[order], THREE.proof)


def test_no_row_can_be_evaluated_under_another_key() -> None:
    outputs = THREE.outputs.copy()
    outputs[1:2] = group.multiply(group.random_scalars(1, RNG), THREE.inputs[1])
    proof = dleq.generate_proof(THREE.key, THREE.public_key, THREE.inputs, outputs, RNG)
    assert_refused(THREE.public_key, THREE.inputs, outputs, proof)


def test_errors_in_two_rows_do_not_cancel_out() -> None:
    shift = group.multiply_base(group.random_scalars(1, RNG))
    outputs = THREE.outputs.copy()
    outputs[:1], outputs[1:2] = (
        group.add(outputs[0], shift),
        group.add(outputs[1], group.multiply(MINUS_ONE, shift)),
    )
    proof = dleq.generate_proof(THREE.key, THREE.public_key, THREE.inputs, outputs, RNG)
    assert_refused(THREE.public_key, THREE.inputs, outputs, proof)


def test_a_proof_of_one_mode_does_not_hold_in_the_other() -> None:
    with pytest.raises(ProtocolError, match="does not hold"):
        dleq.verify_proof(*THREE[1:], mode=Mode.OPRF)


@given(st.integers(0, 63), st.integers(1, 255))
def test_a_proof_with_any_byte_altered_is_refused(at: int, mask: int) -> None:
    altered = bytearray(THREE.proof)
    altered[at] ^= mask
    assert_refused(*THREE[1:4], bytes(altered), rule="does not hold|not reduced|is zero")


@settings(max_examples=50)
@given(st.integers(0, 95), st.integers(1, 255))
def test_an_element_with_any_byte_altered_is_refused(at: int, mask: int) -> None:
    outputs = THREE.outputs.copy()
    outputs.reshape(-1)[at] ^= mask
    rule = "does not hold|no canonical encoding|identity"
    assert_refused(THREE.public_key, THREE.inputs, outputs, THREE.proof, rule=rule)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize(("bad", "rule"), [(ORDER_BYTES, "not reduced"), (bytes(32), "is zero")])
def test_scalars_of_a_proof_must_be_reduced_and_not_zero(at: int, bad: bytes, rule: str) -> None:
    scalars = [THREE.proof[:32], THREE.proof[32:]]
    scalars[at] = bad
    assert_refused(*THREE[1:4], b"".join(scalars), rule=f"field proof: row {at} is .*{rule.split()[-1]}")


def test_a_proof_plus_the_order_is_no_second_proof() -> None:
    response = int.from_bytes(THREE.proof[32:], "little") + group.ORDER
    assert_refused(*THREE[1:4], THREE.proof[:32] + response.to_bytes(32, "little"), rule="not reduced")


@pytest.mark.parametrize("length", [0, 32, 63, 65])
def test_a_proof_of_another_length_is_refused(length: int) -> None:
    assert_refused(*THREE[1:4], bytes(length), rule="must be 64 bytes")


def test_both_sides_must_have_equally_many_rows() -> None:
    assert_refused(THREE.public_key, THREE.inputs, THREE.outputs[:2], THREE.proof, rule="must have 3 rows")
    with pytest.raises(ProtocolError, match="must have 2 rows"):
        dleq.generate_proof(THREE.key, THREE.public_key, THREE.inputs[:2], THREE.outputs, RNG)


def test_a_proof_of_nothing_is_neither_made_nor_accepted() -> None:
    nothing = np.empty((0, 32), np.uint8)
    assert_refused(THREE.public_key, nothing, nothing, THREE.proof, rule="1 to 65535 rows, not 0")
    with pytest.raises(ProtocolError, match="1 to 65535 rows, not 0"):
        dleq.generate_proof(THREE.key, THREE.public_key, nothing, nothing, RNG)
