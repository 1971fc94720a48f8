"""Kernels of the group's compiled back end that this processor can run, and rows for them."""

from __future__ import annotations

from functools import cache
from hashlib import shake_256

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.randomness import seeded

llvm = pytest.importorskip("llvmlite.binding", reason="the extra `fast` is not installed")

from blindmatch_protocol.group.jit.drivers import TARGETS, Target  # noqa: E402
from blindmatch_protocol.group.jit.ir import Module  # noqa: E402
from blindmatch_protocol.group.jit.machine import Jit  # noqa: E402

FEATURES = {name for name, has in llvm.get_host_cpu_features().items() if has}
HERE = [target for target in TARGETS if target.features <= FEATURES]
needs_vectors = pytest.mark.skipif(not HERE, reason="this processor has none of the vectors")
each_kernel = pytest.mark.parametrize(
    "target",
    [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if i else []) for i, one in enumerate(TARGETS)],
)


@cache
def compiled(target: Target) -> Jit:
    return Jit(target)


class Written(Target):
    """A target whose module a test writes."""

    def module(self) -> Module:
        module = Module(self.field, self.width)
        self.write(module)
        return module

    @staticmethod
    def write(module: Module) -> None:
        raise NotImplementedError


def written_for(target: Target, writes: type[Written]) -> Written:
    """The same processor, with other code."""
    return writes(target.name, target.cpu, target.features, target.field, target.width)


def uniform(count: int, seed: bytes = b"uniform") -> Rows:
    return np.frombuffer(shake_256(seed).digest(64 * count), np.uint8).reshape(count, 64)


def some_scalars(count: int, seed: str = "scalars") -> Rows:
    return group.random_scalars(count, seeded(seed))
