"""Which roles hold a VOPRF key k, one all of it or several a share each, and how much each is asked for.

    n of n   k = k_1 + ... + k_n                          all are needed
    t of n   k_i = f(i), f of degree t - 1, f(0) = k       any t are enough (Shamir, CACM 1979)

Role i evaluates with k_i alone and proves it against K_i = k_i*G, which stands in the set-up; whoever asks
adds the replies, each weighted as its share is in k.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import combinations
from typing import ClassVar, Final

import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace

from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract.declaration import KEY_EXPIRES, Info, KeyLimits, Parameter, Party, Role
from blindmatch_protocol.contract.publishing import Executor
from blindmatch_protocol.crypto.oprf import Mode, PublicKey, SecretKey

MATCHER: Final = Role("matcher")


class PublicKeys(Redacted, Struct, frozen=True):
    """The public side of a key.

    Attributes:
        whole: of the key itself.
        shares: of what each role holds, in the layout's order.
    """

    SHOWN: ClassVar = ("whole",)

    whole: PublicKey
    shares: Mapping[Role, PublicKey]


class KeyLayout(Struct, frozen=True):
    """The roles that hold a key, and how many of them make it up.

    Attributes:
        roles: in the order of their numbers, from 1 on.
        needed: how many replies give an output.
    """

    roles: tuple[Role, ...]
    needed: int

    @property
    def shared(self) -> bool:
        """Does nobody hold the whole key?"""
        return len(self.roles) > 1

    def split(self, key: SecretKey, rng: Randomness) -> dict[Role, SecretKey]:
        """What each role holds of `key`. Takes 64 bytes of `rng` for every role that is needed but one."""
        drawn = [row[None] for row in group.random_scalars(self.needed - 1, rng)]
        summands = (*drawn, reduce(group.subtract_scalars, drawn, key.rows()))
        shares = summands if self._additive else self._values([key.rows(), *drawn])
        return {
            role: SecretKey(key.mode, share.tobytes()) for role, share in zip(self.roles, shares, strict=True)
        }

    def joined(self, shares: Mapping[Role, SecretKey]) -> SecretKey:
        """The key that `needed` or more shares are of."""
        used = self._used(shares)
        parts = [
            group.multiply_scalars(w, shares[r].rows())
            for r, w in zip(used, self._weights(used), strict=True)
        ]
        return SecretKey(Mode.VOPRF, reduce(group.add_scalars, parts).tobytes())

    def combined(self, parts: Mapping[Role, Rows], executor: Executor | None = None) -> Rows:
        """The key times elements, uint8 (n, 32), from `needed` or more shares times them."""
        used = self._used(parts)
        if self._additive:
            return reduce(group.add, (parts[role] for role in used))
        weighted = [
            group.multiply(w, parts[r], executor) for r, w in zip(used, self._weights(used), strict=True)
        ]
        return reduce(group.add, weighted)

    def fits(self, keys: PublicKeys) -> bool:
        """Do any `needed` of the shares' public keys make up the whole one?"""
        rows = {role: key.rows() for role, key in keys.shares.items()}
        return all(
            self.combined({role: rows[role] for role in some}).tobytes() == keys.whole.element
            for some in combinations(self.roles, self.needed)
        )

    @property
    def _additive(self) -> bool:
        return self.needed == len(self.roles)

    def _used(self, held: Mapping[Role, object]) -> list[Role]:
        return [role for role in self.roles if role in held][: self.needed]

    def _values(self, coefficients: Sequence[Rows]) -> Iterator[Rows]:
        """The polynomial at 1, 2, ..., by Horner's rule; the first coefficient is the key."""
        for point in range(1, len(self.roles) + 1):
            value = coefficients[-1]
            for coefficient in coefficients[-2::-1]:
                value = group.add_scalars(group.multiply_scalars(value, _scalar(point)), coefficient)
            yield value

    def _weights(self, used: Sequence[Role]) -> list[Rows]:
        """Lagrange's coefficients at 0 of these roles' points; 1 each if the shares are summands."""
        points = [] if self._additive else [1 + self.roles.index(role) for role in used]
        found = [_scalar(1)] * len(used) if self._additive else []
        for mine in points:
            others = [point for point in points if point != mine]
            above = np.prod(others, dtype=object)
            below = np.prod([o - mine for o in others], dtype=object)
            found.append(_scalar(int(above) * pow(int(below), -1, group.ORDER) % group.ORDER))
        return found


def _scalar(value: int) -> Rows:
    return np.frombuffer(value.to_bytes(group.SCALAR_BYTES, "little"), np.uint8).reshape(1, -1)


ONE_HOLDER: Final = KeyLayout((MATCHER,), 1)


_A, _B, _C = (Role(f"party_{letter}") for letter in "abc")
HALVES: Final = KeyLayout((_A, _B), 2)
"""k = k_a + k_b."""
ANY_TWO: Final = KeyLayout((_A, _B, _C), 2)
"""Two of three shares are enough."""


def declared(whole: Info, layout: KeyLayout, name: str, words: str) -> Info:
    """The declaration of `whole` with its key in shares, option 2c: called `name`, each role at a party of
    its own name; `words` say in the summary what the device is told."""
    everyone = layout.needed == len(layout.roles)
    enough = "all" if everyone else f"any {layout.needed}"
    return replace(
        whole,
        name=name,
        version=1,
        option="2c",
        summary=f"{len(layout.roles)} parties have a share each of a VOPRF key; replies of {enough} of them "
        f"tell the device, and only it, {words}.",
        roles={role: Party(role) for role in layout.roles},
        apart=(frozenset(layout.roles),),
        quorum=0 if everyone else layout.needed,
    )


MOST_LIMIT: Final = 1 << 40
LIMITS: Final = (
    Parameter(
        "account_evaluations",
        "Tokens an account may ask for under one key; 0 for no limit.",
        "tokens",
        1 << 20,
        0,
        MOST_LIMIT,
    ),
    Parameter(
        "all_evaluations",
        "Tokens all accounts together may ask for under one key; 0 for no limit.",
        "tokens",
        1 << 24,
        0,
        MOST_LIMIT,
    ),
    Parameter(
        KEY_EXPIRES,
        "Unix time from which on neither matcher nor device uses the key; 0 for never.",
        "seconds",
        0,
        0,
        MOST_LIMIT,
    ),
)


class Limits(Struct, frozen=True):
    """See `LIMITS`. 0 is no limit, and never; `DesignError` if a value is out of its range."""

    account_evaluations: int = 0
    all_evaluations: int = 0
    key_expires: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, LIMITS)

    @classmethod
    def of(cls, values: Mapping[str, int], tokens: int) -> Limits:
        """The limits among a set's parameters, for requests of so many tokens; all or none must be there;
        `DesignError` if some are missing, out of range, or below one request."""
        held = {limit.name: values[limit.name] for limit in LIMITS if limit.name in values}
        if held and len(held) < len(LIMITS):
            names = ", ".join(limit.name for limit in LIMITS)
            raise DesignError(f"parameters: the key's limits must all be there: {names}")
        for name, value in held.items():
            if name != KEY_EXPIRES and 0 < value < tokens:
                raise DesignError(f"parameter {name}: must be 0 or at least the {tokens} tokens of a request")
        return cls(**held)

    def values(self) -> dict[str, int]:
        return asdict(self)

    def on(self, key: bytes, cost: int) -> KeyLimits:
        """What the host of a role is told."""
        account = self.account_evaluations or None
        everyone = self.all_evaluations or None
        return KeyLimits(key, cost, account, everyone, self.key_expires or None)


def check_ranges(values: object, declared: tuple[Parameter, ...]) -> None:
    """Make sure that the attributes of `values` are within what is declared of them; `DesignError` if one is
    not."""
    for parameter in declared:
        check_range(parameter, getattr(values, parameter.name))


def check_range(parameter: Parameter, value: int) -> None:
    """Make sure that a value is within what is declared of its parameter; `DesignError` if it is not."""
    if not parameter.least <= value <= parameter.most:
        raise DesignError(f"parameter {parameter.name}: must be {parameter.least} to {parameter.most}")


def check_names(values: Mapping[str, int], declared: tuple[Parameter, ...]) -> None:
    """Make sure that there is a value of each declared parameter and no other; `DesignError` if not."""
    names = [parameter.name for parameter in declared]
    if sorted(values) != sorted(names):
        raise DesignError(f"parameters: must be {', '.join(names)}")
