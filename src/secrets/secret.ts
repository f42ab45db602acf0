import { inspect } from 'node:util';

const shown = '[secret]';

/**
 * A string that must not be seen. It prints as `[secret]` in logs, templates, JSON and `util.inspect`;
 * only `reveal()` gives the value, so every use of it can be found by searching for that word.
 */
export class Secret {
  readonly #value: string;

  constructor(value: string) {
    this.#value = value;
  }

  /** The value itself. Call it where the secret is used, never earlier. */
  reveal(): string {
    return this.#value;
  }

  /**
   * Whether `text` holds the secret, raw or in base64, base64url, hex or URL encoding. A secret of fewer than eight
   * characters is held by nothing: it would be found by accident.
   */
  isIn(text: string): boolean {
    if (this.#value.length < 8) return false;
    const bytes = Buffer.from(this.#value);
    return [
      this.#value,
      bytes.toString('base64').replace(/=+$/, ''),
      bytes.toString('base64url'),
      bytes.toString('hex'),
      encodeURIComponent(this.#value),
    ].some((form) => text.toLowerCase().includes(form.toLowerCase()));
  }

  toString(): string {
    return shown;
  }

  toJSON(): string {
    return shown;
  }

  [Symbol.toPrimitive](): string {
    return shown;
  }

  [inspect.custom](): string {
    return shown;
  }
}
