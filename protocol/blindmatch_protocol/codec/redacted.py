"""Values whose `repr` does not show what they hold."""

from typing import Any, ClassVar


class Redacted:
    """Mix-in before `msgspec.Struct`: `repr` gives the class and those of its fields that `SHOWN` names. What
    may be secret, or too long to read, stays out of logs, errors and tracebacks, also out of those that rich
    draws."""

    __slots__ = ()
    SHOWN: ClassVar[tuple[str, ...]] = ()

    def __rich_repr__(self, /) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in self.SHOWN]

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({told})"


class Described(Redacted):
    """A value that is what it shows: functions that it holds beside that do not count in comparisons."""

    __slots__ = ()

    def _shown(self) -> tuple[Any, ...]:
        return tuple(value for _, value in self.__rich_repr__())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Described) and type(other) is type(self) and other._shown() == self._shown()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._shown())
