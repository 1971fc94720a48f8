"""Values whose `repr` does not show what they hold."""

from typing import Any, ClassVar


class Redacted:
    """Mix-in before `msgspec.Struct`: `repr` gives the class and those of its fields that `SHOWN` names.

    What may be secret, or too long to read, stays out of logs, errors and tracebacks, also out of those that
    rich draws with local variables.
    """

    __slots__ = ()
    SHOWN: ClassVar[tuple[str, ...]] = ()

    def __rich_repr__(self, /) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.SHOWN]

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({told})"
