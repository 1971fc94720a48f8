"""How wide-psi makes tokens of hashes, and its parameters.

    hash, 256 bits --runs of columns--> band 0: 42 bits | ... | band 5: 42 bits | 4 left over

PDQ's bits are a matrix of 16 x 16. Neighbours in it flip together, so an edit leaves more bands alone where
bands are of neighbours. Such bands are guessed more easily, too. Runs of four bits of a column lie between
whole columns and bits scattered over the matrix, in what they find and in what guesses open
(docs/designs/wide-psi.md, figures).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

from blindmatch_protocol.contract.declaration import Parameter
from blindmatch_protocol.designs.deltas import SIGNATURES
from blindmatch_protocol.designs.token_psi import Tokening
from blindmatch_protocol.designs.token_psi.tokens import HASH_BITS, Order
from blindmatch_protocol.designs.voprf.layout import LIMITS, Limits, check_names, check_range
from blindmatch_protocol.sets.filter import FINGERPRINT_BYTES, LEAST_FINGERPRINT

RUN: Final = 4
"""Bits of a run: of one column, one row below the other."""
_STEP: Final = 13
"""From one run to the next in the order: coprime to the number of runs, so that each comes once."""


def _in_runs() -> Order:
    """Return the bits, band after band: the i-th run is number 13 i mod 64 of the matrix read column by
    column, each from row 0 on. Row and column have bit 255 - 16 * row - column."""
    runs = HASH_BITS // RUN
    places = [RUN * (_STEP * at % runs) + inside for at in range(runs) for inside in range(RUN)]
    return tuple(255 - 16 * (place % 16) - place // 16 for place in places)


BY_RUNS: Final[Order] = _in_runs()

PHONE_PICTURES: Final = 20_000
"""Pictures that the default limit answers an account under one key: about one account in a thousand sends
more in a year (docs/capacity.md)."""

WIDE: Final = (
    Parameter("k", "Bits of a band.", "bits", 42, 4, 64),
    Parameter("bands", "Bands of a hash, each giving an entry one token.", "bands", 6, 1, 16),
    Parameter("probes", "Tokens that a picture asks for in each band.", "tokens", 40, 1, 128),
)
FILTER: Final = Parameter(
    "filter",
    "Kind of set: 0 labelled, 1 filter (unconfirmed matches, which are never reported).",
    "kind",
    0,
    0,
    1,
)
FINGERPRINT: Final = Parameter(
    "fingerprint",
    "Bytes of each token in a filter; a token that is not listed passes with 2^-8 for each.",
    "bytes",
    LEAST_FINGERPRINT,
    LEAST_FINGERPRINT,
    FINGERPRINT_BYTES,
)


class WideTokening(Tokening, frozen=True):
    """How hashes become wide tokens, of which one that is listed is enough; see `WIDE`; `DesignError` if the
    values do not go together."""

    order: ClassVar[Order] = BY_RUNS
    declared: ClassVar[tuple[Parameter, ...]] = WIDE

    k: int = 42
    bands: int = 6
    probes: int = 40
    needed: int = 1

    def values(self) -> dict[str, int]:
        return {one.name: getattr(self, one.name) for one in WIDE}


def _limits() -> tuple[Parameter, ...]:
    """Those of an account and of time. One for all accounts together would be used up within seconds at the
    volume of a large messenger, and nobody would be answered (docs/capacity.md)."""
    account, _, expires = LIMITS
    pictures = PHONE_PICTURES * WideTokening().tokens
    return (
        Parameter(account.name, account.says, account.unit, pictures, account.least, account.most),
        expires,
    )


ACCOUNT_LIMITS: Final = _limits()
DECLARED: Final = (*WIDE, FILTER, FINGERPRINT, *ACCOUNT_LIMITS, SIGNATURES)


def of_values(values: Mapping[str, int]) -> tuple[WideTokening, Limits]:
    """Return tokening and limits of a set with these parameters.

    Raises:
        DesignError: One is missing, unknown or out of range, or they do not go together.
    """
    check_names(values, DECLARED)
    for parameter in (FILTER, FINGERPRINT):
        check_range(parameter, values[parameter.name])
    tokening = WideTokening(**{one.name: values[one.name] for one in WIDE})
    limits = {one.name: values[one.name] for one in ACCOUNT_LIMITS}
    return tokening, Limits.of({**limits, "all_evaluations": 0}, tokening.tokens)
