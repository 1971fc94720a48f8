"""The compiled back end of the group: the same bytes as libsodium's, in constant time, checked while it runs.

Kernels for processors that this one can run are tested; the slow tests compile all of them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from hashlib import sha512
from itertools import count
from pathlib import Path
from threading import Event

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import seeded, system_randomness
from blindmatch_protocol.contract import AnyDesign
from blindmatch_protocol.crypto import dleq, oprf
from blindmatch_protocol.crypto.dleq import Mode, hash_inputs_to_uniform
from blindmatch_protocol.designs.oprf_psi import DESIGN as OPRF_PSI
from blindmatch_protocol.designs.token_psi import DESIGN as TOKEN_PSI
from blindmatch_protocol.designs.voprf import files
from blindmatch_protocol.group import LIBSODIUM, BackendError, BackendWarning
from blindmatch_protocol.group import backend as choice
from blindmatch_protocol.group.backend import SUMS_FOR_A_SECOND, SecondSums
from hypothesis import given
from hypothesis import strategies as st
from support.memory import build, random_hashes
from support.reference import derived_key
from voprf import ristretto as peer

pytest.importorskip("llvmlite.binding", reason="the extra `fast` is not installed")

from blindmatch_protocol.group.jit import drivers, field, machine
from blindmatch_protocol.group.jit.field import TIGHT, Field, P, limbs_of
from blindmatch_protocol.group.jit.ir import Module
from blindmatch_protocol.group.jit.machine import SCALAR_EDGES, Jit, check, code_of, number_rows
from support.kernels import (
    HERE,
    TARGETS,
    Target,
    Written,
    compiled,
    llvm,
    needs_vectors,
    some_scalars,
    uniform,
    written_for,
)

VECTORS = Path(__file__).parents[1] / "vectors" / "rfc9497-ristretto255-sha512.json"
pytestmark = needs_vectors

each_target = pytest.mark.parametrize(
    "target",
    [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if i else []) for i, one in enumerate(HERE)],
)


@pytest.fixture
def jit() -> Iterator[Jit]:
    backend = compiled(HERE[0])
    backend.second_sums = SecondSums()
    yield backend
    backend.sound = True


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test chooses is its own, and so is what commands chose that ran in this process."""
    group.choose(group.Setting.LIBSODIUM)
    monkeypatch.setattr(machine, "Jit", compiled)
    choice._jit_or_libsodium.cache_clear()
    choice.jit.cache_clear()
    yield
    group.choose(group.Setting.LIBSODIUM)
    choice._jit_or_libsodium.cache_clear()
    choice.jit.cache_clear()


# --- the same results ---


@each_target
def test_edge_cases_in_every_lane_are_libsodiums(target: Target) -> None:
    check(compiled(target))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 255, 256, 257, 263])
def test_any_number_of_rows_is_computed(jit: Jit, count: int) -> None:
    scalars = some_scalars(count)
    rows = uniform(count)
    products = jit.hash_multiply(scalars, rows)
    assert np.array_equal(products, LIBSODIUM.hash_multiply(scalars, rows))
    assert np.array_equal(jit.multiply(scalars, products), LIBSODIUM.multiply(scalars, products))
    assert np.array_equal(jit.sum_products(scalars, products), LIBSODIUM.sum_products(scalars, products))
    for one in (jit.multiply, jit.sum_products):
        reference = getattr(LIBSODIUM, one.__name__)
        assert np.array_equal(one(scalars[:1], products), reference(scalars[:1], products))


@pytest.mark.parametrize("mode", list(Mode))
def test_the_blinded_elements_and_evaluations_of_rfc_9497_are_computed(jit: Jit, mode: Mode) -> None:
    vectors = json.loads(VECTORS.read_text())[mode.name.lower()]
    key = np.frombuffer(bytes.fromhex(vectors["secret_key"]), np.uint8).reshape(1, 32)
    for case in vectors["vectors"]:
        inputs = [bytes.fromhex(one) for one in case["input"]]
        blinds, blinded, evaluated = (
            np.frombuffer(bytes.fromhex("".join(case[name])), np.uint8).reshape(-1, 32)
            for name in ("blind", "blinded_element", "evaluation_element")
        )
        assert np.array_equal(jit.hash_multiply(blinds, hash_inputs_to_uniform(inputs, mode)), blinded)
        assert np.array_equal(jit.multiply(key, blinded), evaluated)


def test_the_element_derived_in_rfc_9496_is_computed(jit: Jit) -> None:
    # appendix A.3
    label = b"Ristretto is traditionally a short shot of espresso coffee"
    rows = np.frombuffer(sha512(label).digest() * 8, np.uint8).reshape(8, 64)
    one = number_rows([1])
    expected = "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"
    assert {row.tobytes().hex() for row in jit.hash_multiply(one, rows)} == {expected}


def test_the_first_row_that_is_refused_is_libsodiums(jit: Jit) -> None:
    scalars = some_scalars(40)
    good = LIBSODIUM.hash_multiply(some_scalars(40), uniform(40))
    draws = np.random.default_rng(17)
    for _ in range(60):
        rows = good.copy()
        for at in draws.integers(0, 40, 3):
            rows[at, draws.integers(0, 32)] ^= 1 << draws.integers(0, 8)
        assert refused(jit.multiply, scalars, rows) == refused(LIBSODIUM.multiply, scalars, rows)
        assert refused(jit.sum_products, scalars, rows) == refused(LIBSODIUM.sum_products, scalars, rows)


def refused(function: object, scalars: Rows, rows: Rows) -> int | bytes:
    """The row that is refused, or the result."""
    try:
        return function(scalars, rows).tobytes()  # type: ignore[operator, no-any-return]
    except GroupError as error:
        return error.row


@pytest.mark.parametrize("function", ["multiply", "hash_multiply", "sum_products"])
def test_a_scalar_zero_is_refused_by_its_row(jit: Jit, function: str) -> None:
    scalars = some_scalars(20).copy()
    scalars[13] = 0
    rows = (
        uniform(20) if function == "hash_multiply" else LIBSODIUM.hash_multiply(some_scalars(20), uniform(20))
    )
    with pytest.raises(GroupError) as caught:
        getattr(jit, function)(scalars, rows)
    assert caught.value.row == 13


def test_the_voprf_package_agrees_with_both_sides_computed_by_it(jit: Jit) -> None:
    seed = bytes(range(32))
    inputs = [bytes([n]) * 20 for n in range(12)]
    server = peer.Evaluator.from_seed(seed, b"info")
    key = derived_key(seed, b"info", Mode.VOPRF)
    with group.using(jit):
        state, blinded = oprf.blind(inputs, Mode.VOPRF, seeded("blind"))
        raw = server.evaluate_batch(
            [peer.BlindedInput.deserialize(row.tobytes()) for row in blinded]
        ).serialize()
        theirs = oprf.Evaluation(np.frombuffer(raw[64:], np.uint8).reshape(-1, 32), raw[:64])
        ours = oprf.blind_evaluate(key, blinded, seeded("proof"))
        outputs = oprf.finalize(state, theirs, key.public)
    assert np.array_equal(ours.elements, theirs.elements)
    assert [row.tobytes() for row in outputs] == [server.evaluate_known_input(value) for value in inputs]
    assert np.array_equal(oprf.finalize(state, ours, key.public), outputs)
    swapped = oprf.Evaluation(np.roll(ours.elements, 1, axis=0), ours.proof)
    with group.using(jit), pytest.raises(ProtocolError, match="does not hold"):
        oprf.finalize(state, swapped, key.public)


@pytest.mark.slow
@pytest.mark.parametrize("target", HERE, ids=lambda one: one.name)
def test_a_hundred_thousand_random_rows_are_libsodiums(target: Target) -> None:
    count = 100_000
    scalars = some_scalars(count)
    rows = uniform(count)
    elements, products, total = _reference(count)
    assert np.array_equal(compiled(target).hash_multiply(scalars, rows), products)
    assert np.array_equal(compiled(target).multiply(scalars, elements), products)
    assert np.array_equal(compiled(target).sum_products(scalars, elements), total)


@cache
def _reference(count: int) -> tuple[Rows, Rows, Rows]:
    """Elements, their products and the products' sum, which is added up pair by pair."""
    elements = group.hash_to_group(uniform(count))
    products = total = LIBSODIUM.multiply(some_scalars(count), elements)
    while (half := len(total) // 2) > 0:
        total = np.vstack([group.add(total[:half], total[half : 2 * half]), total[2 * half :]])
    return elements, products, total


@given(st.lists(st.sampled_from(SCALAR_EDGES) | st.integers(1, group.ORDER - 1), min_size=8, max_size=8))
def test_any_scalars_are_multiplied_by(values: list[int]) -> None:
    scalars = number_rows(values)
    rows = uniform(8)
    products = compiled(HERE[0]).hash_multiply(scalars, rows)
    assert np.array_equal(products, LIBSODIUM.hash_multiply(scalars, rows))


# --- no limb overflows ---


def test_code_whose_limbs_may_overflow_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds go with every value; without carries, or with a carry that forgets a limb, they are exceeded."""
    for target in TARGETS:
        assert "define void @multiply" in target.module().text()
    monkeypatch.setattr(Field, "carry", lambda f, raw: raw)
    for target in TARGETS:
        with pytest.raises(OverflowError):
            target.module()
    monkeypatch.undo()
    monkeypatch.setattr(field, "TIGHT", (1 << 55) - 1)
    for target in TARGETS:
        with pytest.raises(OverflowError):
            target.module()


class Arithmetic(Written):
    """Field operations alone, for numbers in memory."""

    @staticmethod
    def write(module: Module) -> None:
        arguments = ("ptr %result", "ptr %a", "ptr %b")
        with module.function("fe_test", *arguments, inline=True, exported=True) as f:
            a = f.load("%a")
            b = f.load("%b")
            made = (f.times(a, b), f.square(a), f.plus(a, b), f.minus(a, b), f.negated(a), f.canonical(a))
            for index, one in enumerate(made):
                f.store("%result", index, one)
            raw = f.difference(f.sum(f.squared(a), f.squared(a)), f.product(a, b))
            f.store("%result", len(made), f.carry(raw))


@each_target
def test_the_largest_limbs_are_multiplied_and_reduced(target: Target) -> None:
    """Limbs as large as the bounds allow, which no sequence of operations is known to make."""
    import ctypes

    library = llvm.JITLibraryBuilder().add_object_img(code_of(written_for(target, Arithmetic)))
    library.export_symbol("fe_test")
    linker = llvm.create_lljit_compiler()
    tracker = library.link(linker, "arithmetic")
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(tracker["fe_test"])
    draws = np.random.default_rng(5)
    width = target.width
    largest = [(1 << 51) - 1, TIGHT, 0, 1, (1 << 51) - 19, 1 << 51]
    result, a, b = (
        machine._aligned(8 * 5 * width * n).view(np.uint64).reshape(-1, 5, width) for n in (7, 1, 1)
    )
    for _ in range(300):
        for operand in (a, b):
            operand[0] = draws.choice(np.array(largest, np.uint64), (5, width))
        call(result.ctypes.data, a.ctypes.data, b.ctypes.data)
        for lane in range(width):
            x, y = (number(operand[0, :, lane]) for operand in (a, b))
            expected = (x * y, x * x, x + y, x - y, -x, x, 2 * x * x - x * y)
            assert [number(one[:, lane]) % P for one in result] == [value % P for value in expected]
        assert result.max() <= TIGHT
        assert (
            result[5].tolist()
            == np.array([limbs_of(number(a[0, :, lane]) % P) for lane in range(width)]).T.tolist()
        )


def number(limbs: Rows) -> int:
    return sum(int(limb) << 51 * i for i, limb in enumerate(limbs.tolist()))


# --- what is wrong is found ---


@pytest.mark.parametrize("design", [OPRF_PSI, TOKEN_PSI], ids=lambda one: one.info.name)
def test_files_are_the_same_under_both_back_ends(jit: Jit, design: AnyDesign) -> None:
    hashes = random_hashes(33)
    plain = build(design, hashes).files
    with group.using(jit):
        assert build(design, hashes).files == plain


@pytest.mark.filterwarnings("default::blindmatch_protocol.group.BackendWarning")
def test_a_wrong_row_of_a_build_drops_the_back_end_and_nothing_of_it_is_published(
    jit: Jit, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = random_hashes(50)
    plain = build(OPRF_PSI, hashes).files
    right = jit.hash_multiply

    def wrong(scalars: Rows, rows: Rows) -> Rows:
        products = right(scalars, rows)
        products[17] = products[16]
        return products

    monkeypatch.setattr(jit, "hash_multiply", wrong)
    monkeypatch.setattr(files, "SAMPLED", 500)
    with group.using(jit), pytest.warns(BackendWarning, match="entry with id 18 is wrong; libsodium goes on"):
        assert build(OPRF_PSI, hashes).files == plain
        assert group.in_use() is LIBSODIUM
        assert not jit.sound


@pytest.mark.parametrize("function", ["multiply", "hash_multiply"])
@pytest.mark.parametrize(
    ("scalars", "why"), [(1, "the sum of a batch's products is wrong"), (20, "a row is not what")]
)
def test_a_wrong_product_is_found_and_named_and_libsodiums_are_returned(
    jit: Jit, function: str, scalars: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under one scalar by sums, whichever row it is; else if it is in the sample."""
    right = jit._rows

    def wrong(function: str, scalars: Rows, rows: Rows) -> machine._Made:
        made = right(function, scalars, rows)
        made.out[5] = made.out[4]
        made.sums[1] = made.sums[0]
        return made

    monkeypatch.setattr(jit, "_rows", wrong)
    monkeypatch.setattr(machine, "sample", lambda rows, count: [5])
    rows = (
        uniform(20) if function == "hash_multiply" else LIBSODIUM.hash_multiply(some_scalars(20), uniform(20))
    )
    expected = getattr(LIBSODIUM, function)(some_scalars(scalars), rows)
    with group.using(jit), pytest.warns(BackendWarning, match=f"{why}.*, row 5 of 20; libsodium"):
        assert np.array_equal(getattr(group, function)(some_scalars(scalars), rows), expected)
    assert not jit.sound


@pytest.mark.parametrize("left_out", [[2], [0], [19], [*range(0, 20, 2)], [*range(16, 20)]])
def test_a_kernel_that_leaves_rows_out_of_both_sums_of_a_proof_lets_no_wrong_row_pass(
    jit: Jit, left_out: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prover and verifier leave out the same rows by their place, and the proof would hold over the rest."""
    right = jit.sum_products

    def lessened(scalars: Rows, rows: Rows) -> Rows:
        kept = np.delete(np.arange(20), left_out)
        return right(scalars[kept], rows[kept])

    monkeypatch.setattr(jit, "sum_products", lessened)
    key = some_scalars(1)
    inputs = LIBSODIUM.hash_multiply(some_scalars(20), uniform(20))
    public = group.multiply_base(key)
    outputs = LIBSODIUM.multiply(key, inputs)
    outputs[left_out] = inputs[left_out]
    with group.using(jit):
        with pytest.warns(BackendWarning, match="two sums of the same 20 rows differ; libsodium goes on"):
            proof = dleq.generate_proof(key, public, inputs, outputs, system_randomness())
        jit.sound = True
        with (
            pytest.warns(BackendWarning, match="two sums of the same 20 rows differ"),
            pytest.raises(ProtocolError, match="does not hold"),
        ):
            dleq.verify_proof(public, inputs, outputs, proof)


class Kernel:
    """A kernel's sums, which leave out the first row where `is_faulty` says so, and are counted."""

    def __init__(self, jit: Jit, monkeypatch: pytest.MonkeyPatch) -> None:
        self._right = jit.sum_products
        self._made: list[int] = []
        self.is_faulty: Callable[[int], bool] = lambda rows: False
        monkeypatch.setattr(jit, "sum_products", self.sum_products)

    def sum_products(self, scalars: Rows, rows: Rows) -> Rows:
        self._made.append(len(rows))  # one step, whichever thread
        kept = slice(1, None) if self.is_faulty(len(rows)) else slice(None)
        return self._right(scalars[kept], rows[kept])

    @property
    def calls(self) -> int:
        return len(self._made)


@pytest.fixture
def kernel(jit: Jit, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(jit, monkeypatch)


def operands(count: int) -> tuple[Rows, Rows]:
    return some_scalars(count), LIBSODIUM.hash_multiply(some_scalars(count), uniform(count))


def is_summed_right(count: int) -> bool:
    return np.array_equal(group.sum_products(*operands(count)), LIBSODIUM.sum_products(*operands(count)))


def test_the_first_sum_of_each_length_is_made_twice_and_then_one_in_64(jit: Jit, kernel: Kernel) -> None:
    twice = {20: list[int](), 21: list[int]()}
    with group.using(jit):
        for call in range(2 * SUMS_FOR_A_SECOND + 1):
            for length, found in twice.items():
                before = kernel.calls
                group.sum_products(*operands(length))
                found += [call] if kernel.calls == before + 2 else []
    assert SUMS_FOR_A_SECOND == 64
    assert twice == {20: [0, 64, 128], 21: [0, 64, 128]}


def test_a_fault_of_one_length_is_found_at_its_first_use_however_many_others_were_summed(
    jit: Jit, kernel: Kernel
) -> None:
    kernel.is_faulty = lambda rows: rows == 21
    with group.using(jit):
        assert all(is_summed_right(20) for _ in range(5))
        with pytest.warns(BackendWarning, match="two sums of the same 21 rows differ"):
            assert is_summed_right(21)
    assert not jit.sound


def test_one_scalar_for_all_rows_is_another_shape_than_a_scalar_for_each(jit: Jit, kernel: Kernel) -> None:
    scalars, rows = operands(20)
    with group.using(jit):
        group.sum_products(scalars, rows)
        group.sum_products(scalars[:1], rows)
    assert kernel.calls == 4


def test_a_fault_that_comes_later_is_found_within_64_sums(jit: Jit, kernel: Kernel) -> None:
    with group.using(jit):
        assert all(is_summed_right(20) for _ in range(10))
        kernel.is_faulty = lambda rows: True
        with pytest.warns(BackendWarning, match="two sums of the same 20 rows differ"):
            found = [is_summed_right(20) for _ in range(SUMS_FOR_A_SECOND)]
    assert found == [False] * 54 + [True] * 10, "wrong before it is found: docs/explanation/group.md"


def test_a_batch_that_is_refused_is_no_second_sum(jit: Jit, kernel: Kernel) -> None:
    scalars, rows = operands(20)
    refused = rows.copy()
    refused[3] = 0xFF
    with group.using(jit):
        for _ in range(2):
            with pytest.raises(GroupError):
                group.sum_products(scalars, refused)
        before = kernel.calls
        group.sum_products(scalars, rows)
    assert kernel.calls == before + 2


def test_no_thread_gets_a_sum_of_a_length_before_two_sums_of_it_agreed(
    jit: Jit, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thread is held between its two sums, while another makes a sum of the same length."""
    kernel.is_faulty = lambda rows: True
    is_between = Event()
    may_go_on = Event()
    faulty = kernel.sum_products
    numbers = count()

    def held(scalars: Rows, rows: Rows) -> Rows:
        if next(numbers) == 1:  # the first thread's second sum
            is_between.set()
            assert may_go_on.wait(60)
        return faulty(scalars, rows)

    monkeypatch.setattr(jit, "sum_products", held)
    with group.using(jit), warnings.catch_warnings(), ThreadPoolExecutor(1) as pool:
        warnings.simplefilter("ignore", BackendWarning)
        first = pool.submit(copy_context().run, is_summed_right, 20)
        assert is_between.wait(60)
        try:
            assert is_summed_right(20)
        finally:
            may_go_on.set()
        assert first.result(60)


def test_sums_on_many_threads_are_made_twice_as_often_as_on_one(jit: Jit, kernel: Kernel) -> None:
    sums = 5 * SUMS_FOR_A_SECOND
    with group.using(jit), ThreadPoolExecutor(4) as pool:
        group.sum_products(*operands(20))
        before = kernel.calls
        tasks = [pool.submit(copy_context().run, is_summed_right, 20) for _ in range(sums)]
        assert all(task.result(60) for task in tasks)
    assert kernel.calls - before == sums + 5


@pytest.mark.parametrize("scalars", [1, 20])
def test_a_good_row_that_is_refused_is_found(jit: Jit, scalars: int, monkeypatch: pytest.MonkeyPatch) -> None:
    right = jit._rows

    def wrong(function: str, scalars: Rows, rows: Rows) -> machine._Made:
        made = right(function, scalars, rows)
        made.good[7] = False
        return made

    monkeypatch.setattr(jit, "_rows", wrong)
    rows = LIBSODIUM.hash_multiply(some_scalars(20), uniform(20))
    with (
        group.using(jit),
        pytest.warns(BackendWarning, match="a row is not what libsodium computes"),
    ):
        assert np.array_equal(
            group.multiply(some_scalars(scalars), rows), LIBSODIUM.multiply(some_scalars(scalars), rows)
        )


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["a constant", "a window", "a carry", "a refusal"])
def test_a_kernel_that_is_wrong_fails_its_own_test(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from blindmatch_protocol.group.jit import element

    match broken:
        case "a constant":
            monkeypatch.setattr(element, "D_MINUS_ONE_SQ", element.D_MINUS_ONE_SQ + 1)
        case "a window":
            monkeypatch.setattr(drivers, "CACHED_IDENTITY", (1, 1, 2, 1))
        case "a carry":
            monkeypatch.setattr(Field, "times19", lambda f, value: f.add(value, f.left(value, 4)))
        case _:
            monkeypatch.setattr(Field, "odd", lambda f, value: f.constant(0))
    with pytest.raises(BackendError):
        check(Jit(HERE[0]))


FULL_MEMORY = """
import mmap
from blindmatch_protocol.group.jit.machine import Jit, check, host_target
UNUSED = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000, "prot": mmap.PROT_READ}  # none is reserved
held = [Jit(host_target())]
for _ in range(2):
    held.append(mmap.mmap(-1, 3 << 30, **UNUSED))
    held += [mmap.mmap(-1, 4096 * pages, **UNUSED) for pages in (1, 2, 3, 5, 8, 16, 32) for _ in range(3)]
    held.append(Jit(host_target()))
check(held[-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="fills its address space as Linux does")
@pytest.mark.slow
def test_a_process_whose_memory_is_far_apart_is_not_ended_by_the_linker() -> None:
    subprocess.run([sys.executable, "-c", FULL_MEMORY], check=True, capture_output=True)


# --- which one is taken ---


@pytest.mark.usefixtures("chosen")
class TestChoice:
    def test_a_process_computes_with_libsodium_unless_told_otherwise(self) -> None:
        asked = "from blindmatch_protocol import group as g; print(g.in_use() is g.LIBSODIUM, g.described())"
        ran = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
        assert ran.stdout == "True libsodium\n"

    def test_jit_computes_every_batch_of_enough_rows(self) -> None:
        group.choose(group.Setting.JIT)
        assert group.described() == f"jit ({HERE[0].name})"
        group.multiply(
            some_scalars(3), uniform(3)[:, :32] * 0 + LIBSODIUM.hash_multiply(some_scalars(3), uniform(3))
        )
        assert group.in_use().name == "jit"

    def test_auto_takes_jit_for_large_builds_alone(self) -> None:
        group.choose(group.Setting.AUTO)
        with group.building(choice.BUILD_ROWS - 1) as backend:
            assert backend is LIBSODIUM
        with group.building(choice.BUILD_ROWS) as backend:
            assert backend.name == "jit"
            assert group.in_use() is backend
        assert group.in_use() is LIBSODIUM

    def test_auto_takes_jit_for_public_sums_alone_once_there_were_many(
        self, jit: Jit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []
        choice.jit()
        for name in ("sum_products", "multiply", "hash_multiply"):
            right = getattr(jit, name)
            monkeypatch.setattr(
                jit, name, lambda *rows, name=name, right=right: asked.append(name) or right(*rows)
            )
        monkeypatch.setattr(choice, "PUBLIC_ROWS", 40)
        group.choose(group.Setting.AUTO)
        scalars = some_scalars(20)
        rows = LIBSODIUM.hash_multiply(some_scalars(20), uniform(20))
        sums = []
        for _ in range(2):
            assert asked == []
            sums.append(group.sum_products(scalars, rows).tobytes())
        group.multiply(scalars, rows)
        group.hash_multiply(scalars, uniform(20))
        assert asked == ["sum_products"] * 2 and len({*sums}) == 1
        group.sum_products(scalars[:3], rows[:3])
        jit.sound = False
        group.sum_products(scalars, rows)
        assert len(asked) == 2

    @pytest.mark.parametrize("why", ["llvmlite is not installed", "this processor has none of"])
    def test_without_it_jit_says_so_once_and_libsodium_computes(
        self, why: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _without(why, monkeypatch)
        group.choose(group.Setting.JIT)
        with pytest.warns(BackendWarning, match=f"no jit: {why}.*; libsodium computes"):
            assert group.in_use() is LIBSODIUM
        assert group.in_use() is LIBSODIUM
        assert group.described().startswith(f"libsodium; no jit: {why}")

    def test_without_it_auto_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        _without("llvmlite is not installed", monkeypatch)
        group.choose(group.Setting.AUTO)
        with group.building(1 << 30) as backend:
            assert backend is LIBSODIUM
        assert choice.backend_for_public(choice.PUBLIC_ROWS) is LIBSODIUM

    def test_a_failed_self_test_is_said_once_and_libsodium_computes(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Jit, "multiply", lambda backend, scalars, elements: elements)
        group.choose(group.Setting.AUTO)
        with (
            pytest.warns(BackendWarning, match="no jit: multiply is not what libsodium computes; libsodium"),
            group.building(1 << 30) as backend,
        ):
            assert backend is LIBSODIUM


def _without(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    choice.missing.cache_clear()
    monkeypatch.setattr(choice, "missing", choice.missing.__wrapped__)
    if why.startswith("llvmlite"):
        monkeypatch.setitem(__import__("sys").modules, "blindmatch_protocol.group.jit.machine", None)
    else:
        monkeypatch.setattr(machine, "target_for", lambda features: None)
