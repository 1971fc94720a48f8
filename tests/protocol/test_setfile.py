"""Set files: what is written is read, and nothing else is."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from blindmatch_protocol.codec.errors import SetFileError
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter, layout
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

VECTORS = Path(__file__).parent.parent / "vectors"
IDENTITY = Identity("demo-design", 3, 7, {"alpha": 1, "beta": 2**64 - 1})
SECTIONS: list[tuple[int, list[bytes], int]] = [
    (0x100, [b"key"], 1),
    (0x02, [b"one", b"two"], 2),
    (0x02, [b"x" * 64], 3),
    (0x01, [], 0),
]


def written(identity: Identity = IDENTITY, sections: list[tuple[int, list[bytes], int]] = SECTIONS) -> bytes:
    out = io.BytesIO()
    writer = SetFileWriter(out, identity)
    for kind, parts, items in sections:
        writer.section(kind, parts, items)
    writer.finish(42)
    return out.getvalue()


def opened(data: bytes, epoch: int | None = 7) -> SetFile:
    return SetFile(data, "set.bin", "demo-design", 3, epoch)


def sealed_again(data: bytes) -> bytes:
    """`data` with the overall digest that fits it, as a forger would write it."""
    trailer = layout.unpack_trailer(data[-layout.TRAILER.size :], len(data))
    tables = data[trailer.parameters_at : -layout.TRAILER.size]
    header = data[: layout.HEADER.size]
    raw = data[-layout.TRAILER.size :]
    fresh = replace(trailer, digest=layout.overall_digest(header, tables, raw))
    return data[: -layout.TRAILER.size] + layout.pack_trailer(fresh)


def test_what_was_written_is_read() -> None:
    file = opened(written())
    assert file.identity == IDENTITY
    assert file.entries == 42
    assert (bytes(file.section(0x100)), bytes(file.section(2)), bytes(file.section(2, 1))) == (
        b"key", b"onetwo", b"x" * 64
    )  # fmt: skip
    assert bytes(file.section(1)) == b""
    assert file.count(2) == 2 and file.row(2, 1).items == 3
    file.verify()


def test_sections_start_at_multiples_of_64() -> None:
    assert all(section.offset % 64 == 0 for section in opened(written()).sections.values())


def test_writing_is_deterministic_and_the_digest_stands_for_every_byte() -> None:
    changed = [*SECTIONS[:-1], (0x01, [b"!"], 0)]
    assert written() == written()
    assert opened(written()).digest != opened(written(sections=changed)).digest


def test_every_truncation_is_refused() -> None:
    data = written()
    for length in range(len(data)):
        with pytest.raises(SetFileError, match=r"truncated|altered"):
            opened(data[:length]).verify()


def test_every_flipped_bit_is_refused() -> None:
    data = written()
    for at in range(len(data)):
        for bit in (0x01, 0x80):
            altered = bytearray(data)
            altered[at] ^= bit
            with pytest.raises(SetFileError):
                opened(bytes(altered)).verify()


def test_left_over_bytes_are_refused() -> None:
    with pytest.raises(SetFileError, match="truncated or altered"):
        opened(written() + b"\0")


def test_an_altered_section_is_found_at_its_first_use_and_not_before() -> None:
    data = bytearray(written())
    file = opened(bytes(data))
    data[file.row(2, 1).offset] ^= 1
    file = opened(bytes(data))
    assert bytes(file.section(2, 0)) == b"onetwo"
    with pytest.raises(SetFileError, match=r"set\.bin: altered: section 1 of kind 0x2"):
        file.section(2, 1)


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (replace(IDENTITY, design="other"), "for design other, not demo-design"),
        (replace(IDENTITY, design_version=4), "for version 4 of design demo-design, not version 3"),
        (replace(IDENTITY, epoch=8), "for epoch 8, not epoch 7"),
    ],
)
def test_a_file_for_something_else_is_refused_with_the_reason(identity: Identity, reason: str) -> None:
    with pytest.raises(SetFileError, match=reason):
        opened(written(identity))


def test_any_epoch_is_accepted_if_none_is_expected() -> None:
    assert opened(written(replace(IDENTITY, epoch=8)), None).identity.epoch == 8


@pytest.mark.parametrize(("version", "age"), [(3, "later"), (1, "earlier")])
def test_another_format_version_is_refused_with_the_reason(version: int, age: str) -> None:
    data = bytearray(written())
    data[8:12] = version.to_bytes(4, "big")
    with pytest.raises(SetFileError, match=f"set format {version} is {age}"):
        opened(sealed_again(bytes(data)))


@pytest.mark.parametrize("at", [12, 52, 70])
def test_bytes_that_must_be_zero_are_refused_even_under_a_fitting_digest(at: int) -> None:
    data = bytearray(written())
    data[at] = 1
    with pytest.raises(SetFileError, match="not zero"):
        opened(sealed_again(bytes(data)))


def test_tables_that_are_not_canonical_are_refused_even_under_a_fitting_digest() -> None:
    data = written()
    at = layout.unpack_trailer(data[-layout.TRAILER.size :], len(data)).parameters_at
    width = layout.PARAMETER.size
    swapped = data[:at] + data[at + width : at + 2 * width] + data[at : at + width] + data[at + 2 * width :]
    with pytest.raises(SetFileError, match="order of their names"):
        opened(sealed_again(swapped))
    table = at + 2 * width
    gap = data[:table] + data[table + 64 : table + 128] + data[table : table + 64] + data[table + 128 :]
    with pytest.raises(SetFileError, match="gaps or is out of order"):
        opened(sealed_again(gap))


def test_a_missing_section_is_named() -> None:
    with pytest.raises(SetFileError, match="section 2 of kind 0x2 is missing"):
        opened(written()).section(2, 2)


@pytest.mark.parametrize("name", ["", "x" * 33, "naïve", "a\nb"])
def test_names_outside_printable_ascii_are_not_written(name: str) -> None:
    with pytest.raises(SetFileError, match="printable ASCII"):
        written(replace(IDENTITY, design=name))


@pytest.mark.parametrize("parameters", [{"a": -1}, {"a": 2**64}, {f"p{i}": 0 for i in range(65)}])
def test_parameters_out_of_range_are_not_written(parameters: dict[str, int]) -> None:
    with pytest.raises(SetFileError, match="at most 64 parameters of 64 bits"):
        written(replace(IDENTITY, parameters=parameters))


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(SetFileError):
        opened(data)


@given(st.data())
def test_mutations_are_refused_or_leave_the_file_as_it_was(data: st.DataObject) -> None:
    original = written()
    start = data.draw(st.integers(0, len(original)))
    stop = data.draw(st.integers(start, min(len(original), start + 80)))
    mutated = original[:start] + data.draw(st.binary(max_size=80)) + original[stop:]
    if mutated == original:
        return
    with pytest.raises(SetFileError):
        opened(mutated).verify()


def test_the_frozen_example_of_version_2_stays_readable() -> None:
    expected = json.loads((VECTORS / "set-file-v2.json").read_text())
    data = (VECTORS / "set-file-v2.bin").read_bytes()
    file = SetFile(data, "set-file-v2.bin", expected["design"], expected["design_version"], expected["epoch"])
    file.verify()
    assert file.identity.parameters == expected["parameters"]
    assert file.digest.hex() == expected["digest"]
    assert file.entries == expected["entries"]
    contents = [
        [s.kind, s.index, s.items, bytes(file.section(s.kind, s.index)).hex()] for s in file.sections.values()
    ]
    assert contents == expected["sections"]


def test_the_writer_still_makes_the_frozen_example() -> None:
    assert written() == (VECTORS / "set-file-v2.bin").read_bytes()


def test_the_frozen_example_of_version_1_is_refused_with_the_reason() -> None:
    with pytest.raises(SetFileError, match=r"set\.bin: set format 1 is earlier than the one .* reads, 2"):
        opened((VECTORS / "set-file-v1.bin").read_bytes())
