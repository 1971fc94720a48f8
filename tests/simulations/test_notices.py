"""All of the centre's notices have one size, whatever was decided and why."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from blindmatch_protocol.account_name import NOTICE_BYTES
from blindmatch_server.centre import notices, store
from blindmatch_server.centre.decisions import MOST_WORDS
from blindmatch_server.centre.store import SCHEMA
from blindmatch_simulations.testbed.deployment.statistics import padded
from support.conversation import conversation, send


def rows() -> list[store.Row]:
    """Reports by a device and by the service with the longest name, of a match and of a flag."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        by = (("alice", None), ("alice", 0.5), ("server/" + "p" * 31, None))
        for number, (submitter, score) in enumerate(by):
            name = bytes([number] * 16)
            connection.execute(
                "INSERT INTO reports (report_id, digest, blob_id, submitter, received_at_ms, state, score)"
                " VALUES (?, ?, ?, ?, 1, 'received', ?)",
                (name, name, name, submitter, score),
            )
        return store.reports(connection)


TEXTS = [
    notices.text_of(notices.Notice(bytes(16), bytes(16), "alice", kind, words, 0), row)
    for row in rows()
    for kind in notices.NoticeKind
    for words in ("", "x", "because", "\U0001f5bc" * MOST_WORDS)
]


def test_every_notice_s_text_fits_its_one_size() -> None:
    assert len({len(text.encode()) for text in TEXTS}) > 10
    assert {len(padded(text).encode()) for text in TEXTS} == {NOTICE_BYTES}
    assert all(padded(text).rstrip(" ") == text for text in TEXTS)


def test_every_notice_leaves_at_one_size() -> None:
    centre, alice = conversation()
    assert len({len(send(centre, alice, padded(text))) for text in TEXTS}) == 1
    assert len({len(send(centre, alice, text)) for text in TEXTS}) > 1, "as they were"
