"""The parameters of token-psi and the rules between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.declaration import Parameter
from blindmatch_protocol.designs.recipe import SIGNATURES
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS
from blindmatch_protocol.designs.voprf.limits import LIMITS, Limits, check_ranges
from blindmatch_protocol.designs.voprf.messages import MOST_ELEMENTS

MOST_CANDIDATES: Final = 1 << 20
"""Secrets a device tries for a picture at most, about a tenth of a second of work."""

TOKENING: Final = (
    Parameter("k", "Bits of a band.", "bits", 24, 4, 32),
    Parameter("bands", "Bands of a hash, each giving an entry one token.", "bands", 10, 2, 16),
    Parameter("probes", "Tokens that a picture asks for in each band.", "tokens", 16, 1, 128),
    Parameter("needed", "Bands that must agree before a label opens.", "bands", 2, 2, 3),
)
DECLARED: Final = (*TOKENING, *LIMITS, SIGNATURES)
"""With the default limits a device on its own opens a sixth of a percent of a uniform list, if it asks over
all bands, and all that pool 26 %; of a list of real pictures, whose bands take some values more often, far
more."""


class Tokening(Struct, frozen=True):
    """How hashes become tokens; see `TOKENING`.

    Raises:
        DesignError: if the values do not go together.
    """

    k: int = 24
    bands: int = 10
    probes: int = 16
    needed: int = 2

    def __post_init__(self) -> None:
        check_ranges(self, TOKENING)
        if self.k * self.bands > HASH_BITS:
            raise DesignError(f"k times bands: must be at most {HASH_BITS}, not {self.k * self.bands}")
        if self.probes > 1 << self.k:
            raise DesignError(f"probes: a band of {self.k} bits has only {1 << self.k} tokens")
        if self.tokens > MOST_ELEMENTS:
            raise DesignError(f"bands times probes: must be at most {MOST_ELEMENTS}, not {self.tokens}")
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


def of_values(values: Mapping[str, int]) -> tuple[Tokening, Limits]:
    """Tokening and limits with these parameters; all of the tokening's must be there, and all limits or none.

    Raises:
        DesignError: if one is missing, unknown or out of range, or they do not go together.
    """
    tokening = {p.name: values[p.name] for p in TOKENING if p.name in values}
    if len(tokening) < len(TOKENING) or values.keys() - {p.name for p in DECLARED}:
        raise DesignError("parameters: must be k, bands, probes and needed, and the key's limits")
    found = Tokening(**tokening)
    return found, Limits.of(values, found.tokens)
