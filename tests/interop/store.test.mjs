// Look-ups by their documents' own examples; damaged shards and filters are refused.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { ProtocolError, unhex } from './bytes.mjs';
import { openFilter } from './filter.mjs';
import { openSetFile, rootOf } from './setfile.mjs';
import { openShard, openStore, shardOf, xxh64 } from './store.mjs';

const file = (name) => Uint8Array.from(readFileSync(new URL(`../vectors/${name}`, import.meta.url)));
const held = JSON.parse(readFileSync(new URL('../vectors/designs/oprf-psi.json', import.meta.url), 'utf8'));
const { content: shard, items } = openSetFile(unhex(held.set.files['set.bin']), 'oprf-psi', 2, held.set.epoch).section(0x01);

test('XXH64 of nothing', () => assert.equal(xxh64(new Uint8Array(0)), 0xef46db3751d8e999n));

test('the first bits of a key name its shard', () => {
  const key = unhex('a5c00000000000000000000000000000');
  assert.deepEqual([0, 1, 4, 12].map((bits) => shardOf(key, bits)), [0, 1, 0xa, 0xa5c]);
});

test('a shard with any byte altered, or cut, is refused', () => {
  assert.equal(openShard(shard).bits, 0);
  for (let at = 0; at < shard.length; at += 1) {
    const altered = Uint8Array.from(shard);
    altered[at] ^= 0x80;
    assert.throws(() => openShard(altered), ProtocolError, `byte ${at}`);
  }
  for (const length of [0, 63, 64, 100, shard.length - 1]) {
    assert.throws(() => openShard(shard.subarray(0, length)), ProtocolError);
  }
});

/** The shard as one of a store of 2^bits shards, or without keys. */
function shardOfStore(bits, empty = false) {
  const made = Uint8Array.from(empty ? shard.subarray(0, 64) : shard);
  made[15] = bits;
  if (empty) made.fill(0, 16, 24);
  return { content: made, items: empty ? 0 : items };
}

test('a key is looked up in the shard that its first bits name, and in no other', () => {
  const asked = [];
  const store = openStore(4, 1, (at) => {
    asked.push(at);
    return shardOfStore(2, at === 1);
  });
  const key = (first) => unhex(`${first}1122334455667788990011223344aa`);
  const expected = openShard(shard).lookup(key('80'));
  assert.deepEqual(store.lookup(key('80')), expected);
  assert.deepEqual(store.lookup(key('40')), [0n]);
  assert.deepEqual(store.lookup(key('7f')), [0n]);
  store.lookup(key('bf'));
  assert.deepEqual(asked, [2, 1]);
});

test('a store is refused whose shards are not as many as they say', () => {
  for (const count of [0, 3, 5, 8192]) assert.throws(() => openStore(count, 1, () => shardOfStore(0)), ProtocolError);
  for (const [count, bits] of [[1, 1], [2, 0], [4, 1]]) {
    const store = openStore(count, 1, () => shardOfStore(bits));
    assert.throws(() => store.lookup(new Uint8Array(16)), ProtocolError, `${count} shards of ${bits} bits`);
  }
  const wrong = openStore(1, 1, () => ({ content: shard, items: items + 1 }));
  assert.throws(() => wrong.lookup(new Uint8Array(16)), ProtocolError);
  const wider = openStore(1, 2, () => ({ content: shard, items }));
  assert.throws(() => wider.lookup(new Uint8Array(16)), ProtocolError);
});

test('a filter that is cut or of another length is refused', () => {
  const set = openSetFile(file('oprf-psi-v2-filter-set.bin'), 'oprf-psi', 2, 9);
  const { content } = set.section(0x03);
  assert.ok(openFilter(content, set.entries));
  assert.throws(() => openFilter(content, set.entries + 1), ProtocolError);
  assert.throws(() => openFilter(content.subarray(0, content.length - 1), set.entries), ProtocolError);
});

test('a set of version 1 is refused', () => {
  for (const kind of ['labelled', 'filter']) {
    const raw = file(`oprf-psi-v1-${kind}-set.bin`);
    assert.throws(() => openSetFile(raw, 'oprf-psi', 2, 9), ProtocolError);
  }
});

test('the root over pages is that of RFC 9162 whatever the number of pages', () => {
  const { digests } = JSON.parse(file('set-file-pages.json').reduce((text, byte) => text + String.fromCharCode(byte), ''));
  for (const { length, root } of digests) {
    const content = Uint8Array.from({ length }, (_, at) => (at * at) % 251);
    assert.equal(Buffer.from(rootOf(content)).toString('hex'), root, `${length} bytes`);
  }
});
