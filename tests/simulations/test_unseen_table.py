"""Each line of the table of what no check sees has a cheat that passes; its predicate covers no more."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_protocol.contract import AnyDesign
from blindmatch_simulations.evaluation.conformance.fixtures import CLOCKS
from blindmatch_simulations.evaluation.conformance.run import NOT_SEEN, Options, check_design
from blindmatch_simulations.evaluation.conformance.unseen.suspect import Suspect
from blindmatch_simulations.evaluation.conformance.unseen.table import LINES, Line, lines_over
from planted import unseen, xor
from planted.mutations.hooks import About, variant
from planted.mutations.lists import ToldToRole
from planted.mutations.requests import telling
from planted.unseen import SUSPECTS, Room, padding_of, stands_there

DEAR = {"Amid", "OnePicture", "Seldom", "KnowsPictures", "MissesFew"}
"""Plants whose predicates run thousands of sessions."""
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conformance.md"


CHEAP_LINES = [line for line in LINES if line.plant not in DEAR]
DEAR_LINES = [line for line in LINES if line.plant in DEAR]


def test_every_line_has_a_planted_cheat_a_reason_and_a_rule_and_stands_in_the_page() -> None:
    assert [line.plant for line in LINES] == list(dict.fromkeys(line.plant for line in LINES))
    assert {line.plant for line in LINES} == set(SUSPECTS)
    assert all(line.passes and line.why and line.rule for line in LINES)
    assert list(NOT_SEEN) == [line.passes for line in LINES]
    page = PAGE.read_text()
    assert all(f"| {line.passes} | {line.why} | `{line.plant}` | {line.rule} |" in page for line in LINES), (
        "make pages"
    )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, id=line.plant, marks=[pytest.mark.exhaustive] if line.plant in DEAR else [])
        for line in LINES
    ],
)
def test_a_planted_cheat_falls_under_its_line(line: Line) -> None:
    assert line.covers(SUSPECTS[line.plant])


@pytest.mark.exhaustive
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.plant)
def test_a_planted_cheat_falls_under_no_other_line(line: Line) -> None:
    assert lines_over(SUSPECTS[line.plant]) == [line]


@pytest.mark.exhaustive
@pytest.mark.parametrize("line", LINES, ids=lambda line: line.plant)
def test_a_planted_cheat_passes_every_check(line: Line) -> None:
    suspect = SUSPECTS[line.plant]
    report = check_design(suspect.design(), Options(clocks=suspect.clocks or CLOCKS))
    assert [report.line(result) for result in (*report.failed, *report.unchecked)] == []


def keyed_tag(about: About) -> bytes:
    return hmac.digest(about.salt, about.item.hash, "sha256")[:8]


def _salted(about: About, drawn: bytes) -> bytes:
    return drawn + xor(drawn, about.item.hash[:8])


few_blinds_beside_tape = variant(
    Room,
    salt=lambda _, rng: rng.take(16),
    padding=lambda _, about, rng: xor(
        sha256(b"few" + sha256(rng.take(32)).digest()[:2]).digest(), about.item.hash[:8] + bytes(7)
    ),
)
TRIED_OUT = {
    blind[8:15]: blind[:8]
    for blind in (sha256(b"few" + few.to_bytes(2, "big")).digest() for few in range(1 << 16))
}


def tried_out(salt: bytes, padding: bytes) -> bytes | None:
    """The hash under the one blind of 65,536 that fits the zeros behind it."""
    blind = TRIED_OUT.get(padding[8:])
    return None if blind is None else xor(padding[:8], blind)


def key_of_twelve_bits(key: bytes) -> bytes:
    """The pad that 12 bits of a key decide."""
    few = int.from_bytes(key[:2], "big") >> 4
    return sha256(b"twelve" + few.to_bytes(2, "big")).digest()


def under_short_key_beside(seen: Sequence[bytes], secret: bytes) -> bytes:
    _, padding = padding_of(seen[0])
    return xor(key_of_twelve_bits(padding[:16])[:8], padding[16:24])


def _short_key_beside(about: About, rng: Randomness) -> bytes:
    key = sha256(rng.take(32)).digest()[:16]
    return key + xor(key_of_twelve_bits(key)[:12], about.item.hash[:8] + bytes(4))


CAUGHT = {
    "the hash under a key of 12 bits beside it, beside drawn bytes": Suspect(
        variant(
            Room,
            salt=lambda _, rng: rng.take(16),
            padding=lambda _, about, rng: _short_key_beside(about, rng),
        ),
        reads=under_short_key_beside,
    ),
    "nothing at all": Suspect(Room, reads=stands_there),
    "the hash": Suspect(telling(lambda about: True), reads=stands_there),
    "the hash of every eighth picture": Suspect(
        telling(lambda about: about.item.hash[3] & 7 == 0), reads=stands_there
    ),
    "the hash in every eighth session": Suspect(
        variant(
            Room,
            padding=lambda _, about, rng: about.item.hash[:8] if rng.take(8)[0] < 32 else bytes(8),
        ),
        reads=stands_there,
    ),
    "the hash under a pad beside it": Suspect(
        variant(Room, padding=lambda _, about, rng: _salted(about, rng.take(8))),
        reads=lambda seen, _: xor(padding_of(seen[0])[1][:8], padding_of(seen[0])[1][8:]),
    ),
    "a blind of 16 bits, which is tried out, beside drawn bytes": Suspect(
        few_blinds_beside_tape, reads=lambda seen, _: tried_out(*padding_of(seen[0]))
    ),
    "a mask that a drawn salt beside it decides": Suspect(
        variant(
            Room,
            salt=lambda _, rng: rng.take(16),
            padding=lambda _, about, rng: xor(sha256(about.salt).digest(), about.item.hash[:8]),
        ),
        reads=lambda seen, _: xor(sha256(padding_of(seen[0])[0]).digest()[:8], padding_of(seen[0])[1]),
    ),
    "a reader who is always wrong": Suspect(
        unseen.Sealed, reads=lambda seen, _: b"wrong", secret=unseen.SECRET, under=lambda _: unseen.Sealed()
    ),
    "the list as it is, in a role's file": Suspect(
        variant(ToldToRole, told=lambda _, hashes: hashes.tobytes()),
        reads_files=lambda files, _: unseen.in_rows(files["told.bin"]),
        under=lambda _: variant(ToldToRole, told=lambda _, hashes: hashes.tobytes())(),
    ),
}
"""Designs that the checks find, or that do nothing: a line that covered one could hide a miss."""


@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.parametrize("line", CHEAP_LINES, ids=lambda line: line.plant)
def test_a_line_covers_nothing_that_the_checks_find(line: Line, name: str) -> None:
    assert not line.covers(CAUGHT[name])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.parametrize("line", DEAR_LINES, ids=lambda line: line.plant)
def test_a_line_that_takes_thousands_of_sessions_covers_nothing_that_the_checks_find(
    line: Line, name: str
) -> None:
    assert not line.covers(CAUGHT[name])


def test_a_reader_who_needs_no_secret_is_no_receiver_with_a_key_of_his_own() -> None:
    suspect = Suspect(
        unseen.Sealed,
        reads=lambda seen, _: unseen.opened_by(seen, unseen.SECRET),
        under=lambda _: unseen.Sealed(),
    )
    assert not any(line.covers(suspect) for line in LINES if line.plant in ("Sealed", "DrawnUntil"))


class Quieter(unseen.LateInAccount):
    """The hash of an account's 500th picture, which `repetition` finds."""

    NUMBER = 500


class Earlier(unseen.InLargeSets):
    """In sets from 1,500 entries on, which `relations` finds."""

    ENTRIES = 1_500


class InEpochTwo(unseen.InOneEpoch):
    EPOCH = 2


NEARLY: dict[str, tuple[type[AnyDesign], int]] = {
    "LateInAccount": (Quieter, 500),
    "InLargeSets": (Earlier, 1_500),
    "InOneEpoch": (InEpochTwo, 2),
}


@pytest.mark.parametrize("plant", NEARLY)
def test_a_line_ends_where_the_checks_begin(plant: str) -> None:
    kind, at = NEARLY[plant]
    (line,) = (line for line in LINES if line.plant == plant)
    assert not line.covers(Suspect(kind, reads=stands_there, at=at))
    assert not line.covers(Suspect(kind, reads=stands_there, at=SUSPECTS[plant].at))
