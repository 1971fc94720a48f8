// A set file, version 1 (docs/set-format.md): header, sections, parameters, table, trailer, all digests checked.

import { createHash } from 'node:crypto';

import { ascii, concat, equal, ProtocolError, Reader, unhex } from './bytes.mjs';

const HEADER = 64;
const TRAILER = 72;
const sha256 = (bytes) => createHash('sha256').update(bytes).digest();

export function openSetFile(raw, design, version, epoch) {
  if (raw.length < HEADER + TRAILER) throw new ProtocolError('too short for a set file');
  const trailer = readTrailer(raw);
  const tables = raw.subarray(trailer.parametersAt, raw.length - TRAILER);
  const covered = raw.subarray(raw.length - TRAILER, raw.length - TRAILER + 32);
  const digest = sha256(concat(ascii('blindmatch/set-file/v1'), raw.subarray(0, HEADER), tables, covered));
  if (!equal(digest, trailer.digest)) throw new ProtocolError('altered: overall digest');
  checkHeader(raw, design, version, epoch);
  const reader = new Reader(tables);
  const parameters = Object.fromEntries(
    Array.from({ length: trailer.parameters }, () => [name(reader.take(32)), reader.uint(8)]),
  );
  const rows = Array.from({ length: trailer.sections }, () => readRow(reader));
  reader.finish();
  return { entries: trailer.entries, parameters, section: (kind, index = 0) => section(raw, rows, kind, index) };
}

function readTrailer(raw) {
  const reader = new Reader(raw.subarray(raw.length - TRAILER));
  const [parametersAt, length, entries] = [reader.uint(8), reader.uint(8), reader.uint(8)].map(Number);
  const [sections, parameters] = [reader.uint(4), reader.uint(4)].map(Number);
  const digest = reader.take(32);
  if (!equal(reader.take(8), ascii('BMSETEND'))) throw new ProtocolError('no end mark');
  if (length !== raw.length) throw new ProtocolError('another length');
  return { parametersAt, entries, sections, parameters, digest };
}

function checkHeader(raw, design, version, epoch) {
  const reader = new Reader(raw.subarray(0, HEADER));
  if (!equal(reader.take(8), unhex('89424d5345540d0a'))) throw new ProtocolError('not a set file');
  if (reader.uint(4) !== 1n || reader.uint(4) !== 0n) throw new ProtocolError('another format');
  if (name(reader.take(32)) !== design) throw new ProtocolError('of another design');
  if (reader.uint(4) !== BigInt(version) || reader.uint(4) !== 0n) throw new ProtocolError('another version');
  if (reader.uint(8) !== BigInt(epoch)) throw new ProtocolError('of another epoch');
}

function readRow(reader) {
  const [kind, index] = [reader.uint(4), reader.uint(4)].map(Number);
  const [offset, length, items] = [reader.uint(8), reader.uint(8), reader.uint(8)].map(Number);
  return { kind, index, offset, length, items, digest: reader.take(32) };
}

function section(raw, rows, kind, index) {
  const row = rows.find((one) => one.kind === kind && one.index === index);
  if (row === undefined) return undefined;
  const content = raw.subarray(row.offset, row.offset + row.length);
  if (!equal(sha256(content), row.digest)) throw new ProtocolError('altered: section');
  return { content, items: row.items };
}

const name = (raw) => Buffer.from(raw).toString('latin1').replace(/\0+$/, '');
