"""One type for all sources of randomness: nobody who is handed one can tell which it is."""

from __future__ import annotations

import pytest
from blindmatch_protocol.codec.randomness import (
    Randomness,
    Recording,
    TapeExhaustedError,
    replayed,
    seeded,
    system_randomness,
)


def _sources() -> list[Randomness]:
    return [system_randomness(), Recording(system_randomness()).rng, replayed(bytes(64)), seeded("x")]


def test_sources_have_one_class_one_text_and_the_same_attributes() -> None:
    shapes = {
        (type(one), repr(one), str(one), tuple(dir(one)), type(one).__slots__, one._take.__code__)
        for one in _sources()
    }
    assert len(shapes) == 1


def test_a_source_cannot_be_changed_or_subclassed_into_another() -> None:
    for one in _sources():
        with pytest.raises(AttributeError):
            one._take = bytes  # type: ignore[misc]
        with pytest.raises(AttributeError):
            one.marked = True  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        type("Other", (Randomness,), {})


def test_a_recording_keeps_what_was_given_out_and_a_tape_gives_it_again() -> None:
    recording = Recording(seeded("x"))
    first = [recording.rng.take(count) for count in (3, 0, 40)]
    again = replayed(recording.tape())
    assert recording.tape() == b"".join(first)
    assert [again.take(3), again.take(40)] == [first[0], first[2]]
    with pytest.raises(TapeExhaustedError, match="1 random bytes asked for, 0 recorded ones left"):
        again.take(1)
    assert not hasattr(recording.rng, "tape")


def test_a_seed_decides_the_bytes() -> None:
    assert seeded("x").take(8) == seeded("x").take(8) != seeded("y").take(8)
    assert len(system_randomness().take(5)) == 5
