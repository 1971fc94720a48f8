"""An adversary: who attacks which sentence with what, and the planted weakness that lets it win.

Attacks (`table`), hostile clients (`tests/hostile/`) and planted cheats (`tests/planted/mutations/`) are made
of this one type; `replacing` makes the first family's weaknesses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from enum import Enum, StrEnum
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

from blindmatch_protocol import contract
from blindmatch_protocol.codec.redacted import Redacted
from blindmatch_protocol.contract import AnyDesign, Party
from msgspec import Struct

from blindmatch_simulations.measure.results import Strict

M = TypeVar("M", covariant=True)  # a move
W = TypeVar("W", covariant=True)  # a weakness
Conduct: TypeAlias = contract.Adversary  # how its parties behave


class Actor(StrEnum):
    """Who orders an attack or carries it out, as people ask about it; derived from whom it holds."""

    GOVERNMENT = "government order"
    PROVIDER = "provider"
    LIST_OWNER = "list owner"
    CENTRE = "centre"
    THIEF = "thief of a key"
    USER = "user with a modified client"
    FOREIGN = "foreign authority"


class Proof(Strict, frozen=True):
    """A file that shows afterwards what was done or tried, the command for it, and whom it convinces."""

    file: str
    command: str
    to: str


_VIEWS: Final = Proof("a split view", "blindmatch proof verify", "whoever has the log's policy")
_ABSENT: Final = Proof("the proof of absence", "blindmatch proof verify", "whoever has the epoch's set-up")
_REPORT: Final = Proof("a report's evidence", "blindmatch report verify", "whoever gets it from the centre")


class Left(Enum):
    """What is left of an attack, or of a try that fails: who notices, and the file that shows it, if any."""

    NOTHING = ("nobody", None)
    REFUSED = ("the device, which refuses", None)
    KEPT = ("the device, which refuses", Proof("what it keeps of it", "blindmatch device status", "its user"))
    SPLIT = ("devices that write to one another", _VIEWS)
    ABSENCE = ("whoever verifies the proof", _ABSENT)
    REPORTED = ("people who look at a report", _REPORT)
    COMPARED = ("people who compare safety numbers", None)
    COUNTED = ("servers, if they look at counts by account", None)
    CHECKED = ("the centre, by its checks", None)
    WAITS = ("the sender, whose message waits", None)
    SAID = ("its sender, whose device says that it reported", None)
    AUDIT = ("the audit", None)

    def __init__(self, notices: str, proof: Proof | None) -> None:
        self.notices = notices
        self.proof = proof


class Means(Struct, frozen=True):
    """What an adversary has.

    Attributes:
        parties: whom it holds; several are a coalition.
        conduct: semi-honest, or malicious.
        has: what it has besides, or controls, in words; empty for nothing.
        stolen: whether keys or files of these parties are enough, so that a thief of them could do it.
    """

    parties: frozenset[Party]
    conduct: Conduct = Conduct.MALICIOUS
    has: str = ""
    stolen: bool = False

    @property
    def actors(self) -> list[Actor]:
        """Who could order it or carry it out, alone or with others. Orders go to whoever is no user; from
        abroad to parties that need not be where the provider and the centre are."""
        at_home = {Party.PROVIDER, Party.CENTRE, Party.DEVICE}
        acts = {
            Actor.GOVERNMENT: bool(self.parties - {Party.DEVICE}),
            Actor.PROVIDER: Party.PROVIDER in self.parties,
            Actor.LIST_OWNER: Party.CURATOR in self.parties,
            Actor.CENTRE: Party.CENTRE in self.parties,
            Actor.THIEF: self.stolen,
            Actor.USER: Party.DEVICE in self.parties and self.conduct is Conduct.MALICIOUS,
            Actor.FOREIGN: bool(self.parties - at_home),
        }
        return [actor for actor, does in acts.items() if does]

    def words(self) -> str:
        held = f"{self.conduct} {' with '.join(sorted(self.parties))}"
        return f"{held}: {self.has}" if self.has else held


class Claim(Struct, frozen=True):
    """A sentence, or a part of one, and the page it stands on."""

    words: str
    page: str = "docs/explanation/threat-model.md"

    def __str__(self) -> str:
        return f"{self.words} ({self.page})"


class Adversary(Redacted, Struct, Generic[M, W], frozen=True):
    """An adversary.

    Attributes:
        name: one word or a few, unique in its family.
        budget: what it may spend, in words.
        weakness: where planted, the adversary must succeed; `AS_BUILT` if it is declared to succeed as it is.
    """

    SHOWN: ClassVar = ("name", "means", "claim", "budget")

    name: str
    means: Means
    claim: Claim
    budget: str
    move: M
    weakness: W

    @property
    def claimed(self) -> bool:
        """Is the sentence claimed to be withstood? Else it is declared that the adversary succeeds."""
        return self.weakness is not AS_BUILT


Weakness: TypeAlias = Callable[..., AbstractContextManager[Any]]
"""Plants it for a block; called with the design that is attacked."""
Piece: TypeAlias = tuple[Any, str, Any]
"""A module or class, the name of an attribute of it, and what replaces that."""

AS_BUILT: Final[Weakness] = nullcontext
"""Nothing is planted: the attack is declared to succeed as it is."""


def replacing(*pieces: Piece) -> Weakness:
    """The weakness of attributes of modules or classes that others replace."""
    return replacing_of(lambda design: pieces)


def replacing_of(pieces_of: Callable[[AnyDesign], Sequence[Piece]]) -> Weakness:
    """The same, where what is replaced follows from the design that is attacked."""

    @contextmanager
    def planted(design: Any = None) -> Iterator[None]:
        from unittest.mock import patch  # loads asyncio and more, which nothing else here needs

        with ExitStack() as stack:
            for piece in pieces_of(design):
                stack.enter_context(patch.object(*piece))
            yield

    return planted
