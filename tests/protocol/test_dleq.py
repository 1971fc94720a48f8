"""Proofs of one key for a batch hold for that key, those elements in that order, and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha512
from typing import NamedTuple

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import ProtocolError
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.crypto import dleq
from blindmatch_protocol.crypto.dleq import Mode, hash_to_scalar, prefixed
from blindmatch_protocol.group import sodium
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
    public_key = group.multiply_base(key)
    inputs = group.multiply_base(group.random_scalars(rows, RNG))
    outputs = group.multiply(key, inputs)
    return Statement(
        key, public_key, inputs, outputs, dleq.generate_proof(key, public_key, inputs, outputs, RNG)
    )


def assert_refused(public_key: Rows, inputs: Rows, outputs: Rows, proof: bytes, rule: str = "hold") -> None:
    with pytest.raises(ProtocolError, match=rule):
        dleq.verify_proof(public_key, inputs, outputs, proof)


THREE = prove(3)
FRONT = b"\x00\x20"
CONTEXT = b"OPRFV1-\x01-ristretto255-SHA512"


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
    outputs[:1] = group.add(outputs[0], shift)
    outputs[1:2] = group.add(outputs[1], group.multiply(MINUS_ONE, shift))
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


# version 2, for what others are shown


def certified(rows: int) -> Statement:
    true = prove(rows)
    return true._replace(proof=dleq.generate_proof(*true[:4], RNG, certified=True))


def holds(true: Statement, **how: bool) -> bool:
    try:
        dleq.verify_proof(*true[1:], **how)  # type: ignore[arg-type]
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize("rows", [1, 2, 40])
def test_a_certified_proof_holds_and_is_none_of_the_rfc(rows: int) -> None:
    true = certified(rows)
    assert holds(true, certified=True) and not holds(true)
    assert not holds(prove(rows), certified=True)
    with ThreadPoolExecutor(2) as pool:
        dleq.verify_proof(*true[1:], pool, certified=True)


@pytest.mark.parametrize("rows", [2, 5])
def test_no_row_of_a_certified_statement_can_be_another(rows: int) -> None:
    true = certified(rows)
    other = prove(rows)
    for at in range(rows):
        for changed in ("inputs", "outputs"):
            altered = getattr(true, changed).copy()
            altered[at] = getattr(other, changed)[at]
            assert not holds(true._replace(**{changed: altered}), certified=True)
    assert not holds(true._replace(inputs=true.inputs[::-1], outputs=true.outputs[::-1]), certified=True)
    for fewer in range(1, rows):
        less = true._replace(inputs=true.inputs[:fewer], outputs=true.outputs[:fewer])
        assert not holds(less, certified=True)


def test_a_certified_proof_is_what_the_page_says() -> None:
    """From docs/reference/wire.md alone, with integers: seed, weights, composites and challenge."""
    true = certified(3)
    public, inputs, outputs = (rows.tobytes() for rows in true[1:4])
    tag = b"blindmatch/dleq/seed/v2-" + CONTEXT
    framed = len(tag).to_bytes(2, "big") + tag
    seed = sha512(public + (3).to_bytes(4, "big") + inputs + outputs + framed).digest()
    weights = [
        hash_to_scalar(
            b"\x00\x40" + seed + at.to_bytes(2, "big") + FRONT + inputs[32 * at : 32 * at + 32]
            + FRONT + outputs[32 * at : 32 * at + 32] + b"Composite", Mode.VOPRF)
        for at in range(3)
    ]  # fmt: skip
    sums = []
    for rows in (inputs, outputs):
        parts = [sodium.multiply(w, rows[32 * at : 32 * at + 32]) for at, w in enumerate(weights)]
        sums.append(sodium.add(sodium.add(parts[0], parts[1]), parts[2]))
    challenge = true.proof[:32]
    response = true.proof[32:]
    first = sodium.add(sodium.multiply_base(response), sodium.multiply(challenge, public))
    second = sodium.add(sodium.multiply(response, sums[0]), sodium.multiply(challenge, sums[1]))
    elements = FRONT + FRONT.join([public, *sums, first, second])
    assert hash_to_scalar(elements + b"Challenge", Mode.VOPRF) == challenge


BITS = 10
"""Of a weight in the reduced proof, where the real one has 252."""


def reduced(rows: Rows) -> Rows:
    """Weights that are so short that their sums can be made to cancel in a test."""
    short = np.zeros_like(rows)
    short[:, 0] = rows[:, 0]
    short[:, 1] = rows[:, 1] & (1 << BITS - 8) - 1
    short[~short.any(axis=1), 0] = 1
    return short


def test_wrong_rows_are_chosen_one_by_one_where_a_weight_depends_on_its_row_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The errors a*G of one row and b*G of the other cancel if weight times error sum to 0: two lists, each
    made without the other row, have a pair (with more rows and whole weights: a k-tree). Of version 2 no
    list can be made before all rows are there, and this pair is none of it."""
    whole = dleq.hash_rows_to_scalars
    monkeypatch.setattr(dleq, "hash_rows_to_scalars", lambda rows, mode: reduced(whole(rows, mode)))
    true = prove(2)
    count = 1 << 12
    seed = prefixed(sha512(prefixed(true.public_key.tobytes()) + prefixed(b"Seed-" + CONTEXT)).digest())
    errors = np.zeros((count, 32), np.uint8)
    errors[:, :2] = np.arange(1, count + 1, dtype="<u2")[:, None].view(np.uint8)
    multiples = group.multiply_base(errors)
    wrong = []
    products = []
    for at, sign in enumerate((multiples, group.multiply(MINUS_ONE, multiples))):
        chosen = np.stack([group.add(true.outputs[at], one) for one in sign]).reshape(count, 32)
        index = np.tile(np.array([[0, at]], np.uint8), (count, 1))
        ends = [np.tile(np.frombuffer(raw, np.uint8), (count, 1)) for raw in (seed, FRONT, b"Composite")]
        row = [ends[0], index, ends[1], np.tile(true.inputs[at], (count, 1)), ends[1], chosen, ends[2]]
        weights = reduced(whole(np.ascontiguousarray(np.concatenate(row, axis=1)), Mode.VOPRF))
        wrong.append(chosen)
        products.append(weights[:, :2].copy().view("<u2")[:, 0].astype(int) * np.arange(1, count + 1))
    both, mine, theirs = np.intersect1d(*products, return_indices=True)
    assert len(both), "the two lists meet"
    outputs = np.stack([wrong[0][mine[0]], wrong[1][theirs[0]]])
    assert not (outputs == true.outputs).all(axis=1).any()
    for how in (False, True):
        proof = dleq.generate_proof(*true[:3], outputs, RNG, certified=how)
        assert holds(true._replace(outputs=outputs, proof=proof), certified=how) is not how


def test_a_weight_depends_on_every_row_in_version_2_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Rows] = []
    whole = dleq.hash_rows_to_scalars

    def noted(rows: Rows, mode: Mode) -> Rows:
        seen.append(whole(rows, mode))
        return seen[-1]

    monkeypatch.setattr(dleq, "hash_rows_to_scalars", noted)
    outputs = THREE.outputs.copy()
    outputs[2] = THREE.outputs[0]
    for how in (False, True):
        seen.clear()
        for last in (THREE.outputs, outputs):
            dleq.generate_proof(*THREE[:3], last, RNG, certified=how)
        assert [bool((seen[0][at] == seen[1][at]).all()) for at in range(3)] == [not how, not how, False]
