"""The table of what no check sees: what passes, the planted cheat that does, why, and a predicate.

The lines are frozen: a line is not widened to cover a cheat that the checks miss. A cheat that neither fails
nor falls under a line is a defect of the checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from blindmatch_simulations.evaluation.conformance.unseen import conditions, leaks, stored
from blindmatch_simulations.evaluation.conformance.unseen.suspect import Suspect


class Line(Struct, frozen=True):
    """A line of the table.

    Attributes:
        passes: what a design may do and pass.
        plant: the cheat of `tests/planted/unseen.py` that does so.
        why: no check sees it.
        covers: does a suspect fall under the line? It is decided by running the suspect's design.
    """

    passes: str
    plant: str
    why: str
    covers: Callable[[Suspect], bool]

    @property
    def rule(self) -> str:
        """What `covers` decides by, in words."""
        return " ".join((self.covers.__doc__ or "").split())


LINES: Final[tuple[Line, ...]] = (
    Line(
        "a cipher for a receiver who has a key of his own",
        "Sealed",
        "without the key it is as random as a blind, and a design may draw what it sends",
        leaks.is_enciphered_for_receiver,
    ),
    Line(
        "draws that are repeated until they tell somebody who has a key",
        "DrawnUntil",
        "what is sent is an honest request; `draws` notices that few drawn bytes count if there are many "
        "repetitions, but not those for a bit",
        leaks.is_drawn_until_it_tells,
    ),
    Line(
        "a cipher under a fixed key, or one beside it that is derived from the tape and does not stand in it",
        "Derived",
        "it is no sum of bits, the dictionaries hold no cipher, and no drawn byte can be held fixed",
        leaks.is_no_sum_of_bits,
    ),
    Line(
        "a cipher under a key beside it that is derived from the tape, with bytes of the tape beside both",
        "DerivedBesideTape",
        "a key of which only a digest is sent looks the same, and honest designs send such digests; bytes of "
        "the tape that are held do not decide the key",
        leaks.is_under_derived_key_beside_tape,
    ),
    Line(
        "a sum of bits in the middle of a long body",
        "Amid",
        "sums are looked for in the first 160 and last 32 bytes: the space that more bytes span takes the "
        "square of their number to explore",
        leaks.is_amid_long_body,
    ),
    Line(
        "what two of three parties see together",
        "TwoOfThree",
        "of three roles or more the games play each alone, all together and the coalitions that the design "
        "names",
        leaks.is_shared_by_two_of_three,
    ),
    Line(
        "a leak of one picture in 500 or fewer, or of a chosen picture",
        "OnePicture",
        "about 350 pictures are tried: for n drawn pictures in which it occurs once it is missed with "
        "(1 - 1/n)^350",
        conditions.is_of_few_pictures,
    ),
    Line(
        "a leak in one session of 200 or fewer, by the tape",
        "Seldom",
        "where one session shows it, r runs miss it with (1 - p)^r: r = 80 for a class of pairs, some 800 "
        "with `--games`",
        conditions.is_by_chance,
    ),
    Line(
        "a leak after an account's 1,030th picture",
        "LateInAccount",
        "an account's history is gone through up to there, and a role's calls up to 64",
        conditions.is_late_in_account,
    ),
    Line(
        "a leak at one time",
        "OnOneDay",
        "another process has the clocks of five moments; whoever waits for a day meets none of them",
        conditions.is_at_one_time,
    ),
    Line(
        "a leak in one epoch",
        "InOneEpoch",
        "epochs 1 to 5, 11 and 300,007 are tried",
        conditions.is_in_one_epoch,
    ),
    Line(
        "a leak in sets above 2,000 entries",
        "InLargeSets",
        "larger sets are not published: that would take most of a run's work",
        conditions.is_of_larger_sets,
    ),
    Line(
        "a leak of all but the pictures of one seed",
        "KnowsPictures",
        "a seed decides pictures and tapes, and anybody can work them out beforehand: run with a seed of "
        "your own",
        conditions.is_quiet_for_one_seed,
    ),
    Line(
        "a leak under the system's generator, by looking through the object that gives randomness",
        "LooksThroughRandomness",
        "what Python code holds, Python code can look into; every check records or seeds what is drawn",
        conditions.is_under_system_randomness,
    ),
    Line(
        "a sum of bits in full size alone",
        "FullSizeOnly",
        "of a design with `reduced` sizes its own are audited byte by byte, and no sum is looked for there",
        conditions.is_in_full_size,
    ),
    Line(
        "a blind of about 22 bits or more, by a one-way function",
        "FewBlinds",
        "with b bits m sessions show no repetition with exp(-m^2 / 2^(b+1)): m = 1,024, or 48 for keys",
        stored.is_repeated_in_many,
    ),
    Line(
        "one entry in 200 or fewer is never found",
        "MissesFew",
        "160 entries are tried, so that a share s is missed with (1 - s)^160",
        stored.misses_few_entries,
    ),
    Line(
        "a list that is enciphered in stored files",
        "Enciphered",
        "without the key it is as random as a set that is meant to be",
        stored.is_enciphered_in_files,
    ),
    Line(
        "a list in stored files with its bits in another order",
        "Permuted",
        "hashes are recognised in some spellings, and there are 256! orders",
        stored.is_permuted_in_files,
    ),
    Line(
        "facts that lie",
        "Misnamed",
        "what a fact or a category is, the design's own function says; nothing holds it against the words",
        stored.is_misnamed_fact,
    ),
    Line(
        "a picture that is kept in a module of another library",
        "KeepsElsewhere",
        "state is compared in the design's own object, classes and modules",
        stored.is_kept_elsewhere,
    ),
    Line(
        "what `publish` reaches for",
        "ReachesInPublish",
        "files, sockets and processes are refused to a device's and a role's steps, and the curator's are "
        "not run confined",
        stored.reaches_out_in_publish,
    ),
    Line(
        "a match that takes less than 50 ms more",
        "TakesLonger",
        "times are measured, and fail from 50 ms on unless the design claims more",
        stored.takes_little_longer,
    ),
)
"""All lines."""


def lines_over(suspect: Suspect) -> list[Line]:
    """The lines that a suspect falls under."""
    return [line for line in LINES if line.covers(suspect)]
