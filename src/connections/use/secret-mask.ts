import type { Secret } from '../../common/secret.ts';

const asterisk = '*'.charCodeAt(0);

/** Secrets that are shorter appear by accident. */
const minLength = 8;

/** A shift fits into a byte. */
const maxShift = 256;
const hashes = 4_096;

/**
 * Replaces secrets in a response by asterisks, one for each byte, so that its length stays the same. It finds a secret as
 * it is, in lower and upper case, and encoded in whole as base64, base64url (also inside of a longer encoded text), hex,
 * percent-encoding and JSON escapes, but in no other encoding.
 */
export class SecretMask {
  readonly #forms: readonly Buffer[];
  readonly #lowerCase: readonly string[];
  readonly #minLength: number;
  readonly #maxLength: number;
  /** How far the search may go on from two bytes, by their hash (Wu and Manber: 15 times as fast as `indexOf`). */
  readonly #shifts: Uint8Array;
  /** The forms by their first byte. */
  readonly #byFirstByte: (Buffer[] | undefined)[] = Array(256).fill(undefined);

  constructor(secrets: readonly Secret[]) {
    const values = secrets.map((secret) => secret.reveal()).filter(({ length }) => length >= minLength);
    const forms = new Set(values.flatMap(encodedForms));
    this.#forms = [...forms].map((form) => Buffer.from(form));
    this.#lowerCase = [...forms].map((form) => form.toLowerCase());
    const lengths = this.#forms.map(({ length }) => length);
    this.#minLength = Math.min(maxShift, ...lengths);
    this.#maxLength = Math.max(0, ...lengths);
    this.#shifts = new Uint8Array(hashes).fill(this.#minLength - 1);
    for (const form of this.#forms) {
      const [first = 0] = form;
      this.#byFirstByte[first] = [...(this.#byFirstByte[first] ?? []), form];
      for (let end = 2; end <= this.#minLength; end += 1) {
        const hash = hashPair(form, end);
        this.#shifts[hash] = Math.min(this.#shifts[hash] ?? 0, this.#minLength - end);
      }
    }
  }

  /** Masks a header value. */
  maskText(text: string): string {
    if (!this.appearsIn(text)) return text;
    const bytes = Buffer.from(text, 'latin1');
    for (const [start, end] of this.find(bytes)) bytes.fill(asterisk, start, end);
    const masked = bytes.toString('latin1');
    // In a mixture of cases.
    return this.appearsIn(masked) ? '*'.repeat(text.length) : masked;
  }

  /** Masks a JSON value that was parsed from a masked body: parsing decodes what was escaped only in part. */
  maskJson(value: unknown): unknown {
    const bytes = Buffer.from(JSON.stringify(value));
    const found = this.find(bytes);
    if (found.length === 0) return value;
    for (const [start, end] of found) bytes.fill(asterisk, start, end);
    return JSON.parse(bytes.toString());
  }

  /** Whether a text contains a secret, in any case. */
  appearsIn(text: string): boolean {
    if (text.length < this.#minLength) return false;
    const searched = text.toLowerCase();
    return this.#lowerCase.some((form) => searched.includes(form));
  }

  /** Creates the mask of one body. */
  stream(): BodyMask {
    return new BodyMask(this);
  }

  /**
   * Returns the start and the end of every secret; overlapping ones are one. A host may know a token of its own making, and the token
   * `aaa…` is at each place of a body of the letter.
   */
  find(bytes: Buffer): (readonly [number, number])[] {
    const found: [number, number][] = [];
    let end = this.#minLength;
    while (end <= bytes.length) {
      const shift = this.#shifts[hashPair(bytes, end)] ?? 0;
      if (shift === 0) {
        const start = end - this.#minLength;
        for (const form of this.#byFirstByte[bytes[start] ?? 0] ?? []) {
          if (!isAt(bytes, start, form)) continue;
          const last = found.at(-1);
          if (last && start <= last[1]) last[1] = Math.max(last[1], start + form.length);
          else found.push([start, start + form.length]);
        }
      }
      end += shift || 1;
    }
    return found;
  }

  /** Returns the number of bytes at the end with which a secret can begin that continues in the next chunk. */
  unfinished(bytes: Buffer): number {
    for (let at = Math.max(0, bytes.length - this.#maxLength + 1); at < bytes.length; at += 1) {
      const formsHere = this.#byFirstByte[bytes[at] ?? 0];
      if (formsHere?.some((form) => isCutOff(bytes, at, form))) return bytes.length - at;
    }
    return 0;
  }
}

/** Whether a form is at a place. The last byte first: a text that is like a secret as a rule has its beginning. */
function isAt(bytes: Buffer, start: number, form: Buffer): boolean {
  const end = start + form.length;
  return bytes[end - 1] === form.at(-1) && bytes.compare(form, 0, form.length, start, end) === 0;
}

/** Whether bytes end, after `start`, in the middle of a form. A loop, which ends at the second byte as a rule. */
function isCutOff(bytes: Buffer, start: number, form: Buffer): boolean {
  const length = bytes.length - start;
  if (length >= form.length) return false;
  for (let index = 1; index < length; index += 1) if (bytes[start + index] !== form[index]) return false;
  return true;
}

/** Hashes the two bytes before `end`. */
function hashPair(bytes: Buffer, end: number): number {
  return (((bytes[end - 2] ?? 0) << 5) ^ (bytes[end - 1] ?? 0)) & (hashes - 1);
}

/** Masks a body that arrives in chunks. It holds back only bytes with which a secret can begin. */
export class BodyMask {
  readonly #mask: SecretMask;
  #heldBack: Buffer = Buffer.alloc(0);
  /** How many of the bytes that are held back are the end of a secret. */
  #maskedBytes = 0;

  constructor(mask: SecretMask) {
    this.#mask = mask;
  }

  /** Returns the bytes that can be passed on, which may be none. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#heldBack.length === 0 ? chunk : Buffer.concat([this.#heldBack, chunk]);
    const border = bytes.length - this.#mask.unfinished(bytes);
    return this.#passOn(bytes, border);
  }

  /** Returns the rest of the body. */
  end(): Buffer {
    return this.#passOn(this.#heldBack, this.#heldBack.length);
  }

  #passOn(bytes: Buffer, border: number): Buffer {
    const found = this.#mask.find(bytes);
    if (this.#maskedBytes > 0) found.push([0, this.#maskedBytes]);
    const ends = found.filter(([start]) => start < border || start === 0).map(([, end]) => end - border);
    this.#maskedBytes = Math.max(0, ...ends);
    this.#heldBack = bytes.subarray(border);
    const passed = bytes.subarray(0, border);
    if (found.length === 0) return passed;
    // A copy, because bytes that are held back are searched again.
    const masked = Buffer.from(passed);
    for (const [start, end] of found) masked.fill(asterisk, Math.min(start, border), Math.min(end, border));
    return masked;
  }
}

function encodedForms(secret: string): string[] {
  const bytes = Buffer.from(secret);
  const hex = bytes.toString('hex');
  const percent = hex.replace(/../g, '%$&');
  const escaped = [...secret]
    .map((character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .join('');
  const base64 = [0, 1, 2].map((offset) => base64Inside(bytes, offset));
  return [
    ...[secret, secret.toLowerCase(), secret.toUpperCase()],
    encodeURIComponent(secret),
    ...base64,
    ...base64.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')),
    ...[hex, hex.toUpperCase()],
    ...[percent, percent.toUpperCase()],
    ...[escaped, escaped.replace(/[0-9a-f]{4}/g, (digits) => digits.toUpperCase())],
  ];
}

/** The part of a base64 text that depends on these bytes alone, if they are `offset` bytes after a group of three. */
function base64Inside(bytes: Buffer, offset: number): string {
  const text = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
  return text.slice(Math.ceil((offset * 8) / 6), Math.floor(((offset + bytes.length) * 8) / 6));
}
