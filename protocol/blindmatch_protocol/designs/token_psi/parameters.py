"""The parameters of token-psi and the rules between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from blindmatch_protocol.contract.declaration import KEY_EXPIRES, Parameter
from blindmatch_protocol.designs.recipe import SIGNATURES
from blindmatch_protocol.designs.token_psi.messages import MOST_TOKENS
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS
from blindmatch_protocol.errors import DesignError

MOST_CANDIDATES: Final = 1 << 20
"""Secrets a device tries for a picture at most, about a tenth of a second of work."""

TOKENING: Final = (
    Parameter("k", "Bits of a band.", "bits", 24, 4, 32),
    Parameter("bands", "Bands of a hash, each giving an entry one token.", "bands", 10, 2, 16),
    Parameter("probes", "Tokens that a picture asks for in each band.", "tokens", 16, 1, 128),
    Parameter("needed", "Bands that must agree before a label opens.", "bands", 2, 2, 3),
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
"""With the defaults a device on its own opens a sixth of a percent of a uniform list, if it asks over all
bands, and all that pool 26 %; of a list of real pictures, whose bands take some values more often, far
more."""
DECLARED: Final = (*TOKENING, *LIMITS, SIGNATURES)


@dataclass(frozen=True, slots=True)
class Tokening:
    """How hashes become tokens; see `TOKENING`.

    Raises:
        DesignError: if the values do not go together.
    """

    k: int = 24
    bands: int = 10
    probes: int = 16
    needed: int = 2

    def __post_init__(self) -> None:
        _check_ranges(self, TOKENING)
        if self.k * self.bands > HASH_BITS:
            raise DesignError(f"k times bands: must be at most {HASH_BITS}, not {self.k * self.bands}")
        if self.probes > 1 << self.k:
            raise DesignError(f"probes: a band of {self.k} bits has only {1 << self.k} tokens")
        if self.tokens > MOST_TOKENS:
            raise DesignError(f"bands times probes: must be at most {MOST_TOKENS}, not {self.tokens}")
        if self.needed > self.bands:
            raise DesignError("needed: must be at most the number of bands")
        if candidate_count(self.bands, self.probes, self.needed) > MOST_CANDIDATES:
            raise DesignError(f"more than {MOST_CANDIDATES} combinations of probes to try for a picture")

    @property
    def tokens(self) -> int:
        """Tokens in every request."""
        return self.bands * self.probes

    def values(self) -> dict[str, int]:
        """The parameters by name."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a key may be asked for, and until when; see `LIMITS`. 0 is no limit, and never.

    Raises:
        DesignError: if a value is out of its range.
    """

    account_evaluations: int = 0
    all_evaluations: int = 0
    key_expires: int = 0

    def __post_init__(self) -> None:
        _check_ranges(self, LIMITS)

    def values(self) -> dict[str, int]:
        """The parameters by name."""
        return asdict(self)


def of_values(values: Mapping[str, int]) -> tuple[Tokening, Limits]:
    """Tokening and limits with these parameters; all of the tokening's must be there, and all limits or none.

    Raises:
        DesignError: if one is missing, unknown or out of range, or they do not go together.
    """
    tokening, limits = (
        {p.name: values[p.name] for p in some if p.name in values} for some in (TOKENING, LIMITS)
    )
    if len(tokening) < len(TOKENING) or values.keys() - {p.name for p in DECLARED}:
        raise DesignError("parameters: must be k, bands, probes and needed, and the key's limits")
    if limits and len(limits) < len(LIMITS):
        names = ", ".join(parameter.name for parameter in LIMITS)
        raise DesignError(f"parameters: the key's limits must all be there: {names}")
    found, bounds = Tokening(**tokening), Limits(**limits)
    for name, value in bounds.values().items():
        if name != KEY_EXPIRES and 0 < value < found.tokens:
            raise DesignError(
                f"parameter {name}: must be 0 or at least the {found.tokens} tokens of a request"
            )
    return found, bounds


def _check_ranges(values: Tokening | Limits, declared: tuple[Parameter, ...]) -> None:
    for parameter in declared:
        if not parameter.least <= getattr(values, parameter.name) <= parameter.most:
            raise DesignError(f"parameter {parameter.name}: must be {parameter.least} to {parameter.most}")
