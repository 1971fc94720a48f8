"""Lint of the rooms that were made readable, and a report of what is long.

`make lint` runs it as `python -m support.readability`. It exits with 1 if a room of `ROOMS` packs unrelated
values into one assignment. Long files and functions are listed and never fail: a limit that breeds fragments
is worse than a long function that reads well.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("client", "examples", "proofs", "protocol", "server", "simulations", "tests")
"""Rooms in which one statement does one thing; a room that is done is added here."""
REPORTED = ("client", "proofs", "protocol", "server", "simulations")
FILE_LINES = 450
FUNCTION_LINES = 45


def list_packed(tree: ast.AST) -> list[int]:
    """List the lines that assign a literal tuple to a tuple, and are no swap of the same names."""
    return sorted(
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(_is_packed(target, node.value) for target in node.targets)
    )


def _is_packed(target: ast.expr, value: ast.expr) -> bool:
    sequences = (ast.Tuple, ast.List)
    if not isinstance(target, sequences) or not isinstance(value, sequences):
        return False
    # a swap puts the same places in another order: only packing can bring a value from elsewhere
    return sorted(map(ast.unparse, target.elts)) != sorted(map(ast.unparse, value.elts))


def list_long_functions(tree: ast.AST) -> list[tuple[str, int]]:
    """List name and length of the functions of more than `FUNCTION_LINES` lines, in the order of the file."""
    lengths = (
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    ordered = sorted(lengths, key=lambda function: function[2])
    return [(name, length) for name, length, _ in ordered if length > FUNCTION_LINES]


def read_sources(rooms: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield path and text of each written Python file of rooms; what protoc generated is left out."""
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def main() -> int:
    """Print the report and the packed assignments; return 1 if there are any, otherwise 0."""
    for path, text in read_sources(REPORTED):
        lines = text.count("\n")
        if lines > FILE_LINES:
            sys.stdout.write(f"long: {path}, {lines} lines\n")
        for name, length in list_long_functions(ast.parse(text)):
            sys.stdout.write(f"long: {path}, {name}, {length} lines\n")
    packed = [f"{path}:{line}" for path, text in read_sources(ROOMS) for line in list_packed(ast.parse(text))]
    for place in packed:
        sys.stdout.write(f"{place}: assigns unrelated values in one statement; write one for each\n")
    sys.stdout.write(f"{len(packed)} packed assignments in {', '.join(ROOMS)}\n")
    return 1 if packed else 0


if __name__ == "__main__":
    sys.exit(main())
