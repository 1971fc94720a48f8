// Byte strings: hexadecimal, big-endian numbers, and the walk over a canonical encoding (docs/reference/wire.md).

export const hex = (bytes) => Buffer.from(bytes).toString('hex');
export const unhex = (text) => Uint8Array.from(Buffer.from(text, 'hex'));
export const ascii = (text) => new TextEncoder().encode(text);
export const equal = (a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)) === 0;

export function concat(...parts) {
  return Uint8Array.from(Buffer.concat(parts.map((part) => Buffer.from(part))));
}

export function number(value, width) {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return Uint8Array.from(out.subarray(8 - width));
}

/** Bytes broke a rule of the protocol. */
export class ProtocolError extends Error {}

/** Walks over bytes and never past their end. */
export class Reader {
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  take(count) {
    if (count > this.data.length - this.at) throw new ProtocolError('truncated');
    this.at += count;
    return this.data.subarray(this.at - count, this.at);
  }

  uint(width) {
    return BigInt(`0x${hex(this.take(width))}`);
  }

  /** `least` to `most` rows of `width` bytes behind a 32-bit count. */
  matrix(width, least, most) {
    const count = Number(this.uint(4));
    if (count < least || count > most) throw new ProtocolError(`${least} to ${most} rows, not ${count}`);
    return Array.from({ length: count }, () => this.take(width));
  }

  tag(expected) {
    if (Number(this.uint(1)) !== expected) throw new ProtocolError('another tag');
  }

  finish() {
    if (this.at !== this.data.length) throw new ProtocolError('bytes left over');
  }
}
