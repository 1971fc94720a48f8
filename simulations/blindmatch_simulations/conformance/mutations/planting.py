"""What a planted cheat is, and which check must find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

from blindmatch_client.device import Device
from blindmatch_protocol.contract import AnyDesign, Party
from msgspec import Struct

from blindmatch_simulations.attacks.adversary import AS_BUILT, Adversary, Claim, Means, Weakness
from blindmatch_simulations.conformance.fixtures import CLOCKS, Clocks
from blindmatch_simulations.conformance.mutations.hooks import Hooked

D = TypeVar("D", bound=type[Hooked])


class Search(Struct, frozen=True):
    """What must find a cheat.

    Attributes:
        check: that must fail, by name.
        where: what the failing step must say, such as a class of pairs.
        clocks: those that a cheat which takes its time moves.
        device: the kind of device, for a cheat that is one.
        planted: a weakness of the build, planted while the design is checked.
    """

    check: str
    where: str = ""
    clocks: Clocks = CLOCKS
    device: type[Device] = Device
    planted: Weakness = AS_BUILT


Cheat: TypeAlias = Adversary[Search, Callable[[], AnyDesign]]
"""A planted cheat: the adversary's move is all checks, its weakness a design that must not pass them."""
_CLAIM: Final = Claim("how many are caught, each by the check that must catch it", "docs/conformance.md")
_AUTHOR: Final = Means(frozenset({Party.DEVICE, Party.MATCHER, Party.CURATOR}), has="the design")

CHEATS: Final[list[Cheat]] = []
"""At least one for every way in which a claim can be wrong that this suite says it finds."""


def planted(name: str, check: str, where: str = "", **search: Any) -> Callable[[D], D]:
    """Plant a design as the cheat called `name`; the rest as of `Search`."""

    def plant(kind: D) -> D:
        CHEATS.append(Adversary(name, _AUTHOR, _CLAIM, "a run", Search(check, where, **search), kind))
        return kind

    return plant
