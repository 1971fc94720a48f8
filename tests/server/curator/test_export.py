"""Export, and back again."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from blindmatch_server.curator import (
    ExportFormat,
    ListError,
    export,
    import_list,
    open_list,
    random_list,
)


@pytest.mark.parametrize("export_format", list(ExportFormat))
def test_an_exported_list_imports_as_the_same_hashes(
    rng: Any, into: Path, export_format: ExportFormat
) -> None:
    into = into.with_name("A list - 1.list")
    random_list(500, into, rng)
    out = into.with_name("out")
    assert export(open_list(into), export_format, out) == 500
    again = into.with_name("again.list")
    summary = import_list(out, again, rng)
    assert (summary.read, summary.entries) == (500, 500)
    assert open_list(again).hashes.tobytes() == open_list(into).hashes.tobytes()


def test_the_exported_forms_are_these(rng: Any, into: Path, hexes: list[str]) -> None:
    import_list(io.BytesIO(f"pdq {hexes[0]}".encode()), into, rng)
    for export_format, expected in (
        (ExportFormat.PDQ, f"pdq {hexes[0]}\n"),
        (
            ExportFormat.THREATEXCHANGE,
            f"signal_type,signal_str,collab,category,tags\npdq,{hexes[0]},known,,\n",
        ),
    ):
        stream = io.BytesIO()
        export(open_list(into), export_format, stream)
        assert stream.getvalue().decode() == expected


def test_a_failed_export_leaves_the_old_file(rng: Any, into: Path) -> None:
    random_list(5, into, rng)
    out = into.with_name("out")
    out.write_bytes(b"old")

    def fail(done: int, total: int) -> None:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        export(open_list(into), ExportFormat.PDQ, out, fail)
    assert out.read_bytes() == b"old"
    left = {f".{into.name}.lock", into.name, "next_id", ".next_id.lock", "out"}
    assert {path.name for path in into.parent.iterdir()} == left
    with pytest.raises(ListError, match="cannot write"):
        export(open_list(into), ExportFormat.PDQ, into.parent / "no" / "out")
