// Look-ups by their documents' own examples; damaged shards and filters are refused.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { ProtocolError, unhex } from './bytes.mjs';
import { openFilter } from './filter.mjs';
import { openSetFile } from './setfile.mjs';
import { openShard, shardOf, xxh64 } from './store.mjs';

const file = (name) => Uint8Array.from(readFileSync(new URL(`../vectors/${name}`, import.meta.url)));
const held = JSON.parse(readFileSync(new URL('../vectors/designs/oprf-psi.json', import.meta.url), 'utf8'));
const { content: shard } = openSetFile(unhex(held.set.files['set.bin']), 'oprf-psi', 1, held.set.epoch).section(0x01);

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

test('a filter that is cut or of another length is refused', () => {
  const set = openSetFile(file('oprf-psi-v1-filter-set.bin'), 'oprf-psi', 1, 9);
  const { content } = set.section(0x03);
  assert.ok(openFilter(content, set.entries));
  assert.throws(() => openFilter(content, set.entries + 1), ProtocolError);
  assert.throws(() => openFilter(content.subarray(0, content.length - 1), set.entries), ProtocolError);
});
