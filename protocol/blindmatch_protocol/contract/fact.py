"""A fact that is disclosed: everything that a table, a page, a notice or a check says of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.codec.redacted import Described


class Severity(StrEnum):
    """How much of a person's communication a fact tells, most first: an order to read by, not a score."""

    CONTENT = "content"
    HASH = "hash"
    OUTCOME = "outcome"
    LIST = "list"
    LINKS = "account links"
    SIZES = "sizes"
    TIMES = "times"


class Shows(StrEnum):
    """What a fact shows of a picture that was sent; the letters in the report's matrix."""

    PICTURE = "picture"
    HASH = "hash"
    OUTCOME = "outcome"
    ACCOUNT = "account"


class Topic(StrEnum):
    """Which abuse a fact is of.

    SEARCH: look for pictures that are not listed. FORCED: have a picture reported. HIDE: make matches go
    unseen. READ: read what people write. LIST: learn the list.
    """

    SEARCH = "search"
    FORCED = "forced"
    HIDE = "hide"
    READ = "read"
    LIST = "list"


def of_no_picture(item: object, setup: object) -> Hashable:
    """The value of a fact that is the same for every picture."""
    return True


class Fact(Described, Struct, frozen=True):
    """A fact that is disclosed.

    Attributes:
        name: e.g. ``query_time``, ``every_hash``; a plug-in's own have a dot: ``my.fact``.
        says: one sentence for people.
        severity: how much it tells.
        project: its value for (item, set-up). Two items for which all declared facts are equal must be
            indistinguishable to the party. The default is of a fact that is the same for every picture.
        shows: what of a picture that was sent it shows.
        topic: the abuse that it allows; None if none of those.
        abuse: what whoever learns it can do, as the end of a sentence; empty if nothing is to be named.
        noticed_by: who would notice that; empty if nobody found out.

    Raises:
        DesignError: if it has no severity, as under contract 2.
    """

    SHOWN: ClassVar = ("name", "says", "severity")

    name: str
    says: str
    severity: Severity
    project: Callable[[Any, Any], Hashable] = of_no_picture
    shows: frozenset[Shows] = frozenset()
    topic: Topic | None = None
    abuse: str = ""
    noticed_by: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.severity, Severity):
            raise DesignError(
                f"fact {self.name}: severity must be a Severity, third, since contract 3: see docs/plugin.md"
            )
