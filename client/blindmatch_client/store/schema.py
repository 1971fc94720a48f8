"""The tables of a device's store, version 13. Columns called sealed in comments hold what vault.py makes."""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 13

SCHEMA: Final = """
CREATE TABLE lock (
  kind TEXT NOT NULL,
  salt BLOB NOT NULL,
  operations INTEGER NOT NULL,
  memory INTEGER NOT NULL,
  wrapped BLOB NOT NULL
) STRICT;
CREATE TABLE meta (
  name TEXT PRIMARY KEY,
  value BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE device_state (
  design TEXT NOT NULL,
  version INTEGER NOT NULL,
  epoch INTEGER NOT NULL,
  state BLOB NOT NULL, -- sealed
  PRIMARY KEY (design, version, epoch)
) STRICT;
CREATE TABLE attached ( -- a row goes with the last message that needs it; its number is not used again
  item INTEGER PRIMARY KEY AUTOINCREMENT,
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE outgoing (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  message_id BLOB NOT NULL UNIQUE,
  queued_at_ms INTEGER NOT NULL,
  stage TEXT NOT NULL,
  item INTEGER REFERENCES attached (item),
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE INDEX outgoing_by_item ON outgoing (item) WHERE item IS NOT NULL;
CREATE TABLE voucher ( -- those that wait; reports and complaints are values of meta, of one length
  name BLOB PRIMARY KEY,
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE handed_over ( -- messages that are sent again if their recipient cannot open them
  number INTEGER PRIMARY KEY,
  message_id BLOB NOT NULL UNIQUE,
  queued_at_ms INTEGER NOT NULL,
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE TABLE incoming (
  sequence INTEGER PRIMARY KEY,
  accepted_at_ms INTEGER NOT NULL,
  acknowledged INTEGER NOT NULL DEFAULT 0,
  shown INTEGER NOT NULL DEFAULT 0,
  content_id BLOB,
  asked INTEGER, -- 0: to be asked for again
  body BLOB NOT NULL -- sealed
) STRICT;
CREATE INDEX incoming_unacknowledged ON incoming (sequence) WHERE acknowledged = 0;
CREATE INDEX incoming_by_content ON incoming (content_id) WHERE content_id IS NOT NULL;
CREATE INDEX incoming_unasked ON incoming (sequence) WHERE asked = 0;
CREATE INDEX incoming_unshown ON incoming (sequence) WHERE shown = 0;
CREATE TABLE attachment (
  sequence INTEGER NOT NULL REFERENCES incoming (sequence),
  position INTEGER NOT NULL,
  file TEXT,
  problem BLOB, -- sealed
  PRIMARY KEY (sequence, position)
) STRICT;
CREATE INDEX attachment_missing ON attachment (sequence) WHERE file IS NULL AND problem IS NULL;
CREATE TABLE peer ( -- what the messenger knows of each peer
  number INTEGER PRIMARY KEY,
  state BLOB NOT NULL -- sealed
) STRICT;
-- epochs that were adopted, and what was refused (evidence.py)
CREATE TABLE adopted (
  design TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  manifest BLOB NOT NULL, -- sealed
  fault BLOB, -- sealed
  examined INTEGER NOT NULL,
  PRIMARY KEY (design, epoch)
) STRICT;
CREATE TABLE evidence (
  name BLOB PRIMARY KEY,
  design TEXT NOT NULL,
  kind TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  found_at_ms INTEGER NOT NULL,
  words BLOB NOT NULL, -- sealed
  shown_manifest BLOB NOT NULL, -- sealed
  held_manifest BLOB NOT NULL -- sealed
) STRICT;
"""
