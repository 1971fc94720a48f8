"""What a set is built for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from blindmatch_protocol.codec.errors import DesignError
from blindmatch_protocol.contract.declaration import Info, Role


class SetParameters(Struct, frozen=True):
    """What a set is built for.

    Attributes:
        epoch: number of the epoch, from 1 on.
        values: the design's parameters by name; a missing one takes its default.
    """

    epoch: int
    values: Mapping[str, int]

    def check(self, info: Info) -> None:
        """Raise `DesignError` if a value is of no parameter of `info`, or out of its range."""
        for name in self.values:
            self.value(info, name)

    def value(self, info: Info, name: str) -> int:
        """The value of parameter `name` of `info`.

        Raises:
            DesignError: if the design has no such parameter, or the value is out of its range.
        """
        declared = next((p for p in info.parameters if p.name == name), None)
        if declared is None:
            raise DesignError(f"design {info.name} has no parameter {name}")
        value = self.values.get(name, declared.default)
        if not isinstance(value, int) or not declared.least <= value <= declared.most:
            raise DesignError(f"parameter {name}: must be {declared.least} to {declared.most}, not {value}")
        return value


class Published(Struct, frozen=True):
    """Names of the files a `publish` wrote: the set-up's, each role's, and the opener's."""

    setup: tuple[str, ...]
    roles: Mapping[Role, tuple[str, ...]]
    opener: tuple[str, ...] = ()


class Stated(Struct, frozen=True):
    """What the files of a set-up say of themselves; the epoch's manifest must say the same.

    Attributes:
        parameters: those of the design's parameters that stand in the files.
        role_keys: the public key that each role answers under, for designs whose roles have one.
        entries: how many entries the files hold; None: they do not hold them.
    """

    parameters: Mapping[str, int] = field(default_factory=dict)
    role_keys: Mapping[Role, bytes] = field(default_factory=dict)
    entries: int | None = None
