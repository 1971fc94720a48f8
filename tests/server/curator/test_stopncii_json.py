"""StopNCII JSON in its three shapes."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from blindmatch_server.curator import FormatError, ListFormat, import_list, open_list

GOOD = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"


def record(value: str = GOOD, **changes: Any) -> dict[str, Any]:
    made = {
        "lastModtimestamp": 1625167804,
        "hashValue": value,
        "hashStatus": "Active",
        "caseNumbers": {"27664732-76e1": "Active"},
        "signalType": "ImagePDQ",
        "CSPFeedbacks": [{"source": 'A "quoted" } brace {', "feedbackValue": "Blocked", "tags": ["a\\"]}],
    }
    return {key: value for key, value in (made | changes).items() if value is not ...}


def envelope(records: list[Any], indent: int | None = None) -> bytes:
    head = {"count": len(records), "nextPageToken": 'W3s[{\\"hashRecords', "hasMoreRecords": False}
    return json.dumps({**head, "hashRecords": records, "nextSetTimestamp": 1}, indent=indent).encode()


def array(records: list[Any]) -> bytes:
    return json.dumps(records).encode()


def lines(records: list[Any]) -> bytes:
    return "\n".join(json.dumps(one) for one in records).encode()


SHAPES = [envelope, lambda records: envelope(records, 2), array, lines]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_gives_the_same_records(read: Any, hexes: list[str], shape: Any) -> None:
    for data in (
        shape([record(one) for one in hexes]),
        b"\xef\xbb\xbf \n" + shape([record(one) for one in hexes]),
    ):
        found = read(ListFormat.STOPNCII, data)
        assert (found.hexes, found.count, found.rejects) == (hexes, 64, [])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (record(signalType="VideoMD5"), "other-signal-type"),
        (record(hashStatus="Unknown"), "unknown-status"),
        (record(hashValue=...), "not-a-record"),
        (record(hashStatus=...), "not-a-record"),
        (record(hashValue=7), "not-a-record"),
        (record(lastModtimestamp="x"), "not-a-record"),
        (record(lastModtimestamp=-1), "bad-timestamp"),
        (record(lastModtimestamp=1 << 60), "bad-timestamp"),
        (record(lastModtimestamp=1 << 90), "bad-timestamp"),
        (record(GOOD.upper()), "hash-upper-case"),
        (record(""), "hash-missing"),
        (record("é" * 32), "hash-not-hex"),
        ({}, "not-a-record"),
    ],
)
def test_a_bad_record_is_rejected_at_its_place(read: Any, shape: Any, bad: Any, reason: str) -> None:
    data = shape([record(), bad, record()])
    found = read(ListFormat.STOPNCII, data)
    assert (found.hexes, found.reasons) == ([GOOD] * 2, [reason])
    number, line, offset = found.places[0]
    assert (number, line, data[offset : offset + 1]) == (2, data[:offset].count(b"\n") + 1, b"{")
    assert data[:offset].count(b"ImagePDQ") == 1


def test_many_records_are_read_over_chunk_borders(read: Any) -> None:
    for shape in SHAPES:
        found = read(ListFormat.STOPNCII, shape([record() for _ in range(9000)]))
        assert (found.count, len(found.hexes)) == (9000, 9000)
        assert len(found.blocks) > 1


def test_deeply_nested_records_are_cut_out_whole(read: Any) -> None:
    deep: Any = {"a": 1}
    for _ in range(50):
        deep = {"b": [deep], "c": "}"}
    assert read(ListFormat.STOPNCII, array([record(more=deep), record()])).hexes == [GOOD] * 2


def test_nesting_beyond_reason_is_rejected(read: Any) -> None:
    bomb = json.dumps(record(more="@")).replace('"@"', "[" * 100_000 + "]" * 100_000)
    data = f"[{bomb},{json.dumps(record())}]".encode()
    found = read(ListFormat.STOPNCII, data)
    assert (found.hexes, found.reasons) == ([GOOD], ["not-a-record"])


@pytest.mark.parametrize("status", ["Withdrawn", "Deleted"])
def test_a_withdrawn_record_removes_its_hash(rng: Any, into: Any, hexes: list[str], status: str) -> None:
    import_list(io.BytesIO(array([record(one) for one in hexes[:4]])), into, rng)
    later = [record(hexes[1], hashStatus=status, lastModtimestamp=1625167805)]
    summary = import_list(io.BytesIO(array(later)), into, rng, onto=open_list(into))
    assert (summary.removed, summary.removals) == (1, 1)
    assert open_list(into).ids.tolist() == [1, 3, 4]


def test_of_two_records_of_one_hash_the_later_counts(rng: Any, into: Any, hexes: list[str]) -> None:
    data = [
        record(hexes[0]),
        record(hexes[1], hashStatus="Withdrawn", lastModtimestamp=5),
        record(hexes[1], lastModtimestamp=6),
        record(hexes[2], lastModtimestamp=6),
        record(hexes[2], hashStatus="Withdrawn", lastModtimestamp=5),
        record(hexes[3], lastModtimestamp=5),
        record(hexes[3], hashStatus="Withdrawn", lastModtimestamp=6),
    ]
    import_list(io.BytesIO(array(data)), into, rng)
    assert [row.tobytes().hex() for row in open_list(into).hashes] == hexes[:3]


@pytest.mark.parametrize("shape", [envelope, array])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_truncated_json_is_refused_with_its_place(read: Any, shape: Any, share: float) -> None:
    data = shape([record() for _ in range(10)])
    with pytest.raises(FormatError, match=r"line 1, byte \d+: .*"):
        read(ListFormat.STOPNCII, data[: int(len(data) * share)])


def test_a_truncated_last_line_is_rejected_alone(read: Any) -> None:
    found = read(ListFormat.STOPNCII, lines([record(), record()])[:-9])
    assert (found.hexes, found.reasons) == ([GOOD], ["not-a-record"])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[1, 2]", "an object expected"),
        (b"[{} {}]", "a comma or the end"),
        (b"[{},]", "an object expected"),
        (b"[{}] x", "what stands around"),
        (b'{"hashRecords": [{}], "count": }', "what stands around"),
        (b"[" + b'{"a":"' + b"x" * 2_000_000 + b'"}]', "longer than 1 MiB"),
        (b"[]" + b" " * 900_000, "64 KiB follow"),
    ],
)
def test_broken_structure_is_refused(read: Any, data: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        read(ListFormat.STOPNCII, data)


def test_invalid_utf8_is_rejected_in_its_record_alone(read: Any) -> None:
    data = array([record(), record("zz"), record()]).replace(b"zz", b"\xff\xfe")
    found = read(ListFormat.STOPNCII, data)
    assert (found.hexes, found.reasons) == ([GOOD] * 2, ["not-utf-8"])


def test_a_huge_line_is_rejected(read: Any) -> None:
    found = read(ListFormat.STOPNCII, lines([record(), record("x" * 700_000), record()]))
    assert (found.hexes, found.reasons) == ([GOOD] * 2, ["line-too-long"])
