// The OPRF of @noble/curves as server and client of RFC 9497, mode VOPRF, ristretto255-SHA512; JSON in and out.

import { createInterface } from 'node:readline';

import { ristretto255_oprf as suite } from '@noble/curves/ed25519.js';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => Uint8Array.from(Buffer.from(text, 'hex'));
const print = (value) => console.log(JSON.stringify(value));
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value);

const given = await next();
const inputs = given.inputs.map(unhex);
const { secretKey, publicKey } = suite.voprf.deriveKeyPair(unhex(given.seed), unhex(given.info));
const made = suite.voprf.blindEvaluateBatch(secretKey, publicKey, given.blinded.map(unhex));
const sent = inputs.map((input) => suite.voprf.blind(input));
print({
  public: hex(publicKey),
  proof: hex(made.proof),
  elements: made.evaluated.map(hex).join(''),
  outputs: inputs.map((input) => hex(suite.voprf.evaluate(secretKey, input))),
  sent: sent.map((one) => hex(one.blinded)),
});

const reply = await next();
const elements = reply.elements.match(/.{64}/g).map(unhex);
const items = inputs.map((input, at) => ({
  input, blind: sent[at].blind, blinded: sent[at].blinded, evaluated: elements[at],
}));
print(suite.voprf.finalizeBatch(items, unhex(reply.public), unhex(reply.proof)).map(hex));
