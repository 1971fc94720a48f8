// Manifest, log proof and endorsements of an epoch, from files alone (docs/explanation/accountability.md, docs/reference/wire.md):
//
//     node proofs.mjs FOLDER policy.txt curator.pub [UNIX_TIME]
//
// FOLDER holds epoch.manifest (0x1c), epoch.leaf (0x1e), epoch.proof (c2sp.org/tlog-proof) and endorsement.bin.

import { createHash, createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ascii, concat, equal, hex, number, ProtocolError, Reader, unhex } from './bytes.mjs';
import { openSetFile } from './setfile.mjs';

const [ED25519, COSIGNATURE] = [1, 4];
const [LIST, REMOVE] = [1, 2];
const SKEW = 300;
const WEEK = 7 * 86_400;
const ZEROS = new Uint8Array(64);
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
const leafHash = (raw) => sha256(Uint8Array.of(0), raw);
const node = (left, right) => sha256(Uint8Array.of(1), left, right);

function check(holds, rule) {
  if (!holds) throw new ProtocolError(rule);
}

function signed(key, signature, message) {
  const der = concat(unhex('302a300506032b6570032100'), key);
  return verify(null, message, createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' }), signature);
}

function base64(text) {
  const raw = Buffer.from(text, 'base64');
  check(raw.toString('base64') === text, 'base64 is canonical');
  return Uint8Array.from(raw);
}

const text = (reader) => Buffer.from(reader.take(Number(reader.uint(4)))).toString('utf8');
const rows = (reader, one) => Array.from({ length: Number(reader.uint(4)) }, () => one(reader));

/** 0x1b, with the bytes it was read from. */
function readManifest(reader) {
  const start = reader.at;
  reader.tag(0x1b);
  const design = text(reader);
  const version = Number(reader.uint(4));
  const epoch = reader.uint(8);
  reader.take(8 + 32 + 8 + 8);
  const entries = Number(reader.uint(8));
  rows(reader, () => (reader.tag(0x19), text(reader), reader.uint(8)));
  rows(reader, () => (reader.tag(0x1a), text(reader), reader.take(Number(reader.uint(4)))));
  rows(reader, () => (reader.tag(0x18), text(reader), reader.take(40)));
  return { design, version, epoch, entries, raw: reader.data.subarray(start, reader.at) };
}

/** 0x1c: what the curator signed. */
export function openManifest(raw, curator) {
  const reader = new Reader(raw);
  reader.tag(0x1c);
  const manifest = readManifest(reader);
  const signature = reader.take(64);
  reader.finish();
  const message = concat(ascii('blindmatch/epoch-manifest/signature/v1'), manifest.raw);
  check(signed(curator, signature, message), 'the curator signed the manifest');
  return manifest;
}

/** 0x1e: the manifest's leaf in the log. */
export function openLeaf(raw, curator, manifest) {
  const reader = new Reader(raw);
  reader.tag(0x1e);
  const held = readManifest(reader);
  check(equal(held.raw, manifest.raw), 'the leaf is of the manifest');
  const root = reader.take(32);
  const policy = reader.take(Number(reader.uint(4)));
  reader.take(32);
  const body = raw.subarray(0, reader.at);
  const signature = reader.take(64);
  reader.finish();
  check(signed(curator, signature, concat(ascii('blindmatch/epoch-leaf/signature/v1'), body)), 'the curator signed the leaf');
  return { root, policy };
}

/** c2sp.org/signed-note, "Verifier keys". */
function vkey(line) {
  const [name, id, key] = [line.split('+')[0], line.split('+')[1], line.split('+').slice(2).join('+')];
  const raw = base64(key);
  check(hex(sha256(ascii(`${name}\n`), raw).subarray(0, 4)) === id, `${name} has its own id`);
  return { name, id, kind: raw[0], public: raw.subarray(1) };
}

/** c2sp.org/tlog-policy. */
function readPolicy(said) {
  const policy = { logs: new Map(), witnesses: new Map(), groups: [], quorum: [] };
  for (const line of said.split('\n')) {
    const [what, ...words] = line.trim().split(/[ \t]+/);
    if (what === '' || what.startsWith('#')) continue;
    if (what === 'log') policy.logs.set(vkey(words[0]).name, vkey(words[0]));
    else if (what === 'witness') policy.witnesses.set(words[0], vkey(words[1]));
    else if (what === 'group') {
      const [name, least, ...members] = words;
      policy.groups.push({ name, least: { any: 1, all: members.length }[least] ?? Number(least), members });
    } else if (what === 'quorum') policy.quorum.push(words[0]);
    else throw new ProtocolError(`no line of a policy: ${what}`);
  }
  check(policy.quorum.length === 1, 'a policy has one quorum');
  return policy;
}

/** When a key signed the text of a note, in seconds; 0 for a log's own signature (c2sp.org/tlog-cosignature). */
function times(key, note, lines) {
  const mine = lines.filter((line) => line.name === key.name && hex(line.raw.subarray(0, 4)) === key.id);
  return mine.map(({ raw }) => {
    check(raw.length === { [ED25519]: 68, [COSIGNATURE]: 76 }[key.kind], `a signature of ${key.name} has its length`);
    const at = key.kind === COSIGNATURE ? Number(new Reader(raw.subarray(4, 12)).uint(8)) : 0;
    const message = key.kind === COSIGNATURE ? `cosignature/v1\ntime ${at}\n${note}` : note;
    check(signed(key.public, raw.subarray(-64), new TextEncoder().encode(message)), `${key.name} signed`);
    return at;
  });
}

/** RFC 9162, section 2.1.3.2. */
function rootOf(hash, index, size, path) {
  let [at, last, found] = [index, size - 1n, hash];
  for (const step of path) {
    check(last > 0n, 'the path is not too long');
    if (at & 1n || at === last) {
      found = node(step, found);
      while (!(at & 1n) && at !== 0n) [at, last] = [at >> 1n, last >> 1n];
    } else found = node(found, step);
    [at, last] = [at >> 1n, last >> 1n];
  }
  check(last === 0n && index < size, 'the path is not too short');
  return found;
}

/** The proof of a leaf: who cosigned, at least a quorum, at most a week ago. */
export function verifyLogged(raw, leaf, manifest, policy, now) {
  const [head, note] = [raw.slice(0, raw.indexOf('\n\n')), raw.slice(raw.indexOf('\n\n') + 2)];
  const [header, index, ...path] = head.split('\n');
  check(header === 'c2sp.org/tlog-proof@v1' && /^index (0|[1-9][0-9]*)$/.test(index), 'the proof is a tlog-proof');
  const body = note.slice(0, note.indexOf('\n\n') + 1);
  check(note.endsWith('\n'), 'a line has its end');
  const lines = note.slice(body.length + 1, -1).split('\n').map((line) => {
    const found = /^\u2014 ([^ +]+) ([^ ]+)$/.exec(line);
    check(found !== null, 'a signature is a line');
    return { name: found[1], raw: base64(found[2]) };
  });
  const [origin, size, root, rest] = body.split('\n');
  check(rest === '' && origin.endsWith(`/epochs/${manifest.design}`), 'the checkpoint is of the epochs of the design');
  const log = policy.logs.get(origin);
  check(log !== undefined && times(log, body, lines).length > 0, 'the log signed the checkpoint');
  const fresh = (key) => times(key, body, lines).some((at) => now - at >= -SKEW && now - at <= WEEK);
  const seen = [...policy.witnesses].filter(([, key]) => fresh(key)).map(([name]) => name);
  const have = new Set(['none', ...seen]);
  for (const { name, least, members } of policy.groups) {
    if (members.filter((one) => have.has(one)).length >= least) have.add(name);
  }
  check(have.has(policy.quorum[0]), `a quorum cosigned it, not ${seen.join(', ') || 'nobody'} alone`);
  const at = BigInt(index.slice(6));
  check(BigInt(size) === manifest.epoch && at === manifest.epoch - 1n, 'the log ends with the epoch');
  check(equal(rootOf(leafHash(leaf), at, BigInt(size), path.map(base64)), base64(root)), 'the leaf is under the root');
  return seen;
}

/** RFC 9162, section 2.1.1. */
function treeOf(leaves) {
  if (leaves.length === 0) return sha256();
  if (leaves.length === 1) return leaves[0];
  const left = 1 << (31 - Math.clz32(leaves.length - 1));
  return node(treeOf(leaves.slice(0, left)), treeOf(leaves.slice(left)));
}

/** 0x23. */
function readEndorsers(raw) {
  const reader = new Reader(raw);
  reader.tag(0x23);
  const needed = Number(reader.uint(1));
  const keys = rows(reader, () => (reader.tag(0x22), { name: text(reader), key: reader.take(32) }));
  reader.finish();
  const names = new Set(keys.map((one) => one.name)).size;
  check(needed >= 1 && needed <= names, 'as many are needed as there are at most');
  return { keys, least: { [LIST]: needed, [REMOVE]: names - needed + 1 } };
}

/** That enough organisations signed every batch, and that the batches list what the manifest counts. */
export function verifyEndorsed(raw, leaf, manifest, curator) {
  const { keys, least } = readEndorsers(leaf.policy);
  const file = openSetFile(raw, manifest.design, manifest.version, manifest.epoch);
  const [batches, leaves, numbers] = [0x20, 0x21, 0x22].map((kind) => file.section(kind).content);
  const digest = sha256(ascii('blindmatch/endorsement/policy/v1'), leaf.policy);
  const width = 57 + 64 * keys.length;
  check(batches.length % width === 0 && numbers.length * 8 === leaves.length, 'the table has its form');
  const held = Array.from({ length: batches.length / width }, () => []);
  for (let at = 0; at * 4 < numbers.length; at += 1) {
    const which = Buffer.from(numbers).readUInt32LE(4 * at);
    check(which < held.length, 'a leaf is of a batch');
    held[which].push(leaves.subarray(32 * at, 32 * at + 32));
  }
  const statements = held.map((mine, at) => {
    const row = batches.subarray(at * width, (at + 1) * width);
    const reader = new Reader(row);
    const action = Number(reader.uint(1));
    const [first, last, size] = [reader.uint(8), reader.uint(8), reader.uint(8)];
    check(first <= manifest.epoch && manifest.epoch <= last, `batch ${at} holds in the epoch`);
    check(BigInt(mine.length) === size && equal(treeOf(mine), reader.take(32)), `batch ${at} has its leaves`);
    const design = concat(number(manifest.design.length, 4), ascii(manifest.design));
    const statement = concat(Uint8Array.of(0x24), curator, design, digest, row.subarray(0, 57));
    const message = concat(ascii('blindmatch/endorsement/signature/v1'), statement);
    const names = new Set();
    for (const { name, key } of keys) {
      const signature = reader.take(64);
      if (equal(signature, ZEROS)) continue;
      check(signed(key, signature, message), `${name} signed batch ${at}`);
      names.add(name);
    }
    check(names.size >= least[action], `enough signed batch ${at}`);
    return { action, statement, leaves: mine.map(hex) };
  });
  const of = (action) => new Set(statements.filter((one) => one.action === action).flatMap((one) => one.leaves));
  const removed = of(REMOVE);
  const listed = [...of(LIST)].filter((one) => !removed.has(one)).length;
  check(listed === manifest.entries, `${listed} entries are endorsed, not ${manifest.entries}`);
  check(equal(treeOf(statements.map((one) => leafHash(one.statement))), leaf.root), 'the batches are those of the leaf');
  return { batches: statements.length, listed };
}

function main([folder, policyFile, curatorFile, at = String(Math.floor(Date.now() / 1000))]) {
  const read = (name) => Uint8Array.from(readFileSync(join(folder, name)));
  const curator = unhex(readFileSync(curatorFile, 'utf8').trim());
  const manifest = openManifest(read('epoch.manifest'), curator);
  const raw = read('epoch.leaf');
  const leaf = openLeaf(raw, curator, manifest);
  const policy = readPolicy(readFileSync(policyFile, 'utf8'));
  const proof = new TextDecoder('utf-8', { fatal: true }).decode(read('epoch.proof'));
  const seen = verifyLogged(proof, raw, manifest, policy, Number(at));
  const endorsed = verifyEndorsed(read('endorsement.bin'), leaf, manifest, curator);
  console.log(JSON.stringify({ design: manifest.design, epoch: String(manifest.epoch), seen, ...endorsed }));
}

if (process.argv[1] === import.meta.filename) {
  try {
    main(process.argv.slice(2));
  } catch (error) {
    console.error(String(error.message));
    process.exitCode = 1;
  }
}
