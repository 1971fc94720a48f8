"""Facts that several designs declare; a design's own facts stand with it."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from blindmatch_protocol.contract.declaration import Adversary, Fact, Leak, Party, Severity, Shows, Topic
from blindmatch_protocol.contract.relation import Item


def _content(item: Item, setup: object) -> bytes:
    height, width = item.pixels.shape[:2]
    return sha256(height.to_bytes(4, "big") + width.to_bytes(4, "big") + item.pixels.tobytes()).digest()


PICTURE: Final = frozenset({Shows.PICTURE})
HASH: Final = frozenset({Shows.HASH})
ACCOUNT: Final = frozenset({Shows.ACCOUNT})

CONTENT: Final = Fact(
    "content", "every picture itself", Severity.CONTENT, _content, PICTURE, Topic.SEARCH,
    "looks at every picture", "nobody",
)  # fmt: skip
EVERY_HASH: Final = Fact(
    "every_hash", "the perceptual hash of every picture", Severity.HASH, lambda item, _: item.hash, HASH,
    Topic.SEARCH, "looks for any picture, listed or not", "nobody",
)  # fmt: skip
QUALITY: Final = Fact(
    "quality", "the hash quality of every picture", Severity.HASH, lambda item, _: item.quality
)
QUERY_TIME: Final = Fact("query_time", "that, and when, an account sent a picture", Severity.TIMES)
ENROLMENT: Final = Fact("enrolment", "which account a picture is of", Severity.LINKS, shows=ACCOUNT)
FORCED_REPORT: Final = Fact(
    "forced_report",
    "any picture the server chooses: it knows the hash, so it can answer with a match that is none, and the "
    "device reports the picture to the centre, which sees it before it refuses the label",
    Severity.CONTENT,
    lambda item, _: (item.pixels.shape, item.pixels.tobytes()),
    topic=Topic.FORCED,
    abuse="has any picture reported",
    noticed_by="its sender",
)

EPOCH: Final = Fact(
    "epoch", "the epoch of the set the device holds", Severity.SIZES, lambda item, setup: setup.epoch
)
SET_SIZE: Final = Fact(
    "set_size", "the number of entries of the set", Severity.SIZES, lambda item, setup: setup.entries
)
QUERY_COUNT: Final = Fact(
    "query_count",
    "the number of blinded elements in a request, the same for every picture",
    Severity.SIZES,
    lambda item, setup: setup.count,
)
DELTA_SIZES: Final = Fact(
    "delta_sizes",
    "for every epoch since the full set: how many entries it added and which ids it removed, and when",
    Severity.SIZES,
    lambda item, setup: setup.deltas,
)
EVERY_GUESS: Final = Fact(
    "every_guess",
    "whether any hash it can think of is listed, offline and without limit, but nothing of a picture: it has "
    "the key that the set was made with",
    Severity.LIST,
    lambda item, setup: setup.entries,
    topic=Topic.LIST,
    abuse="tests any guess against the list",
    noticed_by="nobody",
)
EVERY_ENTRY: Final = Fact(
    "every_entry",
    "the whole list, but nothing of a picture: whoever has the key can evaluate every token of every band",
    Severity.LIST,
    lambda item, setup: setup.entries,
    topic=Topic.LIST,
    abuse="reads the whole list",
    noticed_by="nobody",
)
UNVERIFIED_REPLY: Final = Fact(
    "unverified_reply",
    "alone nothing of a picture, but it can make matches go unseen, by whatever it computes of the picture "
    "under encryption; a match that is missing shows as no report",
    Severity.SIZES,
    topic=Topic.HIDE,
    abuse="makes matches go unseen",
    noticed_by="nobody",
)
CHOSEN_MATCHES: Final = Fact(
    "chosen_matches",
    "of a picture that a report follows, also that it is near an entry the matcher chose for it: a reply can "
    "leave out other entries, and the provider sees the report, unless a cover schedule hides it",
    Severity.OUTCOME,
    lambda item, _: item.hash,
    topic=Topic.FORCED,
    abuse="learns what a reported picture is near",
    noticed_by="nobody",
)


def leaks(coalition: Iterable[Party], *facts: Fact) -> tuple[Leak, ...]:
    """`facts` told to these parties, whatever they do."""
    return tuple(Leak(frozenset(coalition), adversary, facts) for adversary in Adversary)


def any_hash(distance: int) -> Fact:
    """What asking tells of the list where entries within a distance match."""
    near = f"is within {distance} bits of an entry, and then which entry" if distance else "is listed"
    words = f"whether any hash of its choice, or any edit of a picture, {near}, one request for each"
    return Fact(
        "any_hash", words, Severity.LIST, lambda item, _: item.hash,
        topic=Topic.LIST, abuse="tests hashes", noticed_by="the server, by rate",
    )  # fmt: skip
