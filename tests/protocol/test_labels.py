"""Keys derived from OPRF outputs, and labels sealed under them."""

from __future__ import annotations

import io
from hashlib import sha512

import numpy as np
import pytest
from blindmatch_protocol import labels
from blindmatch_protocol.contract import EntryBatch, Label
from blindmatch_protocol.errors import SetFileError
from blindmatch_protocol.labels import SealedLabels
from blindmatch_protocol.setfile import Identity, SetFile, SetFileWriter


def rows(count: int, width: int, seed: int = 1) -> labels.Rows:
    return np.random.default_rng(seed).integers(0, 256, (count, width), dtype=np.uint8)


def entries(count: int) -> EntryBatch:
    return EntryBatch(rows(count, 32, 2), np.arange(count, dtype=np.uint64) + 2**63, rows(count, 16, 3))


def test_keys_are_the_documented_hashes() -> None:
    outputs = rows(3, 64)
    keys = labels.derive(outputs)
    for row, output in enumerate(outputs):
        tags = (
            b"blindmatch/entry/store-key/v1",
            b"blindmatch/entry/mask/v1",
            b"blindmatch/entry/label-key/v1",
        )
        store, mask, label = (sha512(tag + bytes(128 - len(tag)) + output.tobytes()).digest() for tag in tags)
        assert keys.store_keys[row].tobytes() == store[:16]
        assert int(keys.masks[row]) == int.from_bytes(mask[:8], "big")
        assert keys.label_keys[row].tobytes() == label[:32]


def test_keys_do_not_show_in_repr() -> None:
    keys = labels.derive(rows(1, 64))
    assert "label_keys" not in repr(keys)


@pytest.mark.parametrize("signatures", [0, 1, 3])
def test_a_label_opens_under_its_own_key_only(signatures: int) -> None:
    keys, batch, extra = labels.derive(rows(4, 64)), entries(4), rows(4, 64 * signatures, 9)
    records = labels.seal(keys.label_keys, batch, extra)
    assert records.shape == (4, labels.record_bytes(signatures))
    for row in range(4):
        opened = labels.unseal(keys.label_keys[row].tobytes(), records[row].tobytes())
        expected = Label(batch.hashes[row].tobytes(), int(batch.ids[row]), batch.salts[row].tobytes())
        assert opened == (expected, extra[row].tobytes())
        assert labels.unseal(keys.label_keys[row - 1].tobytes(), records[row].tobytes()) is None


def test_a_label_without_signatures_takes_at_most_80_bytes() -> None:
    assert labels.record_bytes(0) <= 80


def test_every_flipped_bit_keeps_a_label_closed() -> None:
    keys = labels.derive(rows(1, 64))
    record = labels.seal(keys.label_keys, entries(1))[0]
    for bit in range(8 * len(record)):
        altered = record.copy()
        altered[bit // 8] ^= 1 << bit % 8
        assert labels.unseal(keys.label_keys[0].tobytes(), altered.tobytes()) is None


def test_truncated_records_stay_closed() -> None:
    keys = labels.derive(rows(1, 64))
    record = labels.seal(keys.label_keys, entries(1))[0].tobytes()
    for length in range(len(record)):
        assert labels.unseal(keys.label_keys[0].tobytes(), record[:length]) is None


def stored(records: labels.Rows) -> SetFile:
    out = io.BytesIO()
    file = SetFileWriter(out, Identity("demo", 1, 1, {}))
    for parts, items in labels.stretches(lambda a, b: records[a:b], len(records)):
        file.section(labels.KIND, parts, items)
    file.finish(len(records))
    return SetFile(out.getvalue(), "set.bin", "demo", 1)


@pytest.mark.parametrize("count", [0, 1, labels.STRETCH, labels.STRETCH + 1])
def test_records_are_found_by_their_number(count: int) -> None:
    records = rows(count, 72)
    held = SealedLabels(stored(records), count, 0)
    assert len(held) == count
    for number in {0, count // 2, count - 1} if count else ():
        assert bytes(held.record(number)) == records[number].tobytes()


@pytest.mark.parametrize(("count", "signatures"), [(9, 0), (11, 0), (10, 1)])
def test_sections_that_do_not_hold_the_records_they_should_are_refused(count: int, signatures: int) -> None:
    with pytest.raises(SetFileError, match="number of records"):
        SealedLabels(stored(rows(10, 72)), count, signatures)
