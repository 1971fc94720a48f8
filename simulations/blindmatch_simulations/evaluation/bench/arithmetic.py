"""What libsodium's group arithmetic alone costs in a row: no program that calls it can take less.

Each function is called with operands that stay the same; libsodium runs in constant time, so any will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from blindmatch_protocol import group
from blindmatch_protocol.codec.randomness import system_randomness
from blindmatch_protocol.group import sodium

ENTRY: Final = {"hash_to_group": 1, "multiply": 1}
"""Operations for an entry of a set."""
OPRF: Final = {"hash_to_group": 1, "multiply": 3, "invert": 1}
"""For a hash, both sides, RFC 9497, section 3.3.1: blinding, evaluation, unblinding."""
VOPRF: Final = {"hash_to_group": 1, "multiply": 11, "invert": 1, "multiply_base": 2, "add": 2}
"""With a proof for this hash alone, section 2.2: three multiplications more for the prover, who has one
commitment by the generator, and five for the verifier, who has one by the generator and two sums."""


def arithmetic(operations: Mapping[str, int]) -> Callable[[], None]:
    """A task that makes so many calls of each operation."""
    known = _operations()
    calls = [known[name] for name, times in operations.items() for _ in range(times)]
    result = sodium.Single()

    def task() -> None:
        for function, operands in calls:
            function(result, *operands)

    return task


def _operations() -> Mapping[str, tuple[Any, tuple[bytes, ...]]]:
    rng = system_randomness()
    scalar = group.random_scalars(1, rng).tobytes()
    element = group.multiply_base(group.random_scalars(1, rng)).tobytes()
    named = {
        "hash_to_group": ("crypto_core_ristretto255_from_hash", (rng.take(group.UNIFORM_BYTES),)),
        "multiply": ("crypto_scalarmult_ristretto255", (scalar, element)),
        "multiply_base": ("crypto_scalarmult_ristretto255_base", (scalar,)),
        "add": ("crypto_core_ristretto255_add", (element, element)),
        "invert": ("crypto_core_ristretto255_scalar_invert", (scalar,)),
    }
    return {name: (sodium.on_bytes(function), operands) for name, (function, operands) in named.items()}
