"""What modified devices open of a list of uniform hashes, by formula; all under one pair of keys.

Write k for a band's bits, s for a slot's, N for entries, P for a picture's tokens, b for bands. A *guessed
pair* is a second question about a slot and a token in each of two bands that read this slot.

**One guessed pair.** All 2^k tokens of a band asked for, about m = (2^k - N) / 2^s unlisted ones read any
given slot, a Poisson number with mean m. Of the tokens of a slot one is an entry's: it is the one that was
picked with probability E[1 / (1 + Poisson(m))] = (1 - e^-m) / m, about 2^(s-k). Two bands must be right:
2^(2s-2k). A slot holds N / 2^s entries on average, so a question opens N 2^(s-2k) of N entries:

    share after E questions = E 2^(s-2k)

A picture has one second question. m phones of B pictures have E = m B, and the share is m B 2^(s-2k).

**Small tables.** If N < 2^s and it shows which slots hold an entry, questions go to these alone. Each opens
its entry with 2^(2s-2k), so the share is E 2^(2s-2k) / N, larger by 2^s / N. Empty places of a record
therefore look like full ones. A full slot is still read by one token more in each band than the m others, so
its count in all bands is higher by sqrt(b / m) standard deviations: 0.03 at the default sizes, and one or
more where 2^(k-s) is not far above b. There the first formula is too low for a small list. At the default
sizes a simulation of 1,000 full slots of 2^17 shows that the fullest thousandth of the slots holds less than
three times what chance puts there; it shows no closer bound.

**Several keys.** Under L independent pairs of keys for one list a pair of tokens is worth a question if it
agrees on a slot under each, which chance does with 2^(-sL): s becomes sL. Tokens must have been asked for
under each key, so the share is also at most what a known second key opens.

**The second key known** (to a party that has it whole, or a thief): no question is needed, a pair of tokens
is tested offline. E pictures spread evenly over j bands ask for f = E P / (j 2^k) of the tokens of each. An
entry opens if two of its j tokens or more are among them:

    1 - (1 - f)^j - j f (1 - f)^(j - 1)     about j (j - 1) / 2 * f^2 while f is small

With few questions all b bands are best, by 2 (b - 1) / b over two bands (7/4 for b = 8); with many two are.

**Without a second question.** All tokens of w bands asked for, 2^(w k - s (w - 1)) combinations of unlisted
ones read one slot, and N of entries do. So the odds that a combination is an entry's are

    N 2^(s (w - 1) - w k)

which fall with each further band, since s < k: of a uniform list first questions alone open nothing that the
pairs of the first formula do not. This does not hold for hashes that are guessed. If an entry has tokens of w
bands with a likelihood p instead of 2^(-w k), the odds are N p 2^(s (w - 1)), and where they are above 1 no
second question is needed. Of a known hash p is near 1 / N: three bands confirm it, wrong once in 2^(2s), and
the first questions of E pictures test E P / 3 such guesses. Of look-alikes of known pictures p is far above
2^(-w k). `Extraction.hidden` states s for that, and `studies.hidden_parts` of the evaluation measures what
opens of real entries.
"""

from __future__ import annotations

from math import comb, expm1

from blindmatch_protocol.designs.slot_psi.parameters import Slotting


def chance_pairs(slotting: Slotting) -> float:
    """Pairs of tokens of an unlisted picture that agree on a slot, expected.

    Of P tokens P^2 (1 - 1/b) / 2 pairs lie in different bands; each agrees with 2^-s.
    """
    tokens = slotting.tokens
    return tokens**2 * (1 - 1 / slotting.bands) / 2 / slotting.slots


def pair_opens(slotting: Slotting, entries: int) -> float:
    """Return the probability that a guessed pair about a slot opens a given entry of that slot, once all
    tokens of two bands are known with their slots: ((1 - e^-m) / m)^2."""
    mean = (2.0**slotting.k - entries) / slotting.slots
    return 1.0 if mean <= 0 else float((-expm1(-mean) / mean) ** 2)


def unasked_odds(slotting: Slotting, entries: int, bands: int) -> float:
    """Return the odds that tokens of so many bands that read one slot are those of an entry of a uniform
    list: N 2^(s (w - 1) - w k)."""
    exponent = slotting.slot_bits * (bands - 1) - slotting.k * bands
    return entries * 2.0**exponent


def list_opened(slotting: Slotting, pictures: float, keys: int = 1) -> float:
    """Return the share of a uniform list that opens after so many pictures of modified devices, one second
    question each, under each of so many pairs of keys."""
    exponent = keys * slotting.slot_bits - 2 * slotting.k
    guessed = min(1.0, pictures * 2.0**exponent)
    return guessed if keys == 1 else min(guessed, second_key_opened(slotting, pictures))


def list_opened_if_occupancy_shows(slotting: Slotting, pictures: float, entries: int) -> float:
    """Return the same of a table that shows which of its slots hold an entry."""
    share = list_opened(slotting, pictures)
    return min(1.0, share * max(1.0, slotting.slots / entries))


def second_key_opened(slotting: Slotting, pictures: float) -> float:
    """Return the share of a uniform list that opens to whoever has the second key, after the first questions
    of so many pictures, spread over the number of bands that opens most."""
    asked = pictures * slotting.tokens / 2.0**slotting.k
    return max(_two_of(bands, min(1.0, asked / bands)) for bands in range(2, slotting.bands + 1))


def _two_of(bands: int, asked: float) -> float:
    """Return the probability that of so many tokens, each asked for with probability `asked`, two or more
    are."""
    # terms are summed, since 1 less the others would cancel where few are asked for
    return sum(comb(bands, n) * asked**n * (1 - asked) ** (bands - n) for n in range(2, bands + 1))
