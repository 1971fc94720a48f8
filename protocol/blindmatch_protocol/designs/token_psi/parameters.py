"""The parameters of token-psi and the rules between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final

from blindmatch_protocol.contract.declaration import Parameter
from blindmatch_protocol.designs.token_psi.messages import MOST_TOKENS
from blindmatch_protocol.designs.token_psi.shares import candidate_count
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS
from blindmatch_protocol.errors import DesignError

MOST_CANDIDATES: Final = 1 << 20
"""Secrets a device tries for a picture at most, about a tenth of a second of work."""

DECLARED: Final = (
    Parameter("k", "Bits of a band.", "bits", 24, 4, 32),
    Parameter("bands", "Bands of a hash, each giving an entry one token.", "bands", 10, 2, 16),
    Parameter("probes", "Tokens that a picture asks for in each band.", "tokens", 16, 1, 128),
    Parameter("needed", "Bands that must agree before a label opens.", "bands", 2, 2, 3),
)


@dataclass(frozen=True, slots=True)
class Tokening:
    """How hashes become tokens; see `DECLARED`.

    Raises:
        DesignError: if the values do not go together.
    """

    k: int = 24
    bands: int = 10
    probes: int = 16
    needed: int = 2

    def __post_init__(self) -> None:
        for parameter in DECLARED:
            if not parameter.least <= getattr(self, parameter.name) <= parameter.most:
                bounds = f"{parameter.least} to {parameter.most}"
                raise DesignError(f"parameter {parameter.name}: must be {bounds}")
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


def of_values(values: Mapping[str, int]) -> Tokening:
    """The tokening with these parameters, all of which must be there.

    Raises:
        DesignError: if one is missing, unknown or out of range, or they do not go together.
    """
    if values.keys() != {parameter.name for parameter in DECLARED}:
        raise DesignError("parameters: must be k, bands, probes and needed")
    return Tokening(**values)
