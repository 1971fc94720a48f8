// A full set and its deltas (docs/reference/set-format.md): from an OPRF output to the label it opens.

import { createDecipheriv, createHash } from 'node:crypto';

import { ascii, equal, hex, number, ProtocolError, Reader } from './bytes.mjs';
import { openFilter } from './filter.mjs';
import { openSetFile } from './setfile.mjs';
import { openStore } from './store.mjs';

const SHARD = 0x01;
const LABELS = 0x02;
const FILTER = 0x03;
const PUBLIC_KEY = 0x100;
const PREVIOUS = 0x103;
const REMOVED = 0x104;
const STRETCH = 16_384;
const MOST_DELTAS = 8;
const MOST_SIGNATURES = 8n;
const SET = 'set.bin';

/** `files`: set-up files by name. Gives evaluations, public key and `find(output)`; the newest epoch must be `epoch`. */
export function openLayers(files, epoch) {
  const deltas = Object.keys(files).filter((name) => name !== SET);
  if (files[SET] === undefined || deltas.length > MOST_DELTAS) throw new ProtocolError('set.bin and up to 8 deltas');
  const names = [SET, ...deltas.sort()];
  const first = BigInt(epoch) - BigInt(deltas.length);
  const opened = names.map((name, at) => {
    const of = first + BigInt(at);
    if (at > 0 && name !== `delta-${String(of).padStart(10, '0')}.bin`) throw new ProtocolError(`another name: ${name}`);
    return openSetFile(files[name], 'oprf-psi', 2, of);
  });
  opened.slice(1).forEach((file, at) => checkContinues(file, opened[at]));
  const { evaluations } = opened[0].parameters;
  if (evaluations === undefined || evaluations < 1n || evaluations > 1024n) throw new ProtocolError('evaluations');
  const layers = opened.map((file, at) => openLayer(file, at > 0));
  return {
    evaluations: Number(evaluations),
    publicKey: contentOf(opened[0], PUBLIC_KEY),
    entries: layers.map((layer) => layer.entries),
    find: (output) => find(layers, output),
  };
}

/** Newer layers first; an id that a later layer removes is no match. */
function find(layers, output) {
  for (let at = layers.length - 1; at >= 0; at -= 1) {
    const label = layers[at].find(keysOf(output, layers[at].epoch));
    if (label !== null) return layers.slice(at + 1).some((later) => later.removes(label.id)) ? null : label;
  }
  return null;
}

function checkContinues(file, previous) {
  if (!equal(contentOf(file, PREVIOUS), previous.digest)) throw new ProtocolError('a delta of another set');
  if (!equal(contentOf(file, PUBLIC_KEY), contentOf(previous, PUBLIC_KEY))) throw new ProtocolError('another key');
  const same = (a, b) => Object.entries(a).every(([name, value]) => b[name] === value);
  const [mine, theirs] = [file.parameters, previous.parameters];
  if (!same(mine, theirs) || !same(theirs, mine)) throw new ProtocolError('other parameters');
}

function openLayer(file, isDelta) {
  const { filter, signatures } = file.parameters;
  if (filter === 1n && !isDelta) return openFilterLayer(file);
  if (filter !== 0n || !(signatures <= MOST_SIGNATURES)) throw new ProtocolError('parameters of another set');
  const removed = new Set(isDelta ? removedIds(contentOf(file, REMOVED)) : []);
  const width = 88 + 64 * Number(signatures);
  const store = openStore(file.count(SHARD), 1, (at) => file.section(SHARD, at));
  const opened = (keys, place) => openLabel(keys.label, record(file, place, width), file.epoch);
  return {
    epoch: file.epoch,
    entries: file.entries,
    removes: (id) => removed.has(id),
    find: (keys) => {
      const place = store.lookup(keys.store)[0] ^ keys.mask;
      return place < BigInt(file.entries) ? opened(keys, Number(place)) : null;
    },
  };
}

/** Membership alone: no id, no salt, and the hash is whatever was asked for. */
function openFilterLayer(file) {
  const filter = openFilter(contentOf(file, FILTER), file.entries);
  return {
    epoch: file.epoch,
    entries: file.entries,
    removes: () => false,
    find: (keys) => (filter.contains(keys.store) ? { hash: null, id: null, salt: null } : null),
  };
}

function removedIds(raw) {
  const reader = new Reader(raw);
  const ids = Array.from({ length: Math.floor(raw.length / 8) }, () => reader.uint(8));
  reader.finish();
  if (ids.some((id, at) => at > 0 && id <= ids[at - 1])) throw new ProtocolError('removed ids do not ascend');
  return ids;
}

function record(file, place, width) {
  const content = contentOf(file, LABELS, Math.floor(place / STRETCH));
  const at = (place % STRETCH) * width;
  if (at + width > content.length) throw new ProtocolError('a label is missing');
  return content.subarray(at, at + width);
}

function contentOf(file, kind, index = 0) {
  const section = file.section(kind, index);
  if (section === undefined) throw new ProtocolError(`section ${kind}, ${index} is missing`);
  return section.content;
}

/** Keys of an entry in the file of an epoch. */
function keysOf(output, epoch) {
  const taken = (tag, count) => derive(`blindmatch/entry/${tag}/v2`, epoch, output).subarray(0, count);
  return {
    store: taken('store-key', 16),
    mask: BigInt(`0x${hex(taken('mask', 8))}`),
    label: taken('label-key', 32),
  };
}

function derive(tag, epoch, output) {
  const block = new Uint8Array(128);
  block.set(ascii(tag));
  block.set(number(epoch, 8), 120);
  return createHash('sha512').update(block).update(output).digest();
}

/** The label in a record of the file of an epoch, or null if the key does not open it or it is for other epochs. */
function openLabel(key, sealed, epoch) {
  const body = sealed.subarray(0, sealed.length - 16);
  const cipher = createDecipheriv('chacha20-poly1305', key, new Uint8Array(12), { authTagLength: 16 });
  cipher.setAuthTag(sealed.subarray(sealed.length - 16));
  try {
    const plain = Buffer.concat([cipher.update(body), cipher.final()]);
    const [first, last] = [plain.readBigUInt64BE(56), plain.readBigUInt64BE(64)];
    if (epoch < first || epoch > last) return null;
    const signatures = plain.subarray(72);
    return { hash: plain.subarray(0, 32), id: plain.readBigUInt64BE(32), salt: plain.subarray(40, 56), first, last, signatures };
  } catch {
    return null;
  }
}
