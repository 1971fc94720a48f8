// The key-value store of a set (docs/reference/set-format.md, kind 0x01): 16-byte keys to masked values of 64-bit words.
//
// A key that is not there reads something, too: nothing here says whether a key is in the store.

import { ascii, equal, ProtocolError, Reader } from './bytes.mjs';

const HEADER = 64;
const MAP_HEADER = 32;
const CHECKSUM = 8;
const MOST_BITS = 12;
const MOST_WORDS = 2;
const MASK = (1n << 64n) - 1n;

/**
 * A store of `count` shards, whose values have so many words; `sectionOf(at)` gives the section of each, which is
 * opened when a key is first in it.
 */
export function openStore(count, words, sectionOf) {
  const bits = Math.log2(count);
  if (!Number.isInteger(bits) || bits > MOST_BITS) throw new ProtocolError(`${count} shards are not a power of two`);
  const shards = new Map();
  const shard = (at) => {
    if (!shards.has(at)) shards.set(at, checkedShard(sectionOf(at), bits, words));
    return shards.get(at);
  };
  return { lookup: (key) => shard(shardOf(key, bits)).lookup(key) };
}

function checkedShard({ content, items }, bits, words) {
  const shard = openShard(content);
  if (shard.words !== words) throw new ProtocolError('a shard of values of another length');
  if (shard.bits !== bits) throw new ProtocolError('a shard of a store with another number of shards');
  if (shard.keys !== BigInt(items)) throw new ProtocolError('another number of keys than the table says');
  return shard;
}

/** One shard, from the bytes of its section. */
export function openShard(raw) {
  const reader = new Reader(raw);
  if (!equal(reader.take(8), ascii('BMSTORE\n'))) throw new ProtocolError('not a shard');
  if (reader.uint(4) !== 2n) throw new ProtocolError('a shard of another version');
  const bits = Number(reader.uint(4));
  const keys = reader.uint(8);
  const words = Number(reader.uint(4));
  const sound = bits <= MOST_BITS && words >= 1 && words <= MOST_WORDS;
  if (!sound || reader.take(36).some((byte) => byte !== 0)) throw new ProtocolError('a damaged shard');
  const maps = raw.subarray(HEADER);
  if (keys === 0n) {
    if (maps.length !== 0) throw new ProtocolError('an empty shard with a map');
    return { bits, keys, words, lookup: () => Array(words).fill(0n) };
  }
  const each = maps.length / words;
  if (!Number.isInteger(each)) throw new ProtocolError('a map for each word');
  const opened = Array.from({ length: words }, (_, at) => openMap(maps.subarray(each * at, each * (at + 1)), keys));
  return { bits, keys, words, lookup: (key) => opened.map((map) => map(key)) };
}

/** The shard that a key is in: its first `bits` bits. */
export const shardOf = (key, bits) => Buffer.from(key).readUInt16BE(0) >>> (16 - bits);

/** A binary fuse map `CMAP0003`: the function from a key to the exclusive or of three cells. */
function openMap(raw, keys) {
  if (raw.length < MAP_HEADER + CHECKSUM) throw new ProtocolError('a truncated map');
  const view = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const seed = view.readBigUInt64LE(8);
  const [length, count, cells, held] = [16, 20, 24, 28].map((at) => view.readUInt32LE(at));
  const sound =
    view.toString('latin1', 0, 8) === 'CMAP0003' &&
    BigInt(held) === keys &&
    length > 0 &&
    (length & (length - 1)) === 0 &&
    count > 0 &&
    cells === (count + 2) * length &&
    raw.length === MAP_HEADER + 8 * cells + CHECKSUM &&
    view.readBigUInt64LE(raw.length - CHECKSUM) === fnv1a(raw.subarray(0, raw.length - CHECKSUM));
  if (!sound) throw new ProtocolError('a damaged map');
  const cell = (at) => view.readBigUInt64LE(MAP_HEADER + 8 * Number(at));
  const [step, reach] = [BigInt(length), BigInt(count) * BigInt(length)];
  return (key) => {
    const hash = mixed((xxh64(key) + seed) & MASK);
    const first = (hash * reach) >> 64n;
    const second = (first + step) ^ ((hash >> 18n) % step);
    const third = (first + 2n * step) ^ (hash % step);
    return cell(first) ^ cell(second) ^ cell(third);
  };
}

/** The finaliser of MurmurHash3, 64 bits. */
function mixed(value) {
  let hash = value;
  for (const factor of [0xff51afd7ed558ccdn, 0xc4ceb9fe1a85ec53n]) {
    hash = ((hash ^ (hash >> 33n)) * factor) & MASK;
  }
  return hash ^ (hash >> 33n);
}

function fnv1a(bytes) {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & MASK;
  return hash;
}

const PRIMES = [
  0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n, 0x85ebca77c2b2ae63n, 0x27d4eb2f165667c5n,
];
const rotated = (value, by) => ((value << by) | (value >> (64n - by))) & MASK;

/** XXH64 with seed 0 of a whole number of 8-byte words, fewer than four: all that the store needs. */
export function xxh64(bytes) {
  const [one, two, three, four, five] = PRIMES;
  const words = Buffer.from(bytes);
  let hash = (five + BigInt(words.length)) & MASK;
  for (let at = 0; at < words.length; at += 8) {
    const lane = (words.readBigUInt64LE(at) * two) & MASK;
    hash ^= (rotated(lane, 31n) * one) & MASK;
    hash = (rotated(hash, 27n) * one + four) & MASK;
  }
  hash = ((hash ^ (hash >> 33n)) * two) & MASK;
  hash = ((hash ^ (hash >> 29n)) * three) & MASK;
  return hash ^ (hash >> 32n);
}
