import type { Random } from './random.ts';

/** The values in requests: existing ids and names, and a planted token that must not leak. */
export interface Fixture {
  apiKey: string;
  /** Ids of existing objects of all types. */
  ids: readonly string[];
  projectId: string;
  /** Names of connections and projects. */
  names: readonly string[];
  planted: string;
  /** Origins of hostile hosts. */
  hosts: readonly string[];
}

const texts = [
  ...[
    '',
    ' ',
    '\0',
    'a\0b',
    '\ud800',
    '\udc00x',
    '\u202eevil',
    '\u200b',
    '\ufeff',
    '\r\n',
    '\t',
    '\x7f',
    'İ',
    'ß',
  ],
  ...[
    '𝒳'.repeat(70),
    '👩‍👩‍👧‍👦',
    'é'.normalize('NFD'),
    'ａｂｃ',
    'a'.repeat(65),
    'a'.repeat(5_000),
    '-a',
    'a--b',
    'A',
  ],
  ...[
    "' or 1=1 --",
    '"; drop table users; --',
    "\\'",
    '\\',
    '$$',
    `$\{7*7}`,
    '{{7*7}}',
    '%s%n',
    '%00',
    '%ff',
  ],
  ...[
    '../../../etc/passwd',
    'file:///etc/passwd',
    '<script>alert(1)</script>',
    '[object Object]',
    'null',
    'NaN',
  ],
  ...[
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '1e999',
    '-0',
    '9007199254740993',
    '0x10',
    '٣',
  ],
  ...[
    '2026-02-30T00:00:00Z',
    '+275760-09-13T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '2026-01-01',
    '99999999999999',
  ],
  ...[
    '00000000-0000-0000-0000-000000000000',
    '7ffbb072-2575-495a-b5b0-127f88caef78}',
    'bm90IGEgY3Vyc29y',
    'e30=',
  ],
];

/** Forbidden hosts. */
const urls = [
  ...[
    'https://example.okta.com',
    'https://example.okta.com/',
    'https://EXAMPLE.okta.com:443',
    'http://example.okta.com',
  ],
  ...[
    'https://127.0.0.1',
    'https://[::1]',
    'https://169.254.169.254',
    'https://0x7f.1',
    'https://2130706433',
    'https://localhost',
  ],
  ...[
    'https://user:pass@example.okta.com',
    'https://example.okta.com/?q#f',
    'https://example-admin.okta.com',
    'ftp://example.okta.com',
  ],
  ...[
    'https://',
    '//',
    'https://[',
    'https://example.okta.com:99999',
    'javascript:alert(1)',
    'https://ex%61mple.okta.com',
  ],
];

const numbers = [0, 1, -1, 2, 20, 100, 101, 1.5, 2 ** 31, -(2 ** 31) - 1, 2 ** 53, 1e21, -0];

/** Any text except the planted token. */
export function text(random: Random, { ids, names }: Fixture): string {
  if (random.isTrue(0.5)) return `plain-${random.below(1_000)}`;
  const kind = random.below(10);
  if (kind < 2) return random.pick(ids);
  if (kind < 3) return random.pick(names);
  if (kind < 5) return random.pick(urls);
  if (kind < 8) return random.pick(texts);
  return String.fromCharCode(...random.list(12, () => random.below(0x1_00_00)));
}

/** A token, often the planted one. */
export function token(random: Random, { planted }: Fixture): string {
  return random.pick([
    planted,
    planted,
    `${planted}\0`,
    ` ${planted}`,
    `${planted}é`,
    'weak',
    'revoked-1',
    'limited',
    'broken',
    '',
  ]);
}

export function url(random: Random, { hosts }: Fixture): string {
  if (hosts.length > 0 && random.isTrue(0.15)) return random.pick(hosts);
  return random.pick(random.isTrue(0.75) ? urls.slice(0, 3) : urls);
}

/** Any JSON value. */
export function json(random: Random, fixture: Fixture, depth = 3): unknown {
  switch (random.below(depth > 0 ? 8 : 5)) {
    case 0:
      return null;
    case 1:
      return random.isTrue(0.5);
    case 2:
      return random.pick(numbers);
    case 3:
    case 4:
      return text(random, fixture);
    case 5:
      return random.list(4, () => json(random, fixture, depth - 1));
    default:
      return Object.fromEntries(
        random.list(4, () => [
          random.pick(['input', 'id', 'name', 'credentials', 'apiToken', '__proto__', text(random, fixture)]),
          json(random, fixture, depth - 1),
        ]),
      );
  }
}

/** Mutates a text: truncates it, repeats it, removes a part, or inserts hostile characters. */
export function corrupt(random: Random, fixture: Fixture, given: string): string {
  const [from, to] = [random.below(given.length + 1), random.below(given.length + 1)].sort((a, b) => a - b);
  const [before, within, after] = [given.slice(0, from), given.slice(from, to), given.slice(to)];
  switch (random.below(6)) {
    case 0:
      return before;
    case 1:
      return before + after;
    case 2:
      return before + within + within + after;
    case 3:
      return before + text(random, fixture) + given.slice(from);
    case 4:
      return (
        before +
        random.pick(['{', '}', '(', ')', '"', '"""', '$', '@', '...', '#', '[', ':', '!']) +
        given.slice(from)
      );
    default:
      return (
        before +
        random.pick(['{ a ', '[', '@skip(if: true) ', '...on Query{', 'a:id ']).repeat(random.below(3_000)) +
        after
      );
  }
}
