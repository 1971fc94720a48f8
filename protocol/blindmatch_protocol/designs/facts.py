"""Facts that several designs declare; a design's own facts stand with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any, Final

from blindmatch_protocol.contract.declaration import Adversary, Fact, Leak
from blindmatch_protocol.contract.item import Item
from blindmatch_protocol.contract.party import Party


def _content(item: Item, setup: object) -> bytes:
    height, width = item.pixels.shape[:2]
    return sha256(height.to_bytes(4, "big") + width.to_bytes(4, "big") + item.pixels.tobytes()).digest()


CONTENT: Final = Fact("content", "every picture itself", _content)
EVERY_HASH: Final = Fact("every_hash", "the perceptual hash of every picture", lambda item, _: item.hash)
QUALITY: Final = Fact("quality", "the hash quality of every picture", lambda item, _: item.quality)
QUERY_TIME: Final = Fact("query_time", "that, and when, an account sent a picture", lambda item, _: True)
ENROLMENT: Final = Fact("enrolment", "which account a picture is of", lambda item, _: True)
FORCED_REPORT: Final = Fact(
    "forced_report",
    "any picture the server chooses: it knows the hash, so it can answer with a match that is none, and the "
    "device reports the picture to the centre, which sees it before it refuses the label",
    lambda item, _: (item.pixels.shape, item.pixels.tobytes()),
)

EPOCH: Final = Fact("epoch", "the epoch of the set the device holds", lambda item, setup: setup.epoch)
SET_SIZE: Final = Fact("set_size", "the number of entries of the set", lambda item, setup: setup.entries)
DELTA_SIZES: Final = Fact(
    "delta_sizes",
    "for every epoch since the full set: how many entries it added and which ids it removed, and when",
    lambda item, setup: setup.deltas,
)
EVERY_GUESS: Final = Fact(
    "every_guess",
    "whether any hash it can think of is listed, offline and without limit, but nothing of a picture: it has "
    "the key that the set was made with",
    lambda item, setup: setup.entries,
)
EVERY_ENTRY: Final = Fact(
    "every_entry",
    "the whole list, but nothing of a picture: whoever has the key can evaluate every token of every band",
    lambda item, setup: setup.entries,
)
UNVERIFIED_REPLY: Final = Fact(
    "unverified_reply",
    "alone nothing of a picture, but it can make matches go unseen, by whatever it computes of the picture "
    "under encryption; a match that is missing shows as no report",
    lambda item, _: True,
)
CHOSEN_MATCHES: Final = Fact(
    "chosen_matches",
    "of a picture that a report follows, also that it is near an entry the matcher chose for it: a reply can "
    "leave out other entries, and the provider sees the report, unless a cover schedule hides it",
    lambda item, _: item.hash,
)


def leaks(coalition: Iterable[Party], *facts: Fact) -> tuple[Leak, ...]:
    """`facts` told to these parties, whatever they do."""
    return tuple(Leak(frozenset(coalition), adversary, facts) for adversary in Adversary)


def query_count(of_setup: Callable[[Any], int]) -> Fact:
    """How many blinded elements a request has, by the set-up."""
    words = "the number of blinded elements in a request, the same for every picture"
    return Fact("query_count", words, lambda item, setup: of_setup(setup))


def any_hash(distance: int) -> Fact:
    """What asking tells of the list where entries within a distance match."""
    near = f"is within {distance} bits of an entry, and then which entry" if distance else "is listed"
    words = f"whether any hash of its choice, or any edit of a picture, {near}, one request for each"
    return Fact("any_hash", words, lambda item, _: item.hash)
