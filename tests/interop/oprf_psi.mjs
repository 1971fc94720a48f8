// The device of oprf-psi, written from docs/wire.md and docs/set-format.md alone.
//
//   start(setup, item, tape)        request, session
//   receive(setup, session, reply)  the label, or null
//
// What differs: instead of the store's look-up every label of the set is tried with the label key. That finds
// the same label, and is meant for the small sets of vectors.

import { createDecipheriv, createHash } from 'node:crypto';

import { ristretto255, ristretto255_hasher, ristretto255_oprf } from '@noble/curves/ed25519.js';

import { ascii, concat, equal, hex, number, ProtocolError, Reader } from './bytes.mjs';
import { openSetFile } from './setfile.mjs';

const { Point } = ristretto255;
const ORDER = Point.Fn.ORDER;
const INPUT_TAG = ascii('blindmatch/oprf-psi/pdq/v1');
const CONTEXT = concat(ascii('OPRFV1-'), [1], ascii('-ristretto255-SHA512'));
const REQUEST = 0x20;
const REPLY = 0x21;
const MOST_ROWS = 1024;
const PUBLIC_KEY = 0x100;
const LABELS = 0x02;

export function openSetup(raw, epoch) {
  const file = openSetFile(raw, 'oprf-psi', 1, epoch);
  const { evaluations, signatures } = file.parameters;
  const width = 72 + 64 * Number(signatures);
  const labels = [];
  for (let index = 0; file.section(LABELS, index) !== undefined; index += 1) {
    const { content } = file.section(LABELS, index);
    for (let at = 0; at < content.length; at += width) labels.push(content.subarray(at, at + width));
  }
  return { epoch, evaluations: Number(evaluations), publicKey: file.section(PUBLIC_KEY).content, labels };
}

/** `item` has `hash` and `quality`; `tape` gives 96 bytes for each element. */
export function start(setup, item, tape) {
  const filler = tape(32 * setup.evaluations);
  const uniform = tape(64 * setup.evaluations);
  const own = item.quality >= 50 ? item.hash : null;
  const items = Array.from({ length: setup.evaluations }, (_, at) => {
    const random = filler.subarray(32 * at, 32 * at + 32);
    const input = concat(INPUT_TAG, at === 0 && own !== null ? own : random);
    const blind = littleEndian(uniform.subarray(64 * at, 64 * at + 64)) % ORDER;
    const blinded = hashToGroup(input).multiply(blind).toBytes();
    return { input, blind: Point.Fn.toBytes(blind), blinded };
  });
  const rows = items.map((one) => one.blinded);
  const request = concat([REQUEST], number(setup.epoch, 8), number(rows.length, 4), ...rows);
  return { request, session: { items, own } };
}

/** The opened label of the picture's own hash, or null; throws `ProtocolError` for a bad reply. */
export function receive(setup, session, raw) {
  const { epoch, rows, proof } = decodeReply(raw);
  if (epoch !== BigInt(setup.epoch)) throw new ProtocolError('another epoch');
  if (rows.length !== session.items.length) throw new ProtocolError('another number of rows');
  const items = session.items.map((one, at) => ({ ...one, evaluated: rows[at] }));
  const [output] = verified(() => ristretto255_oprf.voprf.finalizeBatch(items, setup.publicKey, proof));
  if (session.own === null) return null;
  const key = derive('blindmatch/entry/label-key/v1', output).subarray(0, 32);
  const found = setup.labels.map((record) => openLabel(key, record)).find((label) => label !== null);
  return found !== undefined && equal(found.hash, session.own) ? found : null;
}

export function decodeReply(raw) {
  const reader = new Reader(raw);
  reader.tag(REPLY);
  const epoch = reader.uint(8);
  const rows = reader.matrix(32, 1, MOST_ROWS);
  const proof = reader.take(64);
  reader.finish();
  return { epoch, rows, proof };
}

export function decodeRequest(raw) {
  const reader = new Reader(raw);
  reader.tag(REQUEST);
  const epoch = reader.uint(8);
  const rows = reader.matrix(32, 1, MOST_ROWS);
  reader.finish();
  return { epoch, rows };
}

function verified(work) {
  try {
    return work();
  } catch (error) {
    throw new ProtocolError(`refused: ${error.message}`);
  }
}

function hashToGroup(input) {
  return ristretto255_hasher.hashToCurve(input, { DST: concat(ascii('HashToGroup-'), CONTEXT) });
}

function littleEndian(bytes) {
  return BigInt(`0x${hex(Uint8Array.from(bytes).reverse())}`);
}

function derive(tag, output) {
  const block = new Uint8Array(128);
  block.set(ascii(tag));
  return createHash('sha512').update(block).update(output).digest();
}

function openLabel(key, record) {
  const body = record.subarray(0, record.length - 16);
  const cipher = createDecipheriv('chacha20-poly1305', key, new Uint8Array(12), { authTagLength: 16 });
  cipher.setAuthTag(record.subarray(record.length - 16));
  try {
    const plain = Buffer.concat([cipher.update(body), cipher.final()]);
    return { hash: plain.subarray(0, 32), id: plain.readBigUInt64BE(32), salt: plain.subarray(40, 56) };
  } catch {
    return null;
  }
}
