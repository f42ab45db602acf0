const placeholder = '[secret]';

/** `inspect.custom` of `node:util`, which browsers do not have. */
const inspected = Symbol.for('nodejs.util.inspect.custom');

/**
 * A string that must not be printed. It appears as `[secret]` in logs, templates, JSON and `util.inspect`. Only `reveal()`
 * returns the value, so a search for that word finds every use.
 */
export class Secret {
  readonly #value: string;
  /** The encodings that `appearsIn` searches for. */
  #forms: string[] | undefined;

  constructor(value: string) {
    this.#value = value;
  }

  /** Returns the value. Call it where the secret is used, not earlier. */
  reveal(): string {
    return this.#value;
  }

  /**
   * Whether `text` contains the secret, raw or encoded as base64, base64url, hex or for URLs. Always false for secrets of
   * fewer than eight characters, which appear by accident.
   */
  appearsIn(text: string): boolean {
    if (this.#value.length < 8) return false;
    this.#forms ??= encodedForms(this.#value);
    const searched = text.toLowerCase();
    return this.#forms.some((form) => searched.includes(form));
  }

  /**
   * Whether texts of another host contain the secret, as `appearsIn`, or ten characters in a row of it or of the reversed
   * secret, whatever the case and the signs in between: a host can spread the secret over several texts.
   */
  isEchoedIn(texts: readonly string[]): boolean {
    if (texts.some((text) => this.appearsIn(text))) return true;
    const own = lettersAndDigits(this.#value);
    const searched = texts.map(lettersAndDigits).filter((text) => text.length >= partLength);
    const sources = [own, [...own].reverse().join('')];
    return searched.some((text) =>
      splitIntoParts(text).some((part) => sources.some((source) => source.includes(part))),
    );
  }

  toString(): string {
    return placeholder;
  }

  toJSON(): string {
    return placeholder;
  }

  [Symbol.toPrimitive](): string {
    return placeholder;
  }

  [inspected](): string {
    return placeholder;
  }
}

/** The number of characters that do not agree by accident. */
const partLength = 10;

function lettersAndDigits(text: string): string {
  return text.toLowerCase().replace(/[^a-z0-9]/g, '');
}

/** Returns every part of `partLength` characters. */
function splitIntoParts(text: string): string[] {
  return Array.from({ length: text.length - partLength + 1 }, (_, at) => text.slice(at, at + partLength));
}

/** Returns a text and its usual encodings, in lower case. */
function encodedForms(text: string): string[] {
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
