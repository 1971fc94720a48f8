"""Asymmetric message franking after Tyagi and others 2019, Figure 5: who is convinced, and who is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha512

import pytest
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness, system_randomness
from blindmatch_protocol.crypto import amf
from blindmatch_protocol.crypto.amf import Elements, Keys, Witness
from blindmatch_protocol.group import ORDER, sodium
from blindmatch_protocol.messages.sealed_message import DESIGNATED_LENGTH, KEY_LENGTH
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

MESSAGE = b"a commitment"
RNG = system_randomness()


def secret(name: str) -> bytes:
    return amf.secret_key(name.encode().ljust(32))


SENDER, RECIPIENT, JUDGE, OTHER = map(secret, ("sender", "recipient", "judge", "other"))
KEYS = Keys(*map(amf.public_key, (SENDER, RECIPIENT, JUDGE)))


def scalar(rng: Randomness = RNG) -> bytes:
    return sodium.reduce_scalar(rng.take(64))


def honest() -> bytes:
    return amf.frank(SENDER, KEYS, MESSAGE, RNG)


def forge(keys: Keys = KEYS, message: bytes = MESSAGE) -> bytes:
    """Figure 5, Forge: by anybody, with public keys alone."""
    u = scalar()
    w = scalar()
    elements = Elements(*map(sodium.multiply_base, (u, scalar(), w, scalar())))
    return amf.prove(keys, elements, (Witness(u, True), Witness(w, True)), message, RNG)


def forge_by_recipient(keys: Keys = KEYS, message: bytes = MESSAGE) -> bytes:
    """Figure 5, RForge: by whoever has the recipient's secret key."""
    u = scalar()
    b = scalar()
    elements = Elements(
        sodium.multiply_base(u),
        sodium.multiply_base(scalar()),
        sodium.multiply(b, keys.recipient),
        sodium.multiply_base(b),
    )
    w = sodium.multiply_scalars(b, RECIPIENT)
    return amf.prove(keys, elements, (Witness(u, True), Witness(w, True)), message, RNG)


def forge_by_judge(keys: Keys = KEYS, message: bytes = MESSAGE) -> bytes:
    """Figure 5, JForge: by whoever has the judge's secret key."""
    a = scalar()
    b = scalar()
    elements = Elements(sodium.multiply(a, keys.judge), *map(sodium.multiply_base, (a, b, scalar())))
    u = sodium.multiply_scalars(a, JUDGE)
    return amf.prove(keys, elements, (Witness(u, True), Witness(a)), message, RNG)


def seen(signature: bytes, keys: Keys = KEYS, message: bytes = MESSAGE) -> tuple[bool, bool]:
    """What recipient and judge say."""
    return (
        amf.verify(RECIPIENT, keys, message, signature),
        amf.judge(JUDGE, keys, message, signature),
    )


def test_what_the_sender_franks_convinces_recipient_and_judge() -> None:
    signature = honest()
    assert len(signature) == amf.SIGNATURE_LENGTH == 352
    assert seen(signature) == (True, True)


def test_the_recipient_can_forge_for_itself_and_the_judge_for_itself_and_nobody_for_another() -> None:
    """The deniability of Figure 5: each forgery looks right to its maker's side alone."""
    assert seen(forge()) == (False, False)
    assert seen(forge_by_recipient()) == (True, False)
    assert seen(forge_by_judge()) == (False, True)


def holds(signature: bytes) -> bool:
    """What anybody can check: the proof, without a secret key."""
    parts = [signature[at : at + 32] for at in range(0, len(signature), 32)]
    return amf._holds(KEYS, Elements(*parts[:4]), parts[4:], MESSAGE)


def test_to_everybody_else_a_forgery_is_as_good_as_the_real_thing() -> None:
    assert all(holds(made()) for made in (honest, forge, forge_by_recipient, forge_by_judge))


@given(at=st.integers(0, amf.SIGNATURE_LENGTH * 8 - 1))
def test_no_bit_can_be_altered(at: int) -> None:
    signature = bytearray(SIGNATURE)
    signature[at // 8] ^= 1 << at % 8
    assert seen(bytes(signature)) == (False, False)


SIGNATURE = honest()


@pytest.mark.parametrize("field", ["sender", "recipient", "judge"])
def test_no_key_can_be_swapped(field: str) -> None:
    keys = replace(KEYS, **{field: amf.public_key(OTHER)})
    assert seen(SIGNATURE, keys) == (False, False)


@pytest.mark.parametrize("message", [b"", b"another", MESSAGE + b"\0", MESSAGE[:-1]])
def test_no_message_can_be_swapped(message: bytes) -> None:
    assert seen(SIGNATURE, message=message) == (False, False)


@pytest.mark.parametrize(
    "signature",
    [b"", SIGNATURE[:-1], SIGNATURE + b"\0", bytes(352), b"\xff" * 352, SIGNATURE[:32] * 11],
    ids=["empty", "short", "long", "zeros", "ones", "repeated"],
)
def test_what_is_no_signature_convinces_nobody(signature: bytes) -> None:
    assert seen(signature) == (False, False)


def test_a_scalar_that_is_not_reduced_is_refused() -> None:
    """Each scalar has one encoding: else a signature would have several."""
    for at in range(4, 11):
        value = int.from_bytes(SIGNATURE[32 * at : 32 * at + 32], "little") + ORDER
        unreduced = SIGNATURE[: 32 * at] + value.to_bytes(32, "little") + SIGNATURE[32 * at + 32 :]
        assert seen(unreduced) == (False, False)


@dataclass
class Cheat:
    """What a sender without its key, or one that wants to convince the recipient alone, tries."""

    elements: Callable[[bytes, bytes], Elements]
    witnesses: Callable[[bytes, bytes], tuple[Witness, Witness]]


def real(a: bytes, b: bytes) -> Elements:
    """J and R as they must be."""
    return Elements(
        sodium.multiply(a, KEYS.judge),
        sodium.multiply_base(a),
        sodium.multiply(b, KEYS.recipient),
        sodium.multiply_base(b),
    )


CHEATS = {
    "provider and others, with another's secret": lambda a, b: (real(a, b), (Witness(OTHER), Witness(a))),
    "u for a J of the right form": lambda a, b: (real(a, b), (Witness(a, True), Witness(a))),
    "a sender whose J the judge cannot use": lambda a, b: (
        replace(real(a, b), j=sodium.multiply_base(OTHER)),
        (Witness(SENDER), Witness(b, True)),
    ),
    "a sender with another E_J": lambda a, b: (
        replace(real(a, b), e_j=sodium.multiply_base(OTHER)),
        (Witness(SENDER), Witness(a)),
    ),
    "a sender who hides it from the judge by w": lambda a, b: (
        replace(real(a, b), j=sodium.multiply_base(a)),
        (Witness(a, True), Witness(b, True)),
    ),
}


@pytest.mark.parametrize("name", CHEATS)
def test_nobody_signs_for_a_sender_and_no_sender_convinces_the_recipient_alone(name: str) -> None:
    elements, witnesses = CHEATS[name](scalar(), scalar())
    signature = amf.prove(KEYS, elements, witnesses, MESSAGE, RNG)
    assert seen(signature) == (False, False)


def test_a_forged_proof_with_a_chosen_challenge_needs_the_oracle_to_agree() -> None:
    """Both sides of a disjunction simulated: the challenges do not sum up to the oracle's."""
    parts = [SIGNATURE[at : at + 32] for at in range(0, 352, 32)]
    for at in (4, 5, 6):
        changed = [*parts[:at], scalar(), *parts[at + 1 :]]
        assert seen(b"".join(changed)) == (False, False)


def test_keys_are_elements() -> None:
    amf.check_key(KEYS.sender, "step", "field")
    for key in (bytes(32), b"\xff" * 32, KEYS.sender[:-1], b""):
        with pytest.raises(ProtocolError, match=r"step: field field: must be an element"):
            amf.check_key(key, "step", "field")
    with pytest.raises(GroupError):
        amf.frank(SENDER, replace(KEYS, judge=bytes(32)), MESSAGE, RNG)


def test_the_equations_are_those_of_the_paper_checked_apart_from_the_code() -> None:
    """Figure 5, written out again with the transcript of one signature."""
    j, e_j, r, e_r, c, first, third, z1, z2, z3, z4 = (SIGNATURE[at : at + 32] for at in range(0, 352, 32))
    mul = sodium.multiply
    base = sodium.multiply_base
    add = sodium.add
    less = sodium.subtract_scalars
    second = less(c, first)
    fourth = less(c, third)
    commitments = [
        add(base(z1), mul(first, KEYS.sender)),
        add(base(z2), mul(second, j)),
        add(mul(z3, KEYS.judge), mul(third, j)),
        add(base(z3), mul(third, e_j)),
        add(base(z4), mul(fourth, r)),
    ]
    hashed = b"".join([KEYS.sender, KEYS.recipient, KEYS.judge, j, e_j, r, e_r, *commitments])
    oracle = sha512(b"blindmatch/amf/challenge/v1" + hashed + MESSAGE).digest()
    assert sodium.reduce_scalar(oracle) == c
    assert mul(RECIPIENT, e_r) == r and mul(JUDGE, e_j) == j


def test_what_a_message_reserves_is_what_a_signature_needs() -> None:
    assert (DESIGNATED_LENGTH, KEY_LENGTH) == (amf.SIGNATURE_LENGTH, amf.KEY_LENGTH)
