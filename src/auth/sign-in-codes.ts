import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Secret } from '../common/secret.ts';

/** Where codes are exchanged, relative to the pages that do it, so that it works under whatever path they are. */
export const exchangePath = 'sign-in/exchange';
/** The media type of a code. No form can send it, so a page elsewhere would have to ask leave first, and gets none. */
export const codeMediaType = 'application/vnd.app-connections.sign-in-code+json';

/** How long a code can be used, in minutes. */
export const codeLifetimeMinutes = 10;
/**
 * Beyond so many wrong tries a minute, others are told to wait. A code that is right is exchanged all the same: else a
 * process of this machine could keep a person from signing in. With 256 bits, none is found by trying.
 */
const maxWrongTries = 20;
const wrongTriesMs = 60_000;

/** All that is kept of a code. */
export interface StoredCode {
  /** SHA-256, in hex. */
  digest: string;
  /** In milliseconds since 1970. */
  expiresAt: number;
}

/** Where a code is kept that the shell makes for a server that runs. */
export interface CodeStore {
  read(): StoredCode | undefined;
  /** @returns whether there was one; of two that remove it at once, one hears so */
  remove(): boolean;
}

/**
 * Makes a code of 256 random bits, in base64url, for an address that a person on this machine opens. The page there
 * exchanges it for an API key.
 *
 * @param now in milliseconds since 1970
 */
export function generateSignInCode(now: number): { code: string; known: StoredCode } {
  const code = randomBytes(32).toString('base64url');
  const expiresAt = now + codeLifetimeMinutes * 60_000;
  return { code, known: { digest: digest(code).toString('hex'), expiresAt } };
}

/** The page that takes a code, in a fragment: a fragment reaches no log, no proxy and no `Referer`. */
export function signInUrl(page: string, code: string): string {
  return `${page}#code=${code}`;
}

/** One-time codes for one API key, in memory and on the shelf. A restart ends every one of them. */
export class SignInCodes {
  readonly #key: Secret;
  readonly #shelf: CodeStore | undefined;
  readonly #now: () => number;
  #codes: StoredCode[] = [];
  #wrongTries = { count: 0, until: 0 };

  /** @param options `now` is the time, in milliseconds since 1970 */
  constructor(key: Secret, { shelf, now = Date.now }: { shelf?: CodeStore; now?: () => number } = {}) {
    this.#key = key;
    this.#shelf = shelf;
    this.#now = now;
    shelf?.remove();
  }

  issue(): string {
    const { code, known } = generateSignInCode(this.#now());
    this.#codes.push(known);
    return code;
  }

  /**
   * Ends the code.
   *
   * @returns the API key; undefined for a code that was used, has expired or never existed
   */
  exchange(code: string): Secret | undefined {
    const given = digest(code);
    const now = this.#now();
    const fits = (known: StoredCode | undefined) =>
      known !== undefined &&
      timingSafeEqual(Buffer.from(known.digest, 'hex'), given) &&
      known.expiresAt > now;
    const [found] = this.#codes.filter(fits);
    if (found) {
      this.#codes = this.#codes.filter((known) => known !== found);
      return this.#key;
    }
    if (fits(this.#shelf?.read()) && this.#shelf?.remove()) return this.#key;
    if (this.#wrongTries.until <= now) this.#wrongTries = { count: 0, until: now + wrongTriesMs };
    this.#wrongTries.count += 1;
    return undefined;
  }

  /** In how many seconds another wrong code may be sent; undefined when one may be sent now. */
  get retryAfter(): number | undefined {
    const { count, until } = this.#wrongTries;
    const left = until - this.#now();
    return count > maxWrongTries && left > 0 ? Math.ceil(left / 1_000) : undefined;
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
