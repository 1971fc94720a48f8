"""Keys derived from OPRF outputs, and labels sealed under them."""

from __future__ import annotations

import io
from hashlib import sha512

import numpy as np
import pytest
from blindmatch_protocol.codec.errors import ProtocolError, SetFileError
from blindmatch_protocol.contract import EntryBatch, Label
from blindmatch_protocol.group import rowwise
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter
from blindmatch_protocol.sets import labels
from blindmatch_protocol.sets.labels import SealedLabels


def rows(count: int, width: int, seed: int = 1) -> labels.Rows:
    return np.random.default_rng(seed).integers(0, 256, (count, width), dtype=np.uint8)


def entries(count: int) -> EntryBatch:
    return EntryBatch(rows(count, 32, 2), np.arange(count, dtype=np.uint64) + 2**63, rows(count, 16, 3))


def sealed(keys: labels.Rows, batch: EntryBatch, last: int, signatures: labels.Rows) -> labels.Rows:
    """Records of labels from epoch 5 to `last`, signed as no set is today."""
    numbers = batch.ids.astype(">u8").view(np.uint8).reshape(-1, 8)
    span = (5).to_bytes(8, "big") + last.to_bytes(8, "big")
    plain = rowwise.joined(len(batch), batch.hashes, numbers, batch.salts, span, signatures)
    return rowwise.seal(keys, plain)


def test_keys_are_the_documented_hashes() -> None:
    outputs = rows(3, 64)
    epoch = 2**40 + 7
    places = labels.places(outputs, epoch)
    keys = labels.label_keys(outputs, epoch)
    for row, output in enumerate(outputs):
        tags = (
            b"blindmatch/entry/store-key/v2",
            b"blindmatch/entry/mask/v2",
            b"blindmatch/entry/label-key/v2",
        )
        blocks = (tag + bytes(120 - len(tag)) + epoch.to_bytes(8, "big") for tag in tags)
        store, mask, label = (sha512(block + output.tobytes()).digest() for block in blocks)
        assert places.store_keys[row].tobytes() == store[:16]
        assert int(places.masks[row]) == int.from_bytes(mask[:8], "big")
        assert keys[row].tobytes() == label[:32]


@pytest.mark.parametrize("signatures", [0, 1, 3])
def test_a_label_opens_under_its_own_key_only(signatures: int) -> None:
    keys = labels.label_keys(rows(4, 64), 1)
    batch = entries(4)
    extra = rows(4, 64 * signatures, 9)
    records = sealed(keys, batch, 2**64 - 1, extra)
    assert records.shape == (4, labels.record_bytes(signatures))
    unsigned = sealed(keys, batch, 2**64 - 1, np.zeros_like(extra))
    assert np.array_equal(labels.seal(keys, batch, 5, signatures), unsigned)
    for row in range(4):
        opened = labels.unseal(keys[row].tobytes(), records[row].tobytes(), 5)
        known = (batch.hashes[row].tobytes(), int(batch.ids[row]), batch.salts[row].tobytes())
        assert opened == Label(*known, 5, 2**64 - 1, extra[row].tobytes())
        assert labels.unseal(keys[row - 1].tobytes(), records[row].tobytes(), 5) is None


def test_a_label_opens_in_files_of_its_epochs_alone() -> None:
    key = labels.label_keys(rows(1, 64), 1)
    record = sealed(key, entries(1), 7, rows(1, 0))[0].tobytes()
    found = [labels.unseal(key.tobytes(), record, epoch) is not None for epoch in (1, 4, 5, 6, 7, 8)]
    assert found == [False, False, True, True, True, False]


@pytest.mark.parametrize(
    ("first", "last", "signatures", "rule"),
    [
        (8, 7, b"", "must not be before the first"),
        (1, 7, bytes(63), "64 bytes each"),
        (1, 7, bytes(576), "512"),
    ],
)
def test_a_label_that_breaks_a_rule_is_not_decoded(
    first: int, last: int, signatures: bytes, rule: str
) -> None:
    whole = Label(bytes(32), 1, bytes(16), 1, 7).encode()[:-20]
    tail = (
        first.to_bytes(8, "big") + last.to_bytes(8, "big") + len(signatures).to_bytes(4, "big") + signatures
    )
    with pytest.raises(ProtocolError, match=rule):
        Label.decode(whole + tail)


@pytest.mark.parametrize(("signatures", "length"), [(0, 88), (8, 600)])
def test_a_record_has_the_documented_length(signatures: int, length: int) -> None:
    assert labels.record_bytes(signatures) == length


def test_every_flipped_bit_keeps_a_label_closed() -> None:
    keys = labels.label_keys(rows(1, 64), 1)
    record = labels.seal(keys, entries(1), 1)[0]
    for bit in range(8 * len(record)):
        altered = record.copy()
        altered[bit // 8] ^= 1 << bit % 8
        assert labels.unseal(keys[0].tobytes(), altered.tobytes(), 1) is None


def test_truncated_records_stay_closed() -> None:
    keys = labels.label_keys(rows(1, 64), 1)
    record = labels.seal(keys, entries(1), 1)[0].tobytes()
    for length in range(len(record)):
        assert labels.unseal(keys[0].tobytes(), record[:length], 1) is None


def stored(records: labels.Rows) -> SetFile:
    out = io.BytesIO()
    file = SetFileWriter(out, Identity("demo", 1, 1, {}))
    for parts, items in labels.stretches(lambda a, b: records[a:b], len(records)):
        file.section(labels.KIND, parts, items)
    file.finish(len(records))
    return SetFile(out.getvalue(), "set.bin", "demo", 1)


@pytest.mark.parametrize("count", [0, 1, labels.STRETCH, labels.STRETCH + 1])
def test_labels_are_found_by_their_number(count: int) -> None:
    keys = rows(count, 32)
    batch = entries(count)
    held = SealedLabels(stored(labels.seal(keys, batch, 1)), count, 0)
    assert len(held) == count
    for number in {0, count // 2, count - 1} if count else ():
        found = held.unseal(keys[number].tobytes(), number)
        assert found is not None and found.entry_hash == batch.hashes[number].tobytes()
        assert held.unseal(keys[number - 1].tobytes(), number) is None or count == 1


@pytest.mark.parametrize(("count", "signatures"), [(9, 0), (11, 0), (10, 1)])
def test_sections_that_do_not_hold_the_records_they_should_are_refused(count: int, signatures: int) -> None:
    with pytest.raises(SetFileError, match="number of records"):
        SealedLabels(stored(rows(10, 88)), count, signatures)
