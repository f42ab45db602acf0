const shown = '[secret]';

/** What `node:util` calls `inspect.custom`, under a name that browsers have too. */
const inspected = Symbol.for('nodejs.util.inspect.custom');

/**
 * A string that must not be seen. It prints as `[secret]` in logs, templates, JSON and `util.inspect`;
 * only `reveal()` gives the value, so every use of it can be found by searching for that word.
 */
export class Secret {
  readonly #value: string;
  /** What `isIn` looks for. */
  #forms: string[] | undefined;

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
  appearsIn(text: string): boolean {
    if (this.#value.length < 8) return false;
    this.#forms ??= formsOf(this.#value);
    const searched = text.toLowerCase();
    return this.#forms.some((form) => searched.includes(form));
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

  [inspected](): string {
    return shown;
  }
}

/** A text as it is and in the encodings that are usual, in lower case. */
function formsOf(text: string): string[] {
  const bytes = [...new TextEncoder().encode(text)];
  const base64 = btoa(bytes.map((byte) => String.fromCharCode(byte)).join('')).replace(/=+$/, '');
  return [
    text,
    base64,
    base64.replaceAll('+', '-').replaceAll('/', '_'),
    bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(''),
    encodeURIComponent(text),
  ].map((form) => form.toLowerCase());
}
