"""Asymmetric message franking: a signature that its recipient and one judge can check, and nobody else.

Tyagi, Grubbs, Len, Miers and Ristenpart 2019, "Asymmetric Message Franking: Content Moderation for
Metadata-Private End-to-End Encryption" (CRYPTO 2019; full version: ePrint 2019/565), the construction of
Figure 5, over ristretto255 (RFC 9496), written additively::

    keys    sk, pk = sk*G of sender s, recipient r and judge j
    Frank   a, b random;  J = a*pk_j  E_J = a*G  R = b*pk_r  E_R = b*G
            pi = a signature of knowledge on the message, of t, u, v, w with
                 (pk_s = t*G  or  J = u*G)  and  (J = v*pk_j and E_J = v*G  or  R = w*G)
    Verify  R = sk_r*E_R, and pi holds                         the recipient
    Judge   J = sk_j*E_J, and pi holds                         the judge

The sender knows t = sk_s and v = a. Whoever is neither recipient nor judge cannot tell J and R from random
elements (DDH), for which u and w are as good: so anybody can make what looks like a signature of anybody's
(`prove` with the other sides; Figure 5: Forge, RForge, JForge), and only recipient and judge know better,
each for itself. Towards an honest judge nobody signs without sk_s, and what a recipient accepts the judge
accepts.

pi is Schnorr's proof, of a disjunction (Cramer, Damgard and Schoenmakers 1994), made non-interactive with
SHA-512 as the random oracle. The message it is on is prefixed with pk_r and E_R, which nobody can then swap.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha512
from hmac import compare_digest
from typing import Final, TypeAlias

from msgspec import Struct

from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.group import sodium
from blindmatch_protocol.group.rows import ELEMENT_BYTES, ZERO

CHALLENGE_TAG: Final = b"blindmatch/amf/challenge/v1"
SECRET_TAG: Final = b"blindmatch/amf/secret/v1"
KEY_LENGTH: Final = ELEMENT_BYTES
SIGNATURE_LENGTH: Final = 11 * ELEMENT_BYTES
"""J, E_J, R, E_R; the challenge and those of the first sides; four responses."""

_Equation: TypeAlias = tuple[bytes, bytes]
"""Base and image; the empty base is G."""
_Side: TypeAlias = tuple[_Equation, ...]


class Keys(Redacted, Struct, frozen=True):
    """The public keys of sender, recipient and judge, 32 bytes each."""

    sender: bytes
    recipient: bytes
    judge: bytes


class Elements(Redacted, Struct, frozen=True):
    """J, E_J, R, E_R of a signature."""

    j: bytes
    e_j: bytes
    r: bytes
    e_r: bytes

    def joined(self) -> bytes:
        return self.j + self.e_j + self.r + self.e_r


class Witness(Redacted, Struct, frozen=True):
    """What is known of a disjunction: the scalar of its first side (t, v) or of its second (u, w)."""

    scalar: bytes
    second: bool = False


def secret_key(seed: bytes) -> bytes:
    """A secret key derived from 32 secret bytes that may have other uses: SHA-512 with a tag of its own."""
    return sodium.reduce_scalar(sha512(SECRET_TAG + seed).digest())


def public_key(secret: bytes) -> bytes:
    return sodium.multiply_base(secret)


def check_key(key: bytes, step: str, field: str) -> None:
    """Raise `ProtocolError`, naming both, unless this is an element, of 32 bytes, and not the identity."""
    try:
        if len(key) == KEY_LENGTH:
            sodium.multiply(_ONE, key)
            return
    except GroupError:
        pass
    raise ProtocolError(step, "must be an element of ristretto255, and not the identity", field)


def frank(secret: bytes, keys: Keys, message: bytes, rng: Randomness) -> bytes:
    """Figure 5, Frank: the signature of `message` by the holder of `secret`, 352 bytes; `GroupError` if a
    public key is no element, or the identity."""
    a = _scalar(rng)
    b = _scalar(rng)
    elements = Elements(
        sodium.multiply(a, keys.judge),
        sodium.multiply_base(a),
        sodium.multiply(b, keys.recipient),
        sodium.multiply_base(b),
    )
    return prove(keys, elements, (Witness(secret), Witness(a)), message, rng)


def verify(recipient: bytes, keys: Keys, message: bytes, signature: bytes) -> bool:
    """Figure 5, Verify: whether the judge would accept it too; `recipient` is the secret key."""
    return _checked(lambda it: (it.e_r, it.r), recipient, keys, message, signature)


def judge(secret: bytes, keys: Keys, message: bytes, signature: bytes) -> bool:
    """Figure 5, Judge: whether the sender has signed `message`; `secret` is the judge's secret key."""
    return _checked(lambda it: (it.e_j, it.j), secret, keys, message, signature)


def prove(
    keys: Keys, elements: Elements, witnesses: tuple[Witness, Witness], message: bytes, rng: Randomness
) -> bytes:
    """The signature with these elements, for whoever knows a witness of each disjunction; `GroupError` if a
    key or an element is none."""
    statement = _statement(keys, elements)
    drawn = [(_scalar(rng), _scalar(rng), _scalar(rng)) for _ in statement]
    made = list[list[bytes]]()
    for sides, witness, (nonce, response, challenge) in zip(statement, witnesses, drawn, strict=True):
        known = sides[witness.second]
        other = sides[not witness.second]
        pair = [[_times(nonce, base) for base, _ in known], _recomputed(other, response, challenge)]
        made += reversed(pair) if witness.second else pair
    whole = _challenge(keys, elements, [one for side in made for one in side], message)
    firsts = []
    responses = []
    for witness, (nonce, response, challenge) in zip(witnesses, drawn, strict=True):
        own = sodium.subtract_scalars(whole, challenge)
        answer = sodium.subtract_scalars(nonce, sodium.multiply_scalars(own, witness.scalar))
        firsts.append(challenge if witness.second else own)
        responses += [response, answer] if witness.second else [answer, response]
    return elements.joined() + whole + b"".join(firsts + responses)


def _checked(
    pair: Callable[[Elements], _Equation], secret: bytes, keys: Keys, message: bytes, signature: bytes
) -> bool:
    """Whether the element that is for the holder of `secret` is what it must be, and the proof holds."""
    if len(signature) != SIGNATURE_LENGTH:
        return False
    parts = [signature[at : at + ELEMENT_BYTES] for at in range(0, SIGNATURE_LENGTH, ELEMENT_BYTES)]
    elements = Elements(*parts[:4])
    scalars = parts[4:]
    base, image = pair(elements)
    try:
        mine = sodium.multiply(secret, base)
        return compare_digest(mine, image) and _holds(keys, elements, scalars, message)
    except GroupError:
        return False


def _holds(keys: Keys, elements: Elements, scalars: list[bytes], message: bytes) -> bool:
    if not all(map(sodium.is_scalar, scalars)):
        return False
    whole, *firsts = scalars[:3]
    answers = iter(scalars[3:])
    made = list[bytes]()
    for sides, first in zip(_statement(keys, elements), firsts, strict=True):
        for side, challenge in zip(sides, (first, sodium.subtract_scalars(whole, first)), strict=True):
            made += _recomputed(side, next(answers), challenge)
    return compare_digest(_challenge(keys, elements, made, message), whole)


def _statement(keys: Keys, it: Elements) -> tuple[tuple[_Side, _Side], tuple[_Side, _Side]]:
    by_sender = ((b"", keys.sender),)
    by_anybody = ((b"", it.j),)
    for_judge = ((keys.judge, it.j), (b"", it.e_j))
    for_nobody = ((b"", it.r),)
    return (by_sender, by_anybody), (for_judge, for_nobody)


def _recomputed(side: _Side, response: bytes, challenge: bytes) -> list[bytes]:
    """What response and challenge imply that was committed to: response * base + challenge * image."""
    return [sodium.add(_times(response, base), sodium.multiply(challenge, image)) for base, image in side]


def _times(scalar: bytes, base: bytes) -> bytes:
    return sodium.multiply(scalar, base) if base else sodium.multiply_base(scalar)


def _challenge(keys: Keys, elements: Elements, commitments: list[bytes], message: bytes) -> bytes:
    """The random oracle; all before the message has one length."""
    statement = keys.sender + keys.recipient + keys.judge + elements.joined()
    digest = sha512(CHALLENGE_TAG + statement + b"".join(commitments) + message).digest()
    return sodium.reduce_scalar(digest)


def _scalar(rng: Randomness) -> bytes:
    while (scalar := sodium.reduce_scalar(rng.take(2 * ELEMENT_BYTES))) == ZERO:
        pass
    return scalar


_ONE: Final = (1).to_bytes(ELEMENT_BYTES, "little")
