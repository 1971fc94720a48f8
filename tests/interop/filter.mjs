// A filter (docs/reference/set-format.md, kind 0x03): membership of keys, wrong for one absent key in 2^40.

import { ascii, equal, ProtocolError, Reader } from './bytes.mjs';

const BLOCK = 512;
const PRINT = 5;

export function openFilter(raw, entries) {
  const reader = new Reader(raw);
  if (!equal(reader.take(8), ascii('BMFILTR\n')) || reader.uint(4) !== 1n || reader.uint(4) !== 0n) {
    throw new ProtocolError('not a filter');
  }
  const count = Number(reader.uint(8));
  if (count !== entries || reader.take(40).some((byte) => byte !== 0)) throw new ProtocolError('a damaged filter');
  const starts = Buffer.from(reader.take(8 * (Math.floor(count / BLOCK) + 1)));
  const unary = reader.take(Math.ceil((2 * count) / 8));
  const prints = reader.take(PRINT * count);
  reader.finish();
  const bit = (at) => (at < 8 * unary.length ? (unary[at >> 3] >> (7 - (at & 7))) & 1 : 0);
  return { contains: (key) => count > 0 && contains({ count, starts, bit, prints }, Buffer.from(key)) };
}

function contains({ count, starts, bit, prints }, key) {
  const bucket = Number((BigInt(key.readUInt32BE(0)) * BigInt(count)) >> 32n);
  const block = Math.floor(bucket / BLOCK);
  let entry = Number(starts.readBigUInt64LE(8 * block));
  let at = entry + block * BLOCK;
  for (let zeros = bucket % BLOCK; zeros > 0; at += 1) {
    if (at > 2 * count) throw new ProtocolError('a damaged filter');
    if (bit(at)) entry += 1;
    else zeros -= 1;
  }
  const wanted = key.subarray(4, 4 + PRINT);
  for (; bit(at); at += 1, entry += 1) {
    if (equal(prints.subarray(PRINT * entry, PRINT * entry + PRINT), wanted)) return true;
  }
  return false;
}
