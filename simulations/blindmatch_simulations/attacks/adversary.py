"""An adversary: who attacks which sentence with what, and the planted weakness that lets it win.

Three families are made of this one type. They differ in what a move is, and in how a weakness is planted:

    family             move                                   weakness
    attacks            runs against a build, gives a Figure   plants it in the build while a block runs
    hostile clients    one attempt at a server                none: what they do to others is measured
    planted cheats     the conformance check that must fail   a design that does what it must not

They are in `attacks.table`, `hostile` and `conformance.mutations.table`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from blindmatch_protocol.contract import Adversary as Conduct
from blindmatch_protocol.contract import Party

M = TypeVar("M", covariant=True)  # a move
W = TypeVar("W", covariant=True)  # a weakness


@dataclass(frozen=True, slots=True)
class Means:
    """What an adversary has.

    Attributes:
        parties: whom it holds; several are a coalition.
        conduct: semi-honest, or malicious.
        has: what it has besides, or controls, in words; empty for nothing.
    """

    parties: frozenset[Party]
    conduct: Conduct = Conduct.MALICIOUS
    has: str = ""

    def words(self) -> str:
        """For people."""
        held = f"{self.conduct} {' with '.join(sorted(self.parties))}"
        return f"{held}: {self.has}" if self.has else held


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence, or a part of one, and the page it stands on."""

    words: str
    page: str

    def __str__(self) -> str:
        return f"{self.words} ({self.page})"


@dataclass(frozen=True, slots=True)
class Adversary(Generic[M, W]):
    """An adversary.

    Attributes:
        name: one word or a few, unique in its family.
        means: what it has.
        claim: the sentence it attacks.
        claimed: is the sentence claimed to be withstood? Else it is declared that the adversary succeeds.
        budget: what it may spend, in words.
        move: what it does.
        weakness: where planted, the adversary must succeed.
        against: names of the designs, or of the server, it is played against; empty if that does not matter.
    """

    name: str
    means: Means
    claim: Claim
    claimed: bool
    budget: str
    move: M = field(repr=False)
    weakness: W = field(repr=False)
    against: frozenset[str] = frozenset()
