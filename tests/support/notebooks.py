"""The notebooks of examples/, with what their cells show.

``python -m support.notebooks`` runs the cells one after the other in an empty folder, without Jupyter.
What the last expression of a cell gives is kept in the notebook, for people and the documentation's site; a
test compares it with what the cells give.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from pathlib import Path
from pprint import pformat
from typing import Any, Final

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
Output = dict[str, Any]


def notebooks() -> list[Path]:
    return sorted(EXAMPLES.glob("*.ipynb"))


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def execute(path: Path) -> tuple[dict[str, Any], list[list[Output]]]:
    """Return the variables that a notebook's cells leave, and the outputs of each cell."""
    left: dict[str, Any] = {}
    outputs = []
    for number, cell in enumerate(code_cells(read(path)), 1):
        body = ast.parse("".join(cell["source"]), f"{path.name}, cell {number}").body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), f"{path.name}, cell {number}", "exec"), left)  # noqa: S102
        if last is None:
            outputs.append([])
        else:
            assert isinstance(last, ast.Expr)
            shown = eval(compile(ast.Expression(last.value), path.name, "eval"), left)  # noqa: S307
            outputs.append([output(shown, number)])
    return left, outputs


def output(value: Any, number: int) -> Output:
    """Return what a notebook's file holds of a value that a cell shows (nbformat 4)."""
    drawn = getattr(value, "_repr_svg_", None)
    data: dict[str, list[str]] = {}
    if drawn is not None:
        data["image/svg+xml"] = drawn().splitlines(keepends=True)
    data["text/plain"] = (
        [f"{type(value).__name__}"]
        if drawn is not None
        else pformat(value, width=100).splitlines(keepends=True)
    )
    return {"output_type": "execute_result", "execution_count": number, "metadata": {}, "data": data}


def written(notebook: dict[str, Any], outputs: list[list[Output]]) -> str:
    """Return the text of a notebook with these outputs."""
    for number, (cell, shown) in enumerate(zip(code_cells(notebook), outputs, strict=True), 1):
        cell["execution_count"] = number
        cell["outputs"] = shown
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for path in notebooks():
            path.write_text(written(read(path), execute(path)[1]), "utf-8")
            sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    main()
