"""Plants a weakness in this process while a block runs: a piece of the build does what it must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final, TypeAlias

Weakness: TypeAlias = Callable[[], AbstractContextManager[None]]

AS_BUILT: Final[Weakness] = nullcontext
"""Nothing is planted: the attack is declared to succeed as it is."""


def replacing(*pieces: tuple[Any, str, Any]) -> Weakness:
    """The weakness of (owner, name, other): attributes of modules or classes that others replace."""

    @contextmanager
    def planted() -> Iterator[None]:
        held = [(owner, name, vars(owner)[name]) for owner, name, _ in pieces]
        try:
            for owner, name, other in pieces:
                setattr(owner, name, other)
            yield
        finally:
            for owner, name, before in held:
                setattr(owner, name, before)

    return planted
