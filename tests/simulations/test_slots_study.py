"""The calculator of what slot-psi finds, beside whole sessions."""

from __future__ import annotations

import numpy as np
from blindmatch_protocol.designs.slot_psi.parameters import Slotting
from blindmatch_protocol.designs.token_psi.tokens import band_bits
from blindmatch_simulations.evaluation.studies.near_pictures import EditedPairs, Fingerprints
from blindmatch_simulations.evaluation.studies.slots import Listed, found_copies, lost_tokens
from support.memory import random_hashes
from support.slot_world import ask, coefficients_of, flipped, world

RARE = Slotting(k=16, bands=8, probes=2, slot_bits=13)
"""16 tokens agree on one of 2^13 slots by chance in 1 picture of 78."""
HASHES = random_hashes(30)
BITS = band_bits(RARE.k, RARE.bands)
QUALITY = np.full(len(HASHES), 100, np.int32)


def broken(own: bytes, bands: int) -> bytes:
    """The hash with a strong bit flipped in so many bands."""
    return flipped(own, *(int(bits[-1]) for bits in BITS[:bands]))


def test_the_calculator_finds_what_whole_sessions_find() -> None:
    """Copies that agree in 0 to 3 bands; chance pairs may part the two in one of 78 copies."""
    held = world(HASHES, RARE)
    listed = Listed(HASHES, RARE, 1)
    found = []
    foretold = []
    for number in range(24):
        own = broken(HASHES[number].tobytes(), 5 + number % 4)
        label = ask(held, own, coefficients_of(own), f"copy {number}")
        found.append(label is not None)
        foretold.append(number in listed.opened_by(own, coefficients_of(own)))
    assert sum(a != b for a, b in zip(found, foretold, strict=True)) <= 2
    assert sum(foretold[0::4]) >= 5 and sum(foretold[1::4]) >= 5
    assert not any(foretold[2::4]) and not any(foretold[3::4])


def test_chance_pairs_compete_with_a_match_of_two_bands() -> None:
    """With 2^4 slots 16 tokens have seven chance pairs, so a match of two bands mostly loses, and one of all
    bands does not."""
    crowded = Slotting(k=16, bands=8, probes=2, slot_bits=4)
    listed = Listed(HASHES, crowded, 1)
    whole = 0
    two = 0
    for number, row in enumerate(HASHES):
        own = row.tobytes()
        copy = broken(row.tobytes(), 6)
        whole += number in listed.opened_by(own, coefficients_of(own))
        two += number in listed.opened_by(copy, coefficients_of(copy))
    assert whole == 30
    assert two < 20


def test_a_relative_opens_with_the_entry_that_got_its_tokens() -> None:
    twin = np.frombuffer(flipped(HASHES[3].tobytes(), *(int(bits[-1]) for bits in BITS[:2])), np.uint8)
    listed = Listed(np.concatenate([HASHES, twin[None]]), RARE, 1)
    own = HASHES[3].tobytes()
    assert listed.opened_by(own, coefficients_of(own)) == {3, 30}


def test_found_copies_are_those_that_the_device_s_own_choice_finds() -> None:
    """Copies that agree with their originals in two to eight bands, in a list that has one entry twice."""
    originals = Fingerprints(HASHES, np.stack([coefficients_of(row.tobytes()) for row in HASHES]), QUALITY)
    copies = [broken(row.tobytes(), number % 7) for number, row in enumerate(HASHES)]
    hashes = np.frombuffer(b"".join(copies), np.uint8).reshape(-1, 32)
    edited = Fingerprints(hashes, np.stack([coefficients_of(copy) for copy in copies]), QUALITY)
    pairs = EditedPairs(originals, edited, np.arange(30), np.zeros(30, np.intp), ("one",))
    fill = np.concatenate([random_hashes(5, seed=3), random_hashes(1, seed=3)])
    every = np.ones(30, np.bool_)
    found = found_copies(pairs, every, RARE, fill)
    listed = Listed(np.concatenate([fill[:5], HASHES]), RARE, 2)
    alone = [5 + n in listed.opened_by(copy, coefficients_of(copy)) for n, copy in enumerate(copies)]
    # chance pairs part the two, if at all, in copies of two bands
    assert (found != alone).sum() <= 1
    assert found.sum() >= 25
    assert not found_copies(pairs, ~every, RARE, fill).any()
    lost = np.concatenate([HASHES, HASHES[:1]])
    assert lost_tokens(lost, RARE)[-1].all() and not lost_tokens(lost, RARE)[:-1].any()
