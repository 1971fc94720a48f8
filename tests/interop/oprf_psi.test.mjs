// The second implementation does what tests/vectors/designs/oprf-psi.json says: `npm ci && npm test`.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { concat, hex, ProtocolError, unhex } from './bytes.mjs';
import { decodeReply, decodeRequest, openSetup, receive, start } from './oprf_psi.mjs';

const vector = JSON.parse(readFileSync(new URL('../vectors/designs/oprf-psi.json', import.meta.url), 'utf8'));
const files = Object.fromEntries(vector.set.setup.map((name) => [name, unhex(vector.set.files[name])]));
const setFile = files['set.bin'];
const setup = openSetup(files, vector.set.epoch);
const items = Object.fromEntries(
  vector.items.map((one) => [one.name, { hash: unhex(one.hash), quality: one.quality }]),
);
const DECODERS = { 'oprf-psi/request': decodeRequest, 'oprf-psi/reply': decodeReply };

function tapeOf(text) {
  const recorded = unhex(text);
  let at = 0;
  return (count) => recorded.subarray(at, (at += count));
}

function started(held) {
  return start(setup, items[held.item], tapeOf(held.tape));
}

for (const held of vector.sessions) {
  test(`session of the picture ${held.item}`, () => {
    const { request, session } = started(held);
    const [[asked]] = held.rounds;
    assert.equal(hex(request), asked.body);
    const label = receive(setup, session, unhex(asked.reply));
    assert.equal(label === null ? 'NoMatch' : 'Match', held.outcome.outcome);
    if (label !== null) {
      assert.equal(hex(label.hash), held.outcome.label.entry_hash);
      assert.equal(String(label.id), held.outcome.label.entry_id);
      assert.equal(hex(label.salt), held.outcome.label.salt);
    }
  });
}

test('every malformed encoding is refused', () => {
  for (const message of vector.messages.filter((one) => one.name in DECODERS)) {
    const decode = DECODERS[message.name];
    for (const one of message.accepted) {
      assert.equal(String(decode(unhex(one.encoding)).epoch), one.fields.epoch);
    }
    for (const one of message.refused) assert.throws(() => decode(unhex(one.encoding)), ProtocolError);
  }
});

for (const held of vector.refused_replies) {
  test(`a reply is refused: ${held.how}`, () => {
    const { session } = started(vector.sessions[held.session]);
    assert.throws(() => receive(setup, session, unhex(held.reply)), ProtocolError);
  });
}

function changed(raw, { length, append, at, byte, missing }) {
  if (missing) return undefined;
  if (length !== undefined) return raw.subarray(0, length);
  if (append !== undefined) return concat(raw, unhex(append));
  const altered = Uint8Array.from(raw);
  if (at !== undefined) altered[at] = parseInt(byte, 16);
  return altered;
}

for (const held of vector.refused_files.filter((one) => one.step === 'open_setup')) {
  test(`a set is refused: ${held.file} ${held.how}`, () => {
    const given = { ...files, [held.file]: changed(files[held.file], held.change) };
    assert.throws(() => openSetup(given, held.epoch), ProtocolError);
  });
}

test('an altered or truncated set is refused, and one of another epoch', () => {
  for (const at of [0, 60, 200, setFile.length - 80, setFile.length - 1]) {
    const altered = Uint8Array.from(setFile);
    altered[at] ^= 1;
    assert.throws(() => openSetup({ 'set.bin': altered }, vector.set.epoch), ProtocolError);
  }
  const cut = { 'set.bin': setFile.subarray(0, setFile.length - 1) };
  assert.throws(() => openSetup(cut, vector.set.epoch), ProtocolError);
  assert.throws(() => openSetup(files, vector.set.epoch + 1), ProtocolError);
});
