"""How much a VOPRF key may be asked for, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.declaration import KEY_EXPIRES, KeyLimits, Parameter

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
    """See `LIMITS`. 0 is no limit, and never.

    Raises:
        DesignError: if a value is out of its range.
    """

    account_evaluations: int = 0
    all_evaluations: int = 0
    key_expires: int = 0

    def __post_init__(self) -> None:
        check_ranges(self, LIMITS)

    @classmethod
    def of(cls, values: Mapping[str, int], tokens: int) -> Limits:
        """The limits among a set's parameters, for requests of so many tokens; all or none must be there.

        Raises:
            DesignError: if some are missing, out of range, or below one request.
        """
        held = {limit.name: values[limit.name] for limit in LIMITS if limit.name in values}
        if held and len(held) < len(LIMITS):
            names = ", ".join(limit.name for limit in LIMITS)
            raise DesignError(f"parameters: the key's limits must all be there: {names}")
        for name, value in held.items():
            if name != KEY_EXPIRES and 0 < value < tokens:
                raise DesignError(f"parameter {name}: must be 0 or at least the {tokens} tokens of a request")
        return cls(**held)

    def values(self) -> dict[str, int]:
        """The parameters by name."""
        return asdict(self)

    def on(self, key: bytes, cost: int) -> KeyLimits:
        """What the host of a role is told."""
        account, everyone = self.account_evaluations or None, self.all_evaluations or None
        return KeyLimits(key, cost, account, everyone, self.key_expires or None)


def check_ranges(values: object, declared: tuple[Parameter, ...]) -> None:
    """Make sure that the attributes of `values` are within what is declared of them.

    Raises:
        DesignError: if one is not.
    """
    for parameter in declared:
        if not parameter.least <= getattr(values, parameter.name) <= parameter.most:
            raise DesignError(f"parameter {parameter.name}: must be {parameter.least} to {parameter.most}")
