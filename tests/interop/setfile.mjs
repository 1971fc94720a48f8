// A set file, version 2 (docs/reference/set-format.md): header, sections, parameters, table, trailer, all digests checked.

import { createHash } from 'node:crypto';

import { ascii, concat, equal, ProtocolError, Reader, unhex } from './bytes.mjs';

const HEADER = 64;
const TRAILER = 72;
const ALIGNED = 64;
const MOST_PARAMETERS = 64;
const PAGE = 4096;
const [LEAF, NODE] = [Uint8Array.of(0), Uint8Array.of(1)];
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();

/** A file's parameters, sections, number of entries and overall digest; every digest is checked at once. */
export function openSetFile(raw, design, version, epoch) {
  if (raw.length < HEADER + TRAILER) throw new ProtocolError('too short for a set file');
  const trailer = readTrailer(raw);
  const tables = raw.subarray(trailer.parametersAt, raw.length - TRAILER);
  const covered = raw.subarray(raw.length - TRAILER, raw.length - TRAILER + 32);
  const digest = sha256(concat(ascii('blindmatch/set-file/v2'), raw.subarray(0, HEADER), tables, covered));
  if (!equal(digest, trailer.digest)) throw new ProtocolError('altered: overall digest');
  checkHeader(raw, design, version, epoch);
  const reader = new Reader(tables);
  const parameters = readParameters(reader, trailer.parameters);
  const rows = Array.from({ length: trailer.sections }, () => readRow(reader));
  reader.finish();
  checkLayout(raw, rows, trailer.parametersAt);
  const { entries } = trailer;
  rows.forEach((row) => section(raw, rows, row.kind, row.index));
  return {
    digest,
    epoch: BigInt(epoch),
    entries,
    parameters,
    count: (kind) => rows.filter((row) => row.kind === kind).length,
    section: (kind, index = 0) => section(raw, rows, kind, index),
  };
}

function readParameters(reader, count) {
  if (count > MOST_PARAMETERS) throw new ProtocolError('too many parameters');
  const found = Array.from({ length: count }, () => [name(reader.take(32)), reader.uint(8)]);
  if (found.some(([one], at) => at > 0 && one <= found[at - 1][0])) throw new ProtocolError('order of parameters');
  return Object.fromEntries(found);
}

/** Sections follow one another without gaps; what lies between them is zeros. */
function checkLayout(raw, rows, end) {
  const counts = new Map();
  let at = HEADER;
  for (const row of rows) {
    if (row.offset !== at || row.length > end - at) throw new ProtocolError('sections have gaps');
    if (row.index !== (counts.get(row.kind) ?? 0)) throw new ProtocolError('sections of one kind count from 0');
    counts.set(row.kind, row.index + 1);
    at = Math.ceil((row.offset + row.length) / ALIGNED) * ALIGNED;
    if (raw.subarray(row.offset + row.length, at).some((byte) => byte !== 0)) throw new ProtocolError('padding');
  }
  if (at !== end) throw new ProtocolError('the tables begin elsewhere');
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
  if (reader.uint(4) !== 2n || reader.uint(4) !== 0n) throw new ProtocolError('another format');
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
  if (!equal(rootOf(content), row.digest)) throw new ProtocolError('altered: section');
  return { content, items: row.items };
}

/** The root over a section's pages: the tree hash of RFC 9162, section 2.1.1. */
export function rootOf(content) {
  if (content.length === 0) return sha256();
  let level = [];
  for (let at = 0; at < content.length; at += PAGE) level.push(sha256(LEAF, content.subarray(at, at + PAGE)));
  while (level.length > 1) {
    const pairs = level.filter((_, at) => at % 2 === 0);
    level = pairs.map((left, at) => (2 * at + 1 < level.length ? sha256(NODE, left, level[2 * at + 1]) : left));
  }
  return level[0];
}

/** 1 to 32 printable ASCII characters, padded with zeros. */
function name(raw) {
  const text = Buffer.from(raw).toString('latin1').replace(/\0+$/, '');
  if (!/^[\x20-\x7e]+$/.test(text)) throw new ProtocolError('not a name');
  return text;
}
