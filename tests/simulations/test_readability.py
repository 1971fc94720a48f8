"""The lint of packed assignments finds what it is for, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support import readability


@pytest.mark.parametrize(
    "code",
    [
        "begin, end = 0, size",
        "self.store, self.view = store, view",
        "path, (leaf,) = [], leaves",
        "before, self.next = self.next, None",
        "[low, high] = [0, 1]",
    ],
)
def test_unrelated_values_in_one_assignment_are_found(code: str) -> None:
    assert readability.list_packed(ast.parse(f"x = 1\n{code}")) == [2]


@pytest.mark.parametrize(
    "code",
    [
        "begin, end = end, begin",
        "row[0], row[1], row[2] = row[2], row[0], row[1]",
        "quotient, rest = divmod(9, 4)",
        "first, *others = values",
        "pair = 1, 2",
        "for place, value in pairs: pass",
    ],
)
def test_swaps_and_unpacked_calls_are_left_alone(code: str) -> None:
    assert readability.list_packed(ast.parse(code)) == []


def test_a_packed_assignment_in_a_finished_room_fails_the_lint_and_a_long_function_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(readability, "ROOT", tmp_path)
    for room in (*readability.ROOMS, *readability.REPORTED):
        (tmp_path / room).mkdir(parents=True, exist_ok=True)
    long = "def settle() -> None:\n" + "    print()\n" * 600
    (tmp_path / "client" / "long.py").write_text(long)
    assert readability.main() == 0
    reported = capsys.readouterr().out
    assert "long: client/long.py, 601 lines" in reported
    assert "long: client/long.py, settle, 601 lines" in reported
    (tmp_path / "client" / "packed.py").write_text("begin, end = 0, 1\n")
    assert readability.main() == 1
    assert "client/packed.py:1: assigns unrelated values" in capsys.readouterr().out
