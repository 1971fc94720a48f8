"""Plants a weakness in this process while a block runs: a piece of the build does what it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, TypeAlias

from blindmatch_protocol.contract import AnyDesign

Weakness: TypeAlias = Callable[..., AbstractContextManager[Any]]
"""Plants it for a block; called with the design that is attacked."""
Piece: TypeAlias = tuple[Any, str, Any]
"""A module or class, the name of an attribute of it, and what replaces that."""
_NOT_ITS_OWN: Final = object()

AS_BUILT: Final[Weakness] = nullcontext
"""Nothing is planted: the attack is declared to succeed as it is."""


def replacing(*pieces: Piece) -> Weakness:
    """The weakness of attributes of modules or classes that others replace."""
    return replacing_of(lambda design: pieces)


def replacing_of(pieces_of: Callable[[AnyDesign], Sequence[Piece]]) -> Weakness:
    """The same, where what is replaced follows from the design that is attacked."""

    @contextmanager
    def planted(design: Any = None) -> Iterator[None]:
        pieces = pieces_of(design)
        for owner, name, _ in pieces:
            getattr(owner, name)  # AttributeError: what is not there cannot be replaced
        held = [(owner, name, vars(owner).get(name, _NOT_ITS_OWN)) for owner, name, _ in pieces]
        try:
            for owner, name, other in pieces:
                setattr(owner, name, other)
            yield
        finally:
            for owner, name, before in held:
                if before is _NOT_ITS_OWN:
                    delattr(owner, name)
                else:
                    setattr(owner, name, before)

    return planted
