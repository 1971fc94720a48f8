// libsignal: fingerprints of given keys, signatures (XEdDSA) under given private keys, and verdicts; JSON in and out.

import { readFileSync } from 'node:fs';

import { Fingerprint, PrivateKey, PublicKey } from '@signalapp/libsignal-client';

const hex = (bytes) => Buffer.from(bytes).toString('hex');
const unhex = (text) => Buffer.from(text, 'hex');
const key = (text) => PublicKey.deserialize(Buffer.concat([Buffer.from([5]), unhex(text)]));
const given = JSON.parse(readFileSync(0, 'utf8'));

console.log(JSON.stringify({
  fingerprints: given.fingerprints.map(([name, mine, peer, theirs]) =>
    Fingerprint.new(5200, 2, unhex(name), key(mine), unhex(peer), key(theirs)).displayableFingerprint().toString()),
  signatures: given.messages.map(([secret, message]) => hex(PrivateKey.deserialize(unhex(secret)).sign(unhex(message)))),
  publics: given.messages.map(([secret]) => hex(PrivateKey.deserialize(unhex(secret)).getPublicKey().serialize()).slice(2)),
  verdicts: given.signed.map(([publicKey, message, signature]) => key(publicKey).verify(unhex(message), unhex(signature))),
}));
