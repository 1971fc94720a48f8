"""Values whose `repr` does not show what they hold."""

from typing import ClassVar


class Redacted:
    """Mix-in before `msgspec.Struct`: `repr` gives the class and those of its fields that `SHOWN` names.

    What may be secret, or too long to read, stays out of logs, errors and tracebacks.
    """

    __slots__ = ()
    SHOWN: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.SHOWN)
        return f"{type(self).__name__}({told})"
