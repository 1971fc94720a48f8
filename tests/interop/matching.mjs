// The Matching service over mutual TLS (docs/reference/wire.md): what is served, set-up files, and one exchange.

import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';

import grpc from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';

import { equal, ProtocolError } from './bytes.mjs';

const PROTO = fileURLToPath(
  new URL('../../protocol/blindmatch_protocol/rpc/blindmatch_v1.proto', import.meta.url),
);
const MOST_MESSAGE_BYTES = 1 << 20;
const EXCHANGE_MS = 30_000;
const CALL_MS = 20_000;
const SETUP_MS = 600_000;
const DESIGN = 'oprf-psi';
const VERSION = 2;
const ROLE = 'matcher';

/** `address` is host:port; `pem` has root, key and certificate; `serverName` is what the matcher's certificate bears. */
export function connect(address, pem, serverName = 'matcher.blindmatch.test') {
  const { blindmatch } = grpc.loadPackageDefinition(loadSync(PROTO, { keepCase: true, longs: String, defaults: true }));
  const credentials = grpc.credentials.createSsl(pem.root, pem.key, pem.certificate);
  return new blindmatch.v1.Matching(address, credentials, {
    'grpc.ssl_target_name_override': serverName,
    'grpc.default_authority': serverName,
    'grpc.max_receive_message_length': MOST_MESSAGE_BYTES,
    'grpc.max_send_message_length': MOST_MESSAGE_BYTES,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
  });
}

/** The epoch that is served, and its files by name, each as described. */
export async function fetchSetup(client) {
  const described = await unary(client, 'Describe', {}, CALL_MS);
  if (described.design !== DESIGN || described.version !== VERSION) {
    throw new ProtocolError(`serves ${described.design}, version ${described.version}`);
  }
  const files = {};
  for (const file of described.setup) files[file.name] = await fetchFile(client, described.epoch, file);
  return { epoch: BigInt(described.epoch), files };
}

async function fetchFile(client, epoch, { name, size, sha256 }) {
  const call = client.FetchSetup({ epoch, name, offset: '0' }, { deadline: Date.now() + SETUP_MS });
  const parts = [];
  let length = 0;
  for await (const part of call) {
    if (part.size !== (parts.length === 0 ? size : '0')) throw new ProtocolError('size: the first part alone has it');
    parts.push(part.data);
    length += part.data.length;
    if (length > Number(size)) throw new ProtocolError(`${name} is longer than described`);
  }
  const whole = Buffer.concat(parts);
  const digest = createHash('sha256').update(whole).digest();
  if (length !== Number(size) || !equal(digest, sha256)) throw new ProtocolError(`${name} is not as described`);
  return Uint8Array.from(whole);
}

/** The matcher's reply to `body`, in the envelope that was asked for. */
export async function exchange(client, epoch, body) {
  const head = { design: DESIGN, version: VERSION, epoch: String(epoch), role: ROLE };
  const reply = await unary(client, 'Exchange', { ...head, body_size: String(body.length), body }, EXCHANGE_MS);
  for (const [field, value] of Object.entries(head)) {
    if (reply[field] !== value) throw new ProtocolError(`${field}: must be what was asked for`);
  }
  if (!['0', String(reply.body.length)].includes(reply.body_size)) throw new ProtocolError('body_size');
  if (reply.request_id.length !== 0) throw new ProtocolError('request_id: must be empty in a reply');
  return Uint8Array.from(reply.body);
}

function unary(client, method, request, within) {
  return new Promise((resolve, reject) => {
    client[method](request, { deadline: Date.now() + within }, (error, reply) =>
      error === null ? resolve(reply) : reject(error),
    );
  });
}
