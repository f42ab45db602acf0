import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../common/secret.ts';

/** The path at which codes are exchanged, relative to the dashboard, so that it works under any base path. */
export const exchangePath = 'sign-in/exchange';
/** The media type of a code. It forces a CORS preflight, which pages of other origins do not pass. */
export const codeMediaType = 'application/vnd.app-connections.sign-in-code+json';

/** The lifetime of a code in minutes. */
export const codeLifetimeMinutes = 10;
/**
 * The limit of failed attempts per minute. A valid code is still exchanged beyond it, because otherwise a process on this
 * machine could lock out the user. Codes have 256 bits, so they cannot be guessed.
 */
const maxFailedAttempts = 20;
const failedAttemptsWindowMs = 60_000;

/** A code as it is stored. */
export interface StoredCode {
  /** SHA-256, in hex. */
  digest: string;
  /** In milliseconds since the epoch. */
  expiresAt: number;
}

/** The storage of a code that a command creates for a running server. */
export interface CodeStore {
  read(): StoredCode | undefined;
  /** @returns whether a code was removed; of two concurrent calls, one returns true */
  remove(): boolean;
}

/**
 * Generates a code of 256 random bits in base64url. The dashboard exchanges it for an API key.
 *
 * @param now in milliseconds since the epoch
 */
export function generateSignInCode(now: number): { code: string; stored: StoredCode } {
  const code = randomBytes(32).toString('base64url');
  const expiresAt = now + codeLifetimeMinutes * 60_000;
  return { code, stored: { digest: digest(code).toString('hex'), expiresAt } };
}

/** Adds a code to the URL of the dashboard, as a fragment: fragments are not sent to servers, and not in `Referer`. */
export function signInUrl(page: string, code: string): string {
  return `${page}#code=${code}`;
}

/** One-time codes for an API key, in memory and in a store. A restart invalidates all of them. */
export class SignInCodes {
  readonly #key: Secret;
  readonly #store: CodeStore | undefined;
  readonly #now: () => number;
  #codes: StoredCode[] = [];
  #failedAttempts = { count: 0, until: 0 };

  /** @param options `now` returns the time in milliseconds since the epoch */
  constructor(key: Secret, { store, now = Date.now }: { store?: CodeStore; now?: () => number } = {}) {
    this.#key = key;
    this.#store = store;
    this.#now = now;
    store?.remove();
  }

  /** Creates a code. */
  issue(): string {
    const { code, stored } = generateSignInCode(this.#now());
    this.#codes.push(stored);
    return code;
  }

  /**
   * Exchanges a code, which is then invalid.
   *
   * @returns the API key; undefined if the code was used, has expired or does not exist
   */
  exchange(code: string): Secret | undefined {
    const codeDigest = digest(code);
    const now = this.#now();
    const matches = (stored: StoredCode | undefined) =>
      stored !== undefined &&
      timingSafeEqual(Buffer.from(stored.digest, 'hex'), codeDigest) &&
      stored.expiresAt > now;
    const match = this.#codes.find(matches);
    if (match) {
      this.#codes = this.#codes.filter((stored) => stored !== match);
      return this.#key;
    }
    if (matches(this.#store?.read()) && this.#store?.remove()) return this.#key;
    if (this.#failedAttempts.until <= now)
      this.#failedAttempts = { count: 0, until: now + failedAttemptsWindowMs };
    this.#failedAttempts.count += 1;
    return undefined;
  }

  /** The seconds until attempts are allowed again; undefined if they are allowed. */
  get retryAfter(): number | undefined {
    const { count, until } = this.#failedAttempts;
    const remainingMs = until - this.#now();
    return count > maxFailedAttempts && remainingMs > 0 ? Math.ceil(remainingMs / 1_000) : undefined;
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
