// The device of oprf-psi, written from docs/reference/wire.md and docs/reference/set-format.md alone.
//
//   start(setup, item, tape)        request, session
//   receive(setup, session, reply)  the label, or null

import { ristretto255, ristretto255_hasher, ristretto255_oprf } from '@noble/curves/ed25519.js';

import { ascii, concat, equal, hex, number, ProtocolError, Reader } from './bytes.mjs';
import { openLayers } from './layers.mjs';

const { Point } = ristretto255;
const ORDER = Point.Fn.ORDER;
const INPUT_TAG = ascii('blindmatch/oprf-psi/pdq/v1');
const CONTEXT = concat(ascii('OPRFV1-'), [1], ascii('-ristretto255-SHA512'));
const REQUEST = 0x20;
const REPLY = 0x21;
const MOST_ROWS = 1024;

/** `files`: the set-up files by name. */
export function openSetup(files, epoch) {
  return { epoch, ...openLayers(files, epoch) };
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
  const found = setup.find(output);
  // a filter has no labels: its match is membership alone
  return found !== null && (found.hash === null || equal(found.hash, session.own)) ? found : null;
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
