"""What a modified client, or many that pool, gets out of a set, by formula; the attack is in the harness.

It asks for tokens of its own choice, in two bands or more, reads what the store holds for them and tries all
combinations. An entry opens if enough of its tokens were asked for: with two bands, of N uniform entries
about N (E / 2^(k+1))^2 after E evaluations, up to E = 2^(k+1), which opens all of them. Spread over all bands
few evaluations open more: 1.8 times that of ten bands. Real pictures share values of their bands, so whoever
asks for the frequent ones opens far more of a list of them. Which of the bands hit is never seen on its own,
so the trials cannot be cut down: (E / 2)^2 of them with two bands.
"""

from __future__ import annotations

from math import comb

from blindmatch_protocol.designs.token_psi.parameters import Tokening


def expected_share(evaluations: float, k: int, needed: int = 2, bands: int | None = None) -> float:
    """The share of a uniform list's entries that so many evaluations open, of single-member families, if they
    are spread evenly over `bands` bands; over as many as are needed without it."""
    over = bands or needed
    asked = min(1.0, evaluations / over / 2**k)
    return float(sum(comb(over, n) * asked**n * (1 - asked) ** (over - n) for n in range(needed, over + 1)))


def best_share(evaluations: float, tokening: Tokening) -> float:
    """The same over as many bands as open most."""
    t = tokening
    return max(expected_share(evaluations, t.k, t.needed, n) for n in range(t.needed, t.bands + 1))


def evaluations_for_all(k: int, needed: int = 2) -> int:
    """Evaluations that open every entry."""
    return int(needed * 2**k)
