"""Nonces that everybody can compute: told apart from those that are drawn, and from those of a secret key.

In: a role's state, the public keys in the set-up, and proofs in its replies to some questions. Out:
`BrokenError` if the nonce of a proof follows from public values, since whoever gets that proof then computes
the role's key from it, k = (r - s) / c.

A nonce is not sent, but the state holds k, so r = s + c*k modulo the group's order L (or s - c*k, with the
other sign). It is honest if it is drawn, and also if it follows from the secret key (RFC 6979, section 3.2;
RFC 8032, section 5.1.6). It is public if it follows from the request, the epoch, the public key or the
evaluated elements alone. To tell these apart the key is *respelt*: in a copy of the role's state k + L takes
the place of k. Both are 32 bytes, since k + L < 2^254, and both give the same multiple of every element, as L
times an element is the identity. So nothing that is public changes: neither the public key, computed afresh
or not, nor an evaluated element. What is derived from the bytes of the key does change. The same questions
are answered under k and under k + L with other randomness; then

    a drawn nonce is the same with 2^-252,
    one that is a digest of all of the secret key's bytes is the same with 2^-252,
    one that follows from public values is the same.

Two scalars that are the same in all replies say nothing and are left out.

What it cannot see: a key that no attribute of the state holds as 32 bytes or as a number, or that no public
key in the set-up belongs to; a role that refuses the other spelling; a nonce of few bits of the key, which
can be guessed and is another one under k + L; one that also takes in a count, a time or a few drawn bits,
which differ between the two answers. Two honest roles fail, since to this check their nonces do not go by the
key: one that reduces its key modulo L before it derives a nonce from it, and one that derives a prefix from
the key when it is opened (RFC 8032, section 5.1.6, step 1) and keeps that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
from blindmatch_protocol.contract import Role
from blindmatch_protocol.group import ORDER, SCALAR_BYTES, sodium

from blindmatch_simulations.testbed.inprocess.verdict import BrokenError

DEEP: Final = 4
MOST: Final = 96
"""Elements of one sequence, and rows of one array, in which a key is looked for."""
Proofs: TypeAlias = Mapping[tuple[str, str], Sequence[tuple[int, int]]]
"""Challenges and responses, by the fields that they stand in, in the order of the questions."""

PUBLIC_NONCE: Final = "the nonce of a proof follows from public values: the key follows from that proof"


def find_keys(state: Any, public: Collection[bytes]) -> list[int]:
    """Return the scalars in a role's state whose public keys are among `public`, elements of 32 bytes."""
    found = {number for number in _numbers(state, DEEP) if 0 < number < ORDER}
    return [
        number
        for number in sorted(found)
        if sodium.multiply_base(number.to_bytes(SCALAR_BYTES, "little")) in public
    ]


def respell_key(state: Any, key: int) -> bool:
    """Put `key` plus the group's order in the place of `key` in a role's state; did the state hold it?"""
    return _respell(state, key, DEEP)[1]


def check_nonces(role: Role, key: int, first: Proofs, respelt: Proofs) -> int:
    """Make sure that no nonce stays once the key is spelt otherwise and all randomness is drawn again.

    Returns how many proofs were compared.

    Args:
        first, respelt: proofs in replies to the same questions, under the key as it is and respelt.
    """
    compared = 0
    for path in first.keys() & respelt.keys():
        if len(set(first[path])) < 2:
            continue  # a field that does not vary is no proof
        for one, other in zip(first[path], respelt[path], strict=False):
            compared += 1
            if any(_nonce(one, key, sign) == _nonce(other, key, sign) for sign in (1, -1)):
                raise BrokenError(f"answer of {role}", PUBLIC_NONCE)
    return compared


def _nonce(proof: tuple[int, int], key: int, sign: int) -> int:
    """Return the nonce r = s + c*k (RFC 9497, section 2.2.1: s = r - c*k), or s - c*k."""
    challenge, response = proof
    return (response + sign * challenge * key) % ORDER


def _attributes(held: Any) -> Iterator[str]:
    slots = [name for kind in type(held).__mro__ for name in getattr(kind, "__slots__", ())]
    names = getattr(type(held), "__struct_fields__", ())
    yield from dict.fromkeys((*names, *slots, *getattr(held, "__dict__", ())))


def _is_array_of_scalars(held: Any) -> bool:
    return isinstance(held, np.ndarray) and held.dtype == np.uint8 and held.shape[-1:] == (SCALAR_BYTES,)


def _numbers(held: Any, depth: int) -> Iterator[int]:
    """Yield every number, and every 32 bytes as one, in an object, in its attributes and in theirs."""
    match held:
        case bool() | None:
            return
        case int():
            yield held
        case bytes() if len(held) == SCALAR_BYTES:
            yield int.from_bytes(held, "little")
        case tuple() | list():
            for part in held[:MOST]:
                yield from _numbers(part, depth)
        case _ if _is_array_of_scalars(held):
            for row in held.reshape(-1, SCALAR_BYTES)[:MOST]:
                yield int.from_bytes(row.tobytes(), "little")
        case _ if depth and hasattr(type(held), "__module__"):
            for name in _attributes(held):
                yield from _numbers(getattr(held, name, None), depth - 1)


def _respell(held: Any, key: int, depth: int) -> tuple[Any, bool]:
    """Return what takes the place of a value, and whether the key was in it; objects are changed in place."""
    other = key + ORDER
    match held:
        case bool() | None:
            return held, False
        case int():
            return (other, True) if held == key else (held, False)
        case bytes():
            raw = key.to_bytes(SCALAR_BYTES, "little")
            return (other.to_bytes(SCALAR_BYTES, "little"), True) if held == raw else (held, False)
        case tuple() | list():
            parts = [_respell(part, key, depth) for part in held[:MOST]]
            changed = any(is_changed for _, is_changed in parts)
            made = [part for part, _ in parts] + list(held[MOST:])
            return (type(held)(made), True) if changed and type(held) in (tuple, list) else (held, False)
        case _ if _is_array_of_scalars(held):
            return _respell_rows(held, key)
        case _ if depth and hasattr(type(held), "__module__"):
            changed = False
            for name in _attributes(held):
                made, is_changed = _respell(getattr(held, name, None), key, depth - 1)
                if is_changed:
                    _set_attribute(held, name, made)
                    changed = True
            return held, changed
    return held, False


def _respell_rows(held: Any, key: int) -> tuple[Any, bool]:
    rows = held.reshape(-1, SCALAR_BYTES)
    found = (rows == np.frombuffer(key.to_bytes(SCALAR_BYTES, "little"), np.uint8)).all(axis=1)
    if not found.any():
        return held, False
    made = rows.copy()
    made[found] = np.frombuffer((key + ORDER).to_bytes(SCALAR_BYTES, "little"), np.uint8)
    return made.reshape(held.shape), True


def _set_attribute(held: Any, name: str, value: Any) -> None:
    """Set an attribute, also of what is frozen."""
    if isinstance(held, msgspec.Struct):
        msgspec.structs.force_setattr(held, name, value)
    else:
        object.__setattr__(held, name, value)
