"""The compiled back end and secrets: what its instructions let depend on data, and what stays in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.group import LIBSODIUM

pytest.importorskip("llvmlite.binding", reason="the extra `fast` is not installed")
pytest.importorskip("iced_x86")

from blindmatch_protocol.group.jit import machine
from blindmatch_protocol.group.jit.field import Field
from blindmatch_protocol.group.jit.ir import Module
from blindmatch_protocol.group.jit.machine import code_of
from support.kernels import (
    HERE,
    TARGETS,
    Target,
    Written,
    compiled,
    each_kernel,
    needs_vectors,
    some_scalars,
    uniform,
    written_for,
)
from support.machine_code import conditional_jumps, dependent

pytestmark = needs_vectors


@each_kernel  # slow, but for the first
def test_no_jump_or_address_of_the_machine_code_depends_on_data(target: Target) -> None:
    """The object that is run, disassembled: nothing that a row holds, or that is computed of it, decides."""
    code = code_of(target)
    assert conditional_jumps(code) > 10
    assert dependent(code) == []


def _jumping(f: Field) -> None:
    """Doubles what is in %result as long as a word of %a says."""
    word = f.op("load i64, ptr %a")
    f.loop(word, lambda _: f.store("%result", 0, f.plus(f.load("%result"), f.load("%b"))))


def _jumping_by_a_lane(f: Field) -> None:
    word = f.op(f"extractelement {f.module.vector} {f.load('%a')[0].name}, i32 1")
    f.loop(word, lambda _: f.store("%result", 0, f.plus(f.load("%result"), f.load("%b"))))


def _looking_up(f: Field) -> None:
    word = f.op("load i64, ptr %a")
    f.store("%result", 0, f.load(f.item("%b", word, f.size)))


def _dividing(f: Field) -> None:
    word = f.op("load i64, ptr %a")
    other = f.op("load i64, ptr %b")
    f.emit(f"store i64 {f.op(f'udiv i64 {word}, {other}')}, ptr %result")


@pytest.mark.parametrize(
    ("leak", "found"),
    [
        (_jumping, r"j\w+ .*"),
        (_jumping_by_a_lane, r"j\w+ .*"),
        (_looking_up, r"v?mov\w+ .*"),
        (_dividing, "div .*"),
    ],
)
@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_a_planted_leak_is_found_in_the_machine_code(
    target: Target, leak: Callable[[Field], None], found: str
) -> None:
    class Leaky(Written):
        @staticmethod
        def write(module: Module) -> None:
            with module.function("leaky", "ptr %result", "ptr %a", "ptr %b", inline=True, exported=True) as f:
                leak(f)

    assert any(re.fullmatch(found, one) for one in dependent(code_of(written_for(target, Leaky))))


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one.name)
def test_branches_and_addresses_are_made_of_arguments_and_counters_alone(target: Target) -> None:
    """In the code as it is written, whatever a row holds is a vector, or on its way into or out of one."""
    for function in re.split(r"^define ", target.module().text(), flags=re.MULTILINE)[1:]:
        head, *lines = function.splitlines()
        public = set(re.findall(r"%\w+", head))
        counters = set[str]()
        for line in lines:
            made = re.match(r"\s+(%\w+) = (add|sub|mul|sdiv|lshr|and|icmp slt|select i1|phi) (?!<)(.*)", line)
            names = {name for name in re.findall(r"%\w+", made[3] if made else "") if name[:5] not in BLOCKS}
            if made and made[2] == "phi":
                public.add(made[1])
                counters |= names
            elif made and names <= public:
                public.add(made[1])
            used = re.findall(r"br i1 (%\w+)|getelementptr i8, ptr %\w+, i64 (%\w+)|[(,] ?i64 (%\w+)", line)
            assert {name for found in used for name in found if name} <= public or "insertelement" in line, (
                line
            )
        assert {name for name in counters if not name.startswith(BLOCKS)} <= public


BLOCKS = ("%head", "%body", "%exit", "%entr")


# --- what is left in memory ---


COUNT = 163
ODD = 0x9E3779B97F4A7C15
"""What is looked for is held times this number, so that it is not found where it is held."""


def left_of(scalars: Rows) -> int:
    """How many words of this process's memory are ones that only a kernel makes of these scalars: halves
    modulo the order, and the words of digits. Scalars themselves are the caller's."""
    half = pow(2, -1, group.ORDER)
    eights = int("8" * 63, 16) | 1 << 255
    secret = [int.from_bytes(row.tobytes(), "little") * half % group.ORDER for row in scalars]
    numbers = [number for one in secret for number in (one, one + eights)]
    words = [(number >> 64 * k) * ODD % (1 << 64) for number in numbers for k in range(3)]
    wanted = np.array(words, np.uint64)
    ends = np.zeros(1 << 16, np.bool_)
    ends[wanted & np.uint64(0xFFFF)] = True
    found = 0
    for stretch in _memory():
        held = stretch * np.uint64(ODD)
        found += int(np.isin(held[ends[held & np.uint64(0xFFFF)]], wanted).sum())
    return found


def _memory() -> Iterator[np.ndarray]:
    """What this process can write, but for the stack, where a compiler may leave what it likes, as words."""
    with Path("/proc/self/mem").open("rb", 0) as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            where, rights = line.split()[:2]
            start, stop = (int(end, 16) for end in where.split("-"))
            looked_at = "w" in rights and not line.endswith("[stack]")
            for at in range(start, stop if looked_at else start, 1 << 22):
                memory.seek(at)
                try:
                    raw = memory.read(min(1 << 22, stop - at))
                except OSError:  # not to be read, or gone
                    continue
                yield np.frombuffer(raw[: len(raw) // 8 * 8], np.uint64)


@pytest.mark.skipif(not os.access("/proc/self/mem", os.R_OK), reason="memory cannot be looked at here")
@pytest.mark.slow
def test_nothing_that_a_kernel_makes_of_scalars_is_left_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    jit = compiled(HERE[0])
    points = LIBSODIUM.hash_multiply(some_scalars(COUNT), uniform(COUNT))

    def used(seed: str) -> Rows:
        """Scalars that all functions were called with: several, and one for all rows."""
        secret = some_scalars(COUNT + 1, seed)
        for own in (secret[:COUNT], secret[COUNT:]):
            jit.hash_multiply(own, uniform(COUNT))
            jit.multiply(own, points)
            jit.sum_products(own, points)
        return secret

    assert left_of(used("wiped")) == 0
    kept = list[Rows]()
    monkeypatch.setattr(machine, "_wipe", lambda *secret: kept.extend(secret))
    assert left_of(used("not wiped")) >= 3 * 2 * COUNT
