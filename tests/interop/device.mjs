// A device: asks a running matcher about PDQ hashes and says match or no match, one JSON line for each.
//
//   node device.mjs --address HOST:PORT --root ca.crt --certificate d.crt --key d.key [--server-name NAME] HASH ...
//
// HASH is 64 hexadecimal digits; HASH:QUALITY gives a quality other than 100. Exit code 0 if every hash was
// answered, 1 if the matcher refused, broke the protocol or could not be called, 2 if the command line is wrong.

import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { hex, unhex } from './bytes.mjs';
import { connect, exchange, fetchSetup } from './matching.mjs';
import { openSetup, receive, start } from './oprf_psi.mjs';

const OPTIONS = ['address', 'root', 'certificate', 'key'];
const USAGE = 'usage: device.mjs --address HOST:PORT --root PEM --certificate PEM --key PEM HASH[:QUALITY] ...';

function commandLine() {
  const options = Object.fromEntries([...OPTIONS, 'server-name'].map((name) => [name, { type: 'string' }]));
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  const missing = OPTIONS.find((name) => values[name] === undefined);
  if (missing !== undefined) throw new Error(`--${missing} is missing; ${USAGE}`);
  const items = positionals.map((text) => {
    const found = /^([0-9a-f]{64})(?::([0-9]{1,2}|100))?$/.exec(text);
    if (found === null) throw new Error(`a hash is 64 hexadecimal digits; ${USAGE}`);
    return { hash: unhex(found[1]), quality: Number(found[2] ?? 100) };
  });
  return { values, items };
}

function shown(item, label) {
  const line = { hash: hex(item.hash), outcome: label === null ? 'no match' : 'match' };
  if (label === null) return line;
  if (label.id === null) return { ...line, label: null };
  return { ...line, label: { entry_id: String(label.id), salt: hex(label.salt) } };
}

async function main({ values, items }) {
  const pem = Object.fromEntries(OPTIONS.slice(1).map((name) => [name, readFileSync(values[name])]));
  const client = connect(values.address, pem, values['server-name']);
  try {
    const { epoch, files } = await fetchSetup(client);
    const setup = openSetup(files, epoch);
    for (const item of items) {
      const { request, session } = start(setup, item, (count) => Uint8Array.from(randomBytes(count)));
      const label = receive(setup, session, await exchange(client, epoch, request));
      console.log(JSON.stringify(shown(item, label)));
    }
  } finally {
    client.close();
  }
}

let job;
try {
  job = commandLine();
} catch (error) {
  console.error(error.message);
  process.exit(2);
}
try {
  await main(job);
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
