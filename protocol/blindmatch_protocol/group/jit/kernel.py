"""The whole kernel, as LLVM IR, for each kind of processor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from blindmatch_protocol.group.jit.drivers import define_drivers
from blindmatch_protocol.group.jit.element import define_elements
from blindmatch_protocol.group.jit.field import Field
from blindmatch_protocol.group.jit.fma import Fma
from blindmatch_protocol.group.jit.ifma import Ifma
from blindmatch_protocol.group.jit.ir import Module
from blindmatch_protocol.group.jit.point import define_points
from blindmatch_protocol.group.jit.power import define_powers
from blindmatch_protocol.group.jit.sha512 import define_sha512
from blindmatch_protocol.group.jit.windows import define_windows


class Target(Struct, frozen=True):
    """A kind of processor.

    Attributes:
        cpu: LLVM's name of the least one.
        features: it must have, as LLVM calls them.
        field: how it multiplies.
        width: lanes of a vector.
    """

    name: str
    cpu: str
    features: frozenset[str]
    field: type[Field]
    width: int

    def module(self) -> Module:
        """The kernel for it."""
        module = Module(self.field, self.width)
        _define_field(module)
        define_powers(module)
        define_points(module)
        define_windows(module)
        define_elements(module)
        define_drivers(module)
        define_sha512(module)
        return module


_AVX512: Final = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl"})
TARGETS: Final = (
    Target("avx512ifma", "x86-64-v4", _AVX512 | {"avx512ifma"}, Ifma, 8),
    Target("avx512", "x86-64-v4", _AVX512, Fma, 8),
    Target("avx2", "x86-64-v3", frozenset({"avx2", "fma"}), Fma, 4),
)
"""The fastest first."""


def target_for(features: Iterable[str]) -> Target | None:
    """The fastest for a processor with these features; None if there is none."""
    held = frozenset(features)
    return next((target for target in TARGETS if target.features <= held), None)


def _define_field(module: Module) -> None:
    """What is called where multiplications are not written out."""
    with module.function("fe_mul", "ptr %result", "ptr %a", "ptr %b", inline=True) as f:
        f.store("%result", 0, f.times(f.load("%a"), f.load("%b")))
    with module.function("fe_square", "ptr %result", "ptr %a", inline=True) as f:
        f.store("%result", 0, f.square(f.load("%a")))
    with module.function("fe_canonical", "ptr %result", "ptr %a", inline=True) as f:
        f.store("%result", 0, f.canonical(f.load("%a")))
