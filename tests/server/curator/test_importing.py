"""Importing as a whole: summaries, rejects, ids, faults."""

from __future__ import annotations

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from blindmatch_protocol.codec.randomness import Randomness
from blindmatch_server.curator import (
    FormatError,
    ListError,
    ListFormat,
    Reason,
    Title,
    import_list,
    inspect,
    open_list,
    rejects_path,
    sniff,
)
from blindmatch_server.curator.source import Source


def pdq_lines(hexes: list[str]) -> bytes:
    return "".join(f"pdq {one}\n" for one in hexes).encode()


def listed_hexes(path: Path) -> list[str]:
    with open_list(path) as listed:
        return [row.tobytes().hex() for row in listed.hashes]


def test_the_summary_adds_up(rng: Any, into: Path, hexes: list[str]) -> None:
    data = pdq_lines(hexes[:5]) + b"bad\n" + pdq_lines(hexes[3:8]) + b"pdq 00\n\n# end\n"
    summary = import_list(io.BytesIO(data), into, rng)
    assert (summary.read, summary.accepted, summary.duplicates, summary.entries) == (12, 10, 2, 8)
    assert summary.rejected == {Reason.NOT_A_PDQ_LINE: 1, Reason.HASH_TOO_SHORT: 1}
    assert (summary.added, summary.removed, summary.removals, summary.not_half) == (8, 0, 0, 0)
    assert listed_hexes(into) == hexes[:8]
    assert inspect(open_list(into)).digest == summary.digest


def test_the_rejects_file_names_place_and_reason_but_no_text(rng: Any, into: Path, hexes: list[str]) -> None:
    source = into.with_name("source.txt")
    source.write_bytes(pdq_lines(hexes[:2]) + f"pdq {hexes[2].upper()}\n".encode() + pdq_lines(hexes[3:4]))
    summary = import_list(source, into, rng)
    assert summary.rejects == rejects_path(into)
    raw = rejects_path(into).read_text()
    assert [json.loads(line) for line in raw.splitlines()] == [
        {
            "source": "source.txt",
            "record": 3,
            "line": 3,
            "offset": 138,
            "reason": "hash-upper-case",
            "says": Reason.HASH_UPPER_CASE.says,
        }
    ]
    assert hexes[2] not in raw.lower()


def test_an_import_without_rejects_removes_the_older_rejects_file(
    rng: Any, into: Path, hexes: list[str]
) -> None:
    import_list(io.BytesIO(b"x\n" + pdq_lines(hexes)), into, rng, list_format=ListFormat.PDQ)
    assert rejects_path(into).exists()
    summary = import_list(io.BytesIO(pdq_lines(hexes)), into, rng, replace=True)
    assert summary.rejects is None
    assert not rejects_path(into).exists()


def test_nothing_valid_is_an_error_that_says_why_and_leaves_the_rejects(rng: Any, into: Path) -> None:
    with pytest.raises(ListError, match="all 3 records were rejected: 2 hash-too-short, 1 not-a-pdq"):
        import_list(io.BytesIO(b"pdq a\npdq b\nc\n"), into, rng)
    assert not into.exists()
    assert len(rejects_path(into).read_text().splitlines()) == 3


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b" \n\n"])
def test_an_empty_source_is_an_error(rng: Any, into: Path, data: bytes) -> None:
    with pytest.raises(FormatError, match="empty"):
        import_list(io.BytesIO(data), into, rng)
    with pytest.raises(ListError, match="there are no records"):
        import_list(io.BytesIO(data), into, rng, list_format=ListFormat.PDQ)


def test_removing_the_last_entry_is_an_error(rng: Any, into: Path, hexes: list[str]) -> None:
    def record(status: str, time: int) -> bytes:
        value = {"hashValue": hexes[0], "hashStatus": status, "signalType": "ImagePDQ"}
        return json.dumps(value | {"lastModtimestamp": time}).encode()

    import_list(io.BytesIO(record("Active", 1)), into, rng)
    with pytest.raises(ListError, match="no entry would be left"):
        import_list(io.BytesIO(record("Deleted", 2)), into, rng, onto=open_list(into))
    assert listed_hexes(into) == hexes[:1]


def test_ids_and_salts_stay_when_a_list_grows(rng: Any, into: Path, hexes: list[str]) -> None:
    import_list(io.BytesIO(pdq_lines(hexes[:4])), into, rng)
    before = open_list(into)
    summary = import_list(io.BytesIO(pdq_lines(hexes[2:6])), into, rng, onto=before)
    after = open_list(into)
    assert (summary.added, summary.duplicates, summary.entries) == (2, 2, 6)
    assert after.ids.tolist() == [1, 2, 3, 4, 5, 6]
    assert after.salts[:4].tobytes() == before.salts.tobytes()
    assert len({row.tobytes() for row in after.salts}) == 6
    assert after.footer.next_id == 7


def test_the_same_randomness_and_time_make_the_same_file(into: Path, hexes: list[str]) -> None:
    def counting() -> Randomness:
        return Randomness(lambda count: bytes(range(16)) * (count // 16))

    title = Title("same", datetime(2026, 1, 1, tzinfo=UTC))
    made = []
    for name in ("one", "other"):
        path = into.parent / name / into.name
        path.parent.mkdir()
        import_list(io.BytesIO(pdq_lines(hexes)), path, counting(), title=title)
        made.append(path.read_bytes())
    assert made[0] == made[1]


def test_several_sources_are_read_in_order_and_rejects_name_theirs(
    rng: Any, into: Path, hexes: list[str]
) -> None:
    first = into.with_name("first.txt")
    second = into.with_name("second.csv")
    first.write_bytes(pdq_lines(hexes[:2]))
    second.write_text(f"signal_type,signal_str\npdq,{hexes[2]}\npdq,{hexes[1]}\npdq,x\n")
    seen: list[tuple[int, int]] = []
    summary = import_list([first, second], into, rng, progress=lambda *step: seen.append(step))
    assert (summary.entries, summary.duplicates) == (3, 1)
    assert open_list(into).footer.source_formats == ("pdq", "threatexchange")
    assert json.loads(rejects_path(into).read_text())["source"] == "second.csv"
    total = first.stat().st_size + second.stat().st_size
    assert seen == [(first.stat().st_size, total), (total, total)]


@pytest.mark.parametrize("change", ["append", "same-size", "replace", "remove"])
def test_a_source_that_changes_meanwhile_is_refused(
    rng: Any, into: Path, hexes: list[str], change: str
) -> None:
    source = into.with_name("source.txt")
    source.write_bytes(pdq_lines(hexes) * 200)
    status = source.stat()

    def meddle(done: int, total: int) -> None:
        if change == "append":
            source.write_bytes(pdq_lines(hexes) * 201)
        elif change == "same-size":
            source.write_bytes(pdq_lines(hexes[::-1]) * 200)
            os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif change == "replace":
            other = source.with_name("other")
            other.write_bytes(pdq_lines(hexes) * 200)
            os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
            other.replace(source)
        else:
            source.unlink(missing_ok=True)

    with pytest.raises(ListError, match=r"source\.txt changed"):
        import_list(source, into, rng, progress=meddle)
    assert not into.exists()
    assert not rejects_path(into).exists()


def test_a_failed_import_leaves_the_old_list_and_nothing_else(rng: Any, into: Path, hexes: list[str]) -> None:
    import_list(io.BytesIO(pdq_lines(hexes)), into, rng)
    before = into.read_bytes()

    def fail(count: int) -> bytes:
        raise RuntimeError("no randomness")

    with pytest.raises(RuntimeError):
        import_list(io.BytesIO(pdq_lines(hexes)), into, Randomness(fail), replace=True)
    with pytest.raises(FormatError):
        import_list(io.BytesIO(b"<queryResult"), into, rng, replace=True)
    assert into.read_bytes() == before
    left = {f".{into.name}.lock", into.name, "next_id", ".next_id.lock"}
    assert {path.name for path in into.parent.iterdir()} == left


def test_the_files_can_be_read_by_their_owner_alone(rng: Any, into: Path, hexes: list[str]) -> None:
    import_list(io.BytesIO(pdq_lines(hexes) + b"bad"), into, rng)
    assert into.stat().st_mode & 0o077 == 0
    assert rejects_path(into).stat().st_mode & 0o077 == 0


def test_a_missing_file_or_folder_is_a_list_error(rng: Any, into: Path, hexes: list[str]) -> None:
    with pytest.raises(ListError, match="cannot read none"):
        import_list(into.with_name("none"), into, rng)
    with pytest.raises(ListError, match="cannot write"):
        import_list(io.BytesIO(pdq_lines(hexes)), into.parent / "no" / "known.list", rng)


@pytest.mark.parametrize("name", ["", "=cmd", "a\nb", "x" * 65, "é"])
def test_a_name_that_could_mislead_is_refused(name: str) -> None:
    with pytest.raises(ListError, match="a list's name"):
        Title(name)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"pdq 00", ListFormat.PDQ),
        (b"# a comment\n\npdq 00", ListFormat.PDQ),
        (b"# only a comment\n", ListFormat.PDQ),
        (b"signal_type,signal_str,collab,category,tags\n", ListFormat.THREATEXCHANGE),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", ListFormat.NCMEC),
        (b' {"hashRecords": []}', ListFormat.STOPNCII),
        (b"[]", ListFormat.STOPNCII),
    ],
)
def test_the_format_is_told_from_the_beginning(head: bytes, expected: ListFormat) -> None:
    assert sniff(Source(io.BytesIO(head))) is expected


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"f8f8f0cee0f4a84f", "cannot tell its format"),
        ("pdq 00".encode("utf-16"), "UTF-16"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"PK\x03\x04", "zip"),
    ],
)
def test_what_is_no_list_is_refused_with_what_it_is(head: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        sniff(Source(io.BytesIO(head)))
