// The JavaScript device as a counterpart of the vectors' runner (tests/vectors/package/README.md):
//
//   python -m blindmatch_vectors check oprf-psi --with 'node tests/interop/counterpart.mjs'
//
// It is a device of oprf-psi: of the server's steps and of other messages it says that it lacks them.

import { createInterface } from 'node:readline';

import { hex, ProtocolError, unhex } from './bytes.mjs';
import { decodeReply, decodeRequest, openSetup, receive, start } from './oprf_psi.mjs';

const DECODERS = {
  'oprf-psi/request': (raw) => {
    const { epoch, rows } = decodeRequest(raw);
    return { epoch: String(epoch), blinded: rows.map(hex) };
  },
  'oprf-psi/reply': (raw) => {
    const { epoch, rows, proof } = decodeReply(raw);
    return { epoch: String(epoch), evaluated: rows.map(hex), proof: hex(proof) };
  },
};

function filesOf(asked) {
  return Object.fromEntries(Object.entries(asked.files).map(([name, raw]) => [name, unhex(raw)]));
}

function decode(asked) {
  const decoder = DECODERS[asked.message];
  return decoder === undefined ? { lacks: asked.message } : { gives: { fields: decoder(unhex(asked.encoding)) } };
}

function open(asked) {
  if (asked.role !== null) return { lacks: 'a server' };
  openSetup(filesOf(asked), asked.epoch);
  return { gives: {} };
}

function session(asked) {
  const setup = openSetup(filesOf(asked), asked.epoch);
  const recorded = unhex(asked.tape);
  let at = 0;
  const tape = (count) => recorded.subarray(at, (at += count));
  const item = { hash: unhex(asked.item.hash), quality: asked.item.quality };
  const started = start(setup, item, tape);
  const label = receive(setup, started.session, unhex(asked.replies[0].matcher));
  // a device of oprf-psi keeps nothing between pictures
  return { gives: { bodies: [{ matcher: hex(started.request) }], outcome: outcomeOf(label), state: asked.state } };
}

function outcomeOf(label) {
  if (label === null) return { outcome: 'NoMatch' };
  return {
    outcome: 'Match',
    label: {
      entry_hash: hex(label.hash),
      entry_id: String(label.id),
      salt: hex(label.salt),
      first_epoch: String(label.first),
      last_epoch: String(label.last),
      signatures: hex(label.signatures),
    },
  };
}

const STEPS = { decode, open, session };

function respond(asked) {
  if (asked.design !== 'oprf-psi' || STEPS[asked.do] === undefined) return { lacks: `${asked.do} of ${asked.design}` };
  try {
    return STEPS[asked.do](asked);
  } catch (error) {
    if (error instanceof ProtocolError) return { refuses: error.message };
    throw error;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  process.stdout.write(`${JSON.stringify({ number: asked.number, ...respond(asked) })}\n`);
}
