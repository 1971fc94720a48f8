"""Lines about what is sent for every picture, and hidden in it.

Each predicate runs the design for 16 pictures that no check has met, and has each session read alone. A leak
that takes several sessions to read falls under no line here.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np
from blindmatch_protocol.contract import Adversary, Item, Party
from blindmatch_protocol.contract.design import told

from blindmatch_simulations.evaluation.conformance.leakage.pinning import visible
from blindmatch_simulations.evaluation.conformance.leakage.play import opponents
from blindmatch_simulations.evaluation.conformance.leakage.spans import HEAD, TAIL, Hull, number
from blindmatch_simulations.evaluation.conformance.unseen.suspect import (
    PICTURES,
    Suspect,
    count_right,
    deploy,
    got,
    pictures,
    rng_of,
    tells,
)
from blindmatch_simulations.measure.intervals import at_least
from blindmatch_simulations.testbed.inprocess.deployed import Answering, Deployed, run_session

MOST_WRONG: Final = 1
"""Of 16 sessions, in which a leak of every picture may not be read."""
GUESSES: Final = 4
"""Sessions of each of the 16 pictures that are read with the right secret and with another one."""
GUESSED: Final = 0.002
"""Probability that a reader with another secret is right so often by guessing."""
PIECE: Final = 4
"""Bytes of the tape in a row that count as standing in what is sent."""
MANY: Final = 1_024
"""Sessions in which a derived key may not come twice."""
WINDOW: Final = 8
"""Bytes of a derived key that may not come twice."""
LONGEST_TAPE: Final = 2
"""Times the shortest tape: a device that repeats its draws takes at least so much more for some sessions."""
SAMPLES: Final = 64
"""Sessions in a row that add nothing to the space that what is sent spans."""
MOST_SAMPLES: Final = 6_000


def always_right(suspect: Suspect, deployed: Deployed, purpose: str, secret: bytes | None = None) -> bool:
    return count_right(suspect, deployed, pictures(), purpose, secret) >= PICTURES - MOST_WRONG


def needs_secret(suspect: Suspect) -> bool:
    """Is a design made for a fresh secret read with that secret, and not with another fresh one?"""
    if suspect.under is None or not tells(suspect):
        return False
    mine = rng_of("secret").take(32)
    other = rng_of("another secret").take(32)
    deployed = deploy(suspect.under(mine))
    items = pictures() * GUESSES
    right = count_right(suspect, deployed, items, "with the secret", mine)
    wrong = count_right(suspect, deployed, items, "without", other)
    return right >= len(items) - GUESSES * MOST_WRONG and _is_guess(suspect, wrong, len(items))


def _is_guess(suspect: Suspect, right: int, of: int) -> bool:
    """May whoever always says the most frequent value be right so often? One-sided binomial test."""
    (_, most), *_ = Counter(suspect.says(item) for item in pictures()).most_common(1)
    return at_least(right, of, most / PICTURES) >= GUESSED


def is_enciphered_for_receiver(suspect: Suspect) -> bool:
    """Every session is read with a secret of the receiver, and with no other; and the device takes as much
    randomness for one picture as for another, so that it is sent in bytes of its own."""
    return needs_secret(suspect) and not _repeats_draws(suspect)


def is_drawn_until_it_tells(suspect: Suspect) -> bool:
    """Every session is read with a secret of the receiver, and with no other; and some sessions take at least
    twice the randomness of others that send as many bytes."""
    return needs_secret(suspect) and _repeats_draws(suspect)


def _repeats_draws(suspect: Suspect) -> bool:
    deployed = deploy(suspect.design())
    ran = [run_session(deployed, item, rng_of(f"tape/{at}")) for at, item in enumerate(pictures())]
    tapes = [len(one.tape) for one in ran]
    lengths = {tuple(map(len, got(one, deployed, suspect.parties))) for one in ran}
    return len(lengths) == 1 and max(tapes) >= LONGEST_TAPE * max(1, min(tapes))


def is_no_sum_of_bits(suspect: Suspect) -> bool:
    """Every session is read without a secret; no four bytes of the tape stand in what is sent; and what is
    sent spans one affine space over GF(2), whatever the picture is, in all its bytes."""
    if not tells(suspect):
        return False
    deployed = deploy(suspect.design())
    if not always_right(suspect, deployed, "without a secret", b"") or _shows_tape(suspect, deployed):
        return False
    return not _spans_differ(suspect, deployed, slice(None))


def is_under_derived_key_beside_tape(suspect: Suspect) -> bool:
    """Every session is read without a secret, and four bytes of the tape stand in what is sent; but no
    session is read once other bytes are put in the place of those that are derived from the tape: they are
    the same for another picture on the same tape, differ on another tape, and do not stand in it. In 1,024
    sessions no eight of these bytes come twice, nor do eight of those that differ between two pictures in
    both of these, whatever lies between them. What is sent spans one affine space over GF(2), whatever the
    picture is, in all its bytes."""
    if not tells(suspect):
        return False
    assert suspect.reads is not None
    deployed = deploy(suspect.design())
    if not always_right(suspect, deployed, "beside the tape", b"") or not _shows_tape(suspect, deployed):
        return False
    for at, item in enumerate(pictures()):
        other = pictures()[(at + 1) % PICTURES]
        mine, paired, again = (
            run_session(deployed, one, rng_of(tape), answering=_answers(deployed))
            for one, tape in (
                (item, f"derived/{at}"),
                (other, f"derived/{at}"),
                (item, f"derived/{at}/again"),
            )
        )
        sides = [got(one, deployed, suspect.parties) for one in (mine, paired, again)]
        if len({tuple(map(len, bodies)) for bodies in sides}) > 1:
            return False
        seen = [
            _without_derived(body, alike, new, mine.tape) for body, alike, new in zip(*sides, strict=True)
        ]
        if suspect.reads(seen, b"") == suspect.says(item):
            return False
    comes_again = _comes_again(suspect, deployed) or _pad_comes_again(suspect, deployed)
    return not comes_again and not _spans_differ(suspect, deployed, slice(None))


def _pad_comes_again(suspect: Suspect, deployed: Deployed) -> bool:
    """Are eight bytes that differ between two pictures on one tape the same for both on another tape, or are
    there no eight?"""
    rows, theirs = (
        [
            b"".join(got(run_session(deployed, item, rng_of(f"pads/{at}")), deployed, suspect.parties))
            for at in range(MANY)
        ]
        for item in pictures()[:2]
    )
    if len({len(row) for row in (*rows, *theirs)}) > 1:
        return True
    mine, other = (np.frombuffer(b"".join(one), np.uint8).reshape(MANY, -1) for one in (rows, theirs))
    hiding = np.flatnonzero((mine != other).any(axis=0))
    windows = [hiding[start : start + WINDOW] for start in range(len(hiding) - WINDOW + 1)]
    both = (np.concatenate([mine[:, window], other[:, window]], axis=1) for window in windows)
    return not windows or any(len(np.unique(pads, axis=0)) < MANY for pads in both)


def _answers(deployed: Deployed) -> Answering:
    """Roles that draw the same again."""
    rng = rng_of("replies")
    return lambda role, body: deployed.answer(role, body, rng)


def _comes_again(suspect: Suspect, deployed: Deployed) -> bool:
    """Are eight derived bytes in a row the same in two of many sessions, or are there none in a row?"""
    ran = [
        run_session(deployed, pictures()[side], rng_of("derived/0"), answering=_answers(deployed))
        for side in (0, 1)
    ]
    first, other = (b"".join(got(one, deployed, suspect.parties)) for one in ran)
    rows = [
        b"".join(got(run_session(deployed, pictures()[0], rng_of(f"again/{at}")), deployed, suspect.parties))
        for at in range(MANY)
    ]
    if {len(row) for row in rows} != {len(first)}:
        return True
    values = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), len(first))
    mine = np.frombuffer(first, np.uint8)
    is_derived = (mine == np.frombuffer(other, np.uint8)) & (values != values[0]).any(axis=0)
    is_derived &= ~visible(first, ran[0].tape)
    found = [
        values[:, start : start + WINDOW]
        for start in range(len(mine) - WINDOW + 1)
        if is_derived[start : start + WINDOW].all()
    ]
    return not found or any(len(np.unique(window, axis=0)) < len(rows) for window in found)


def _without_derived(body: bytes, other: bytes, again: bytes, tape: bytes) -> bytes:
    """A body with the bytes that are derived from the tape replaced by those of a session on another tape.

    Args:
        other: the body for another picture on the same tape.
        again: the body for the same picture on another tape.
    """
    mine, theirs, new = (np.frombuffer(one, np.uint8) for one in (body, other, again))
    is_derived = (mine == theirs) & (mine != new) & ~visible(body, tape)
    return np.where(is_derived, new, mine).tobytes()


def is_amid_long_body(suspect: Suspect) -> bool:
    """Every session is read without a secret; no four bytes of the tape stand in what is sent; and a sum of
    bits between the first 160 and the last 32 bytes tells two pictures apart, but none of those ends."""
    if not tells(suspect):
        return False
    deployed = deploy(suspect.design())
    if not always_right(suspect, deployed, "amid", b"") or _shows_tape(suspect, deployed):
        return False
    if _longest(suspect, deployed) <= HEAD + TAIL or _spans_differ(suspect, deployed, None):
        return False
    return _spans_differ(suspect, deployed, slice(HEAD, -TAIL))


def _longest(suspect: Suspect, deployed: Deployed) -> int:
    return len(b"".join(got(run_session(deployed, pictures()[0], rng_of("long")), deployed, suspect.parties)))


def _shows_tape(suspect: Suspect, deployed: Deployed) -> bool:
    """Do four bytes of the tape in a row stand in what is sent?"""
    for at, item in enumerate(pictures()[:2]):
        ran = run_session(deployed, item, rng_of(f"pieces/{at}"))
        sent = b"".join(got(ran, deployed, suspect.parties))
        if any(ran.tape[start : start + PIECE] in sent for start in range(len(ran.tape) - PIECE + 1)):
            return True
    return False


def _spans_differ(suspect: Suspect, deployed: Deployed, part: slice | None) -> bool:
    """Do two pictures span different spaces in a part of what is sent; in its ends, if `part` is None?"""
    first, other = (_span(suspect, deployed, item, part) for item in pictures()[:2])
    return not (first.size == other.size and first.within(other))


def _span(suspect: Suspect, deployed: Deployed, item: Item, part: slice | None) -> Hull:
    hull = Hull()
    settled = 0
    for at in range(MOST_SAMPLES):
        ran = run_session(deployed, item, rng_of(f"span/{at}"))
        sent = b"".join(got(ran, deployed, suspect.parties))
        grew = hull.add(number(sent) if part is None else int.from_bytes(sent[part], "big"))
        settled = 0 if grew else settled + 1
        if settled == SAMPLES:
            break
    return hull


def is_shared_by_two_of_three(suspect: Suspect) -> bool:
    """Two parties of three or more read every session together and neither does alone; no coalition that is
    played consists of these two; and what is declared to them does not say it."""
    if len(suspect.parties) != 2 or not tells(suspect):
        return False
    deployed = deploy(suspect.design())
    roles = set(deployed.design.info.roles.values())
    played = {one.parties for one in opponents(deployed.design, Adversary.SEMI_HONEST)}
    if not suspect.parties < roles or suspect.parties in played or _declared(suspect, deployed):
        return False
    return always_right(suspect, deployed, "two of three", b"") and not any(
        _reads_alone(suspect, deployed, party) for party in suspect.parties
    )


def _declared(suspect: Suspect, deployed: Deployed) -> bool:
    """Do the facts that are declared to the two tell apart what the leak tells apart?"""
    facts = told(deployed.design, suspect.parties, Adversary.SEMI_HONEST)
    values = {tuple(fact.project(item, deployed.setup) for fact in facts) for item in pictures()}
    return len(values) >= len({suspect.says(item) for item in pictures()})


def _reads_alone(suspect: Suspect, deployed: Deployed, party: Party) -> bool:
    """Is what the leak tells in what one of the two gets?"""
    for at, item in enumerate(pictures()):
        ran = run_session(deployed, item, rng_of(f"alone/{at}"))
        value = suspect.says(item)
        sent = b"".join(got(ran, deployed, {party}))
        if isinstance(value, bytes) and value in sent:
            return True
    return False
