"""ristretto255 on batches: known values, group laws, strict checks, and what importing leaves behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha512, shake_256
from pathlib import Path

import numpy as np
import pytest
from blindmatch_protocol import group
from blindmatch_protocol.codec import Rows
from blindmatch_protocol.codec.errors import GroupError, ProtocolError
from blindmatch_protocol.codec.randomness import replayed, system_randomness
from blindmatch_protocol.group import ORDER
from hypothesis import given
from hypothesis import strategies as st

FIELD = 2**255 - 19
GENERATOR = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"
scalars = st.integers(1, ORDER - 1)


def row(value: int | str | bytes, width: int = 32) -> Rows:
    """One row of an integer (little-endian), of hexadecimal digits or of bytes."""
    if isinstance(value, int):
        value = value.to_bytes(width, "little")
    raw = bytes.fromhex(value) if isinstance(value, str) else value
    return np.frombuffer(raw, np.uint8).reshape(1, -1)


def number(scalar: Rows) -> int:
    return int.from_bytes(scalar.tobytes(), "little")


def rows(*values: int | str | bytes) -> Rows:
    return np.concatenate([row(value) for value in values])


def elements(count: int, seed: bytes = b"elements") -> Rows:
    uniform = np.frombuffer(shake_256(seed).digest(64 * count), np.uint8)
    return group.hash_to_group(uniform.reshape(count, 64))


@pytest.fixture(scope="module")
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


NOT_ELEMENTS = {
    "the field's modulus, a second zero": FIELD,
    "one, which is negative": 1,
    "the field's modulus plus two": FIELD + 2,
    "all bits set": 2**256 - 1,
    "the generator with the top bit set": int.from_bytes(bytes.fromhex(GENERATOR), "little") | 2**255,
    "the generator's negative": FIELD - int.from_bytes(bytes.fromhex(GENERATOR), "little"),
    # RFC 9496, appendix A.2: "non-square x^2"
    "a field element that is no point": "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
}


def test_the_generator_and_a_derived_element_are_those_of_rfc_9496() -> None:
    assert group.multiply_base(row(1)).tobytes().hex() == GENERATOR
    label = b"Ristretto is traditionally a short shot of espresso coffee"
    derived = group.hash_to_group(row(sha512(label).digest()))
    # RFC 9496, appendix A.3
    assert derived.tobytes().hex() == "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"


@given(scalars, scalars)
def test_scalar_arithmetic_is_that_of_integers_modulo_the_order(left: int, right: int) -> None:
    a = row(left)
    b = row(right)
    assert number(group.add_scalars(a, b)) == (left + right) % ORDER
    assert number(group.subtract_scalars(a, b)) == (left - right) % ORDER
    assert number(group.multiply_scalars(a, b)) == left * right % ORDER
    assert number(group.invert_scalars(a)) == pow(left, -1, ORDER)


@given(st.integers(0, 2**512 - 1))
def test_wide_integers_are_reduced_modulo_the_order(wide: int) -> None:
    assert number(group.reduce_scalars(row(wide, 64))) == wide % ORDER


@given(st.lists(scalars, max_size=9))
def test_a_batch_is_inverted_row_by_row(values: list[int]) -> None:
    batch = rows(*values) if values else np.empty((0, 32), np.uint8)
    assert [number(s) for s in group.invert_scalars(batch)] == [pow(v, -1, ORDER) for v in values]


@given(scalars, scalars)
def test_multiplication_distributes_over_addition(left: int, right: int) -> None:
    point = elements(1)
    total = (left + right) % ORDER
    left_point, right_point = group.multiply(rows(left, right), point)
    if total:
        assert np.array_equal(group.add(left_point, right_point), group.multiply(row(total), point))
    minus = group.multiply(row(ORDER - 1), right_point)
    assert np.array_equal(group.add(group.add(left_point, right_point), minus)[0], left_point)


def test_the_generators_multiples_agree_with_general_multiplication() -> None:
    some = group.random_scalars(5, system_randomness())
    assert np.array_equal(group.multiply_base(some), group.multiply(some, row(GENERATOR)))


def test_a_combination_is_the_sum_of_the_products() -> None:
    some = group.random_scalars(3, system_randomness())
    points = elements(3)
    products = group.multiply(some, points)
    expected = group.add(group.add(products[0], products[1]), products[2])
    assert np.array_equal(group.sum_products(some, points), expected)


def test_a_combination_of_nothing_is_the_identity() -> None:
    nothing = np.empty((0, 32), np.uint8)
    assert group.sum_products(nothing, nothing).tobytes() == bytes(32)


def test_an_executor_changes_no_result(executor: ThreadPoolExecutor) -> None:
    some = group.random_scalars(101, system_randomness())
    points = elements(101)
    uniform = np.tile(np.arange(64, dtype=np.uint8), (101, 1)) + np.arange(101, dtype=np.uint8)[:, None]
    for operation in (group.multiply, group.add, group.sum_products):
        left = points if operation is group.add else some
        assert np.array_equal(operation(left, points, executor), operation(left, points))
    assert np.array_equal(group.multiply_base(some, executor), group.multiply_base(some))
    assert np.array_equal(group.hash_to_group(uniform, executor), group.hash_to_group(uniform))


def test_empty_batches_give_empty_batches(executor: ThreadPoolExecutor) -> None:
    nothing = np.empty((0, 32), np.uint8)
    assert group.multiply(row(1), nothing, executor).shape == (0, 32)
    assert group.hash_to_group(np.empty((0, 64), np.uint8)).shape == (0, 32)
    assert group.random_scalars(0, replayed(b"")).shape == (0, 32)
    group.check_elements(nothing, "step", "field")
    group.check_scalars(nothing, "step", "field")


def test_strided_and_read_only_operands_are_read_correctly() -> None:
    points = elements(8)
    two = row(2)
    expected = group.multiply(two, points)
    assert np.array_equal(group.multiply(two, points[::-2]), expected[::-2])
    wide = np.zeros((8, 40), np.uint8)
    wide[:, 8:] = points
    wide.flags.writeable = False
    assert np.array_equal(group.multiply(two, wide[:, 8:]), expected)


def test_random_scalars_reduce_64_bytes_each_and_skip_zero() -> None:
    zero = ORDER.to_bytes(64, "little")
    tape = replayed(row(5, 64).tobytes() + zero + row(ORDER + 6, 64).tobytes() + row(7, 64).tobytes())
    assert [number(s) for s in group.random_scalars(2, tape)] == [6, 7]


@pytest.mark.parametrize("operation", [group.multiply, group.sum_products])
@pytest.mark.parametrize("bad", [0, *NOT_ELEMENTS.values()])
def test_operations_refuse_what_is_no_proper_element(operation: object, bad: int | str) -> None:
    points = np.concatenate([elements(20), row(bad)])
    with pytest.raises(GroupError) as caught, ThreadPoolExecutor(2) as pool:
        operation(row(3), points, pool)  # type: ignore[operator]
    assert caught.value.row == 20


@pytest.mark.parametrize("bad", NOT_ELEMENTS.values())
def test_sums_refuse_bad_encodings_but_not_the_identity(bad: int | str) -> None:
    with pytest.raises(GroupError):
        group.add(elements(1), row(bad))
    assert np.array_equal(group.add(elements(1), row(0)), elements(1))


@pytest.mark.parametrize("operation", [group.multiply_base, group.invert_scalars])
def test_operations_refuse_a_zero_scalar(operation: object) -> None:
    with pytest.raises(GroupError) as caught:
        operation(rows(1, 0, 2))  # type: ignore[operator]
    assert caught.value.row == 1


@pytest.mark.parametrize("bad", NOT_ELEMENTS.values(), ids=NOT_ELEMENTS)
def test_checks_name_the_row_that_is_no_canonical_encoding(bad: int | str) -> None:
    with pytest.raises(ProtocolError, match="row 1 is no canonical encoding") as caught:
        group.check_elements(rows(GENERATOR, bad), "some/step", "points")
    assert (caught.value.step, caught.value.field) == ("some/step", "points")


def test_checks_name_the_row_that_is_the_identity() -> None:
    with pytest.raises(ProtocolError, match="row 2 is the identity"):
        group.check_elements(rows(GENERATOR, GENERATOR, 0), "some/step", "points")


@pytest.mark.parametrize("bad", [ORDER, ORDER + 1, 2**255, 2**256 - 1])
def test_checks_name_the_row_that_is_an_unreduced_scalar(bad: int) -> None:
    with pytest.raises(ProtocolError, match="row 1 is not reduced"):
        group.check_scalars(rows(ORDER - 1, bad), "some/step", "scalars")


def test_checks_name_the_row_that_is_a_zero_scalar() -> None:
    with pytest.raises(ProtocolError, match="row 0 is zero"):
        group.check_scalars(rows(0, 1), "some/step", "scalars")


@pytest.mark.parametrize("check", [group.check_elements, group.check_scalars])
@pytest.mark.parametrize("shape", [(32,), (1, 31), (1, 33), (1, 1, 32)])
def test_checks_refuse_other_shapes_and_types(check: object, shape: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolError, match="uint8 matrix of 32 columns"):
        check(np.ones(shape, np.uint8), "some/step", "field")  # type: ignore[operator]
    with pytest.raises(ProtocolError, match="uint8 matrix of 32 columns"):
        check(np.ones((1, 32), np.int8), "some/step", "field")  # type: ignore[operator]


def test_operations_refuse_operands_of_other_shapes() -> None:
    with pytest.raises(ValueError, match="32 columns"):
        group.multiply(row(1), np.ones((1, 31), np.uint8))
    with pytest.raises(ValueError, match="as many rows are needed"):
        group.multiply(rows(1, 2), elements(3))
    with pytest.raises(ValueError, match="64 columns"):
        group.hash_to_group(np.ones((1, 32), np.uint8))


def _import_with_temporary_folder(folder: Path, before: str = "") -> subprocess.CompletedProcess[str]:
    code = f"{before}\nimport blindmatch_protocol.group"
    environment = {"TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="a loaded library cannot be removed there")
class TestImporting:
    def test_leaves_nothing_in_the_temporary_folder(self, tmp_path: Path) -> None:
        other = tmp_path / "other.so"
        other.touch()
        done = _import_with_temporary_folder(tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert list(tmp_path.iterdir()) == [other]

    def test_says_what_to_do_when_the_temporary_folder_is_full(self, tmp_path: Path) -> None:
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))"
        done = _import_with_temporary_folder(tmp_path, limit)
        assert "ImportError: libsodium could not be loaded" in done.stderr
        run = (
            "from blindmatch_simulations.cli import main; sys.argv = ['blindmatch', 'design', 'list']; main()"
        )
        done = _import_with_temporary_folder(tmp_path, f"{limit}; import sys; {run}")
        assert (done.returncode, done.stderr.count("\n")) == (4, 1), done.stderr
        assert done.stderr.startswith("error: libsodium could not be loaded")
        assert "set TMPDIR" in done.stderr
        assert list(tmp_path.iterdir()) == []
