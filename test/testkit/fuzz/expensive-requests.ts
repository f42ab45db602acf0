import type { Random } from './random.ts';

/** Numbers from 0 to 1 from which an expensive request is built; a small change builds a similar request. */
export type Genes = readonly number[];

const geneCount = 8;
/** The maximum length of a value, with a margin for the rest of the request. */
const maxBytes = 99_000;

/** Random genes. */
export function randomGenes(random: Random): Genes {
  return Array.from({ length: geneCount }, () => random.next());
}

/** Copies genes with one or two changed. */
export function mutate(random: Random, genes: Genes): Genes {
  const changed = [...genes];
  for (let count = 1 + random.below(2); count > 0; count -= 1) {
    const index = random.below(genes.length);
    const old = changed[index] ?? 0;
    const step = random.isTrue(0.3) ? random.next() : old + (random.next() - 0.5) / 4;
    changed[index] = Math.min(0.999_999, Math.max(0, step));
  }
  return changed;
}

const units = [
  ...['a', ' ', '\u0301', '\u0301\u0316', 'İ', '\ufdfa', '\u1100\u1161', '👩‍👩‍👧‍👦', '가', '\\"', '"', "'"],
  ...[
    '[',
    '{"a":',
    '\\',
    '.',
    '-a',
    'a.',
    '%',
    '@',
    '://',
    '\n',
    '#',
    '\u202e',
    '0',
    '9e',
    'xn--',
    '\ud800',
    'A==',
  ],
];

/** Operations that take a text, repeated fifteen times in one request. */
const fields: readonly [variable: string, field: string][] = [
  ['$t: String!', 'createProject(input: { name: $t }) { project { id } }'],
  ['$t: String!', 'createApiKey(input: { name: $t, scopes: [AUDIT_READ] }) { key }'],
  ['$t: String!', 'appConnectionByName(name: $t) { id }'],
  ['$t: String!', 'appConnections(filter: { namePrefix: $t, nameContains: $t }) { totalCount }'],
  ['$t: String!', 'appConnections(after: $t) { totalCount }'],
  ['$t: String!', 'appConnections(after: $t, before: $t) { totalCount }'],
  ['$t: String!', 'auditEvents(after: $t) { nodes { seq } }'],
  ['$t: String!', 'auditEvents(filter: { subject: $t, outcome: $t }) { nodes { seq } }'],
  ['$t: String!', 'projects(after: $t) { nodes { id } }'],
  ['$t: String!', 'apiKeys(after: $t) { nodes { id } }'],
  [
    '$t: String!',
    'validateOktaCredentials(credentials: { instanceUrl: $t, apiToken: "abcdefgh" }) { status }',
  ],
  [
    '$t: Secret!',
    'validateOktaCredentials(credentials: { instanceUrl: "https://x.example", apiToken: $t }) { status }',
  ],
  [
    '$t: String!',
    'createOktaConnection(input: { name: $t, description: $t, idempotencyKey: $t, credentials: { instanceUrl: $t, apiToken: "abcdefgh" } }) { appConnection { id } }',
  ],
  ['$t: UUID!', 'appConnection(id: $t) { id }'],
  ['$t: DateTime!', 'appConnections(filter: { createdFrom: $t }) { totalCount }'],
  ['$t: App!', 'appConnections(app: $t) { totalCount }'],
  ['$t: Int!', 'appConnections(first: $t) { totalCount }'],
  ['$t: CreateProjectInput!', 'createProject(input: $t) { project { id } }'],
  ['$t: CreateApiKeyInput!', 'createApiKey(input: $t) { key }'],
  ['$t: CreateOktaConnectionInput!', 'createOktaConnection(input: $t) { appConnection { id } }'],
  ['$t: AppConnectionFilter!', 'appConnections(filter: $t) { totalCount }'],
];

/** Builds the body of an expensive GraphQL request of at most 100 kB. */
export function toRequestBody(genes: Genes): string {
  const [family = 0] = genes;
  const size = (index: number, max: number) => Math.max(1, Math.round(max ** (genes[index] ?? 0)));
  const choice = <T>(index: number, from: readonly T[]): T =>
    from[Math.floor((genes[index] ?? 0) * from.length)] as T;
  const request =
    family < 0.6 ? textRequest(size, choice) : { query: documentText(size, choice), variables: {} };
  const depth = size(5, 12_000);
  const nested = `${'[{"a":'.repeat(depth)}1${'}]'.repeat(depth)}`;
  return cutToSize(request).replace(`"${nestedHere}"`, nested.length < maxBytes - 3_000 ? nested : '[]');
}

type Size = (gene: number, max: number) => number;
type Choice = <T>(gene: number, from: readonly T[]) => T;

function textRequest(size: Size, choice: Choice) {
  const [declaration, field] = choice(1, fields);
  const kind = /^(create|validate)/.test(field) ? 'mutation' : 'query';
  const aliases = Array.from({ length: size(2, 15) }, (_, index) => `a${index}: ${field}`).join(' ');
  const unit = choice(3, units);
  const text = `${choice(4, ['', 'a', 'https://', 'https://a.', ' '])}${unit.repeat(size(5, 50_000))}${choice(6, ['', 'a', '.okta.com', ' '])}`;
  const member = `${unit.repeat(size(6, 5_000))}`;
  const shape = choice<() => unknown>(7, [
    () => text,
    () => text,
    () =>
      Object.fromEntries(Array.from({ length: size(5, 12_000) }, (_, index) => [`${unit}${index}`, unit])),
    () => ({
      name: text,
      description: text,
      credentials: { instanceUrl: text, apiToken: text },
      scopes: [text],
      [member]: text,
    }),
    () => nestedHere,
    () => Array.from({ length: size(5, 20_000) }, () => choice(6, [unit, [], {}, { a: 1 }])),
    () => ({
      name: 'a',
      projectIds: Array.from({ length: size(5, 5_000) }, () => unit),
      connectionIds: Array.from({ length: size(5, 5_000) }, () => unit),
      scopes: Array.from({ length: size(6, 5_000) }, () => unit),
    }),
  ]);
  return { query: `${kind} (${declaration}) { ${aliases} }`, variables: { t: shape() } };
}

/** Builds deeply nested JSON as text, because JSON.stringify would overflow the stack. */
const nestedHere = 'nested-here';

function documentText(size: Size, choice: Choice): string {
  const [count, width, length] = [size(2, 1_500), size(3, 60), size(4, 20_000)];
  const many = (n: number, one: (index: number) => string) =>
    Array.from({ length: n }, (_, index) => one(index)).join(' ');
  const name = `n${'a'.repeat(Math.min(length, Math.floor(40_000 / count)))}`;
  const unit = choice(5, units);
  const literal = JSON.stringify(unit.repeat(length));
  const builders: (() => string)[] = [
    () => `{ ${many(count, (i) => `${name}${i}`)} }`,
    () =>
      `{ appConnections { nodes { ${many(count, (i) => `${choice(6, ['nam', 'verificatio', 'credentialsHas', 'x'])}${i % width}`)} } } }`,
    () =>
      `query (${many(count, (i) => `$v${i}: ${choice(6, ['Int', 'Unknown', 'String!', '[Int]'])}`)}) { __typename }`,
    () =>
      `query { ...F0 } ${many(count, (i) => `fragment F${i} on Query { ...F${(i + 1) % width} ...F${(i * 7) % count} }`)}`,
    () =>
      `${many(count, (i) => `query Q${i} { ...F0 }`)} ${many(width, (i) => `fragment F${i} on Query { ...F${i + 1} }`)} fragment F${width} on Query { __typename }`,
    () =>
      `${many(width, (i) => `query Q${i}($a: Int) { ...F0 }`)} ${many(count, (i) => `fragment F${i} on Query { ...F${i + 1} appConnections(first: $a) { totalCount } }`)} fragment F${count} on Query { __typename }`,
    () =>
      `{ ${many(10, () => `appConnections { nodes { ${many(10, () => `credentials { ${many(Math.min(count, 10), () => 'instanceUrl')} }`)} } }`)} }`,
    () =>
      `{ ${many(Math.min(count, 300), (i) => `... { ...F${i % width} }`)} } ${many(width, (i) => `fragment F${i} on Query { appConnections(first: ${i}) { ${many(Math.min(9, count), (j) => `nodes { ${many(3, () => `...G${j}`)} }`)} } }`)} ${many(9, (j) => `fragment G${j} on AppConnection { id name }`)}`,
    () => `{ createProject(input: { name: ${literal} }) { id } }`,
    () => `{ appConnections(filter: { nameContains: ${literal} }) { totalCount } }`,
    () => `{ appConnections(${many(count, (i) => `x${i}: 1`)}) { totalCount } }`,
    () => `{ appConnections(filter: { ${many(count, (i) => `x${i}: ${i}`)} }) { totalCount } }`,
    () => `{ appConnections(first: ${'['.repeat(count)}${']'.repeat(count)}) { totalCount } }`,
    () => `{ appConnections(filter: ${'{a:'.repeat(count)}1${'}'.repeat(count)}) { totalCount } }`,
    () => `{ ${many(count, () => '__typename @a')} }`,
    () => `{ __typename ${many(count * 20, () => '#\n')} }`,
    () => `{ __typename ${many(length, () => unit)} }`,
    () => `"""${unit.repeat(length)}""" { __typename }`,
    () => `{ a(b: """${`\n${' '.repeat(width)}${unit}`.repeat(count)}""") }`,
    () => `{ a(b: ${JSON.stringify(`${'\\"'.repeat(length)}`)}) }`,
    () =>
      `{ ${many(Math.min(count, 450), () => choice(6, ['... { __typename }', '... on Query { viewer { scopes } }', '...F']))} } fragment F on Query { ${many(10, () => 'viewer { scopes organisation { id } }')} }`,
    () =>
      `mutation { createApiKey(input: { name: ${literal}, scopes: [${many(count, () => 'AUDIT')}] }) { key } }`,
    () => `{ __schema { ${many(width, () => 'types { fields { args { type { ofType { name } } } } }')} } }`,
    () =>
      `{ __schema { types { ${many(9, (i) => `a${i}: fields(includeDeprecated: true) { name args { name type { name } } type { name kind } }`)} } } }`,
  ];
  return choice(1, builders)();
}

/** Serializes to at most 100 kB of JSON by truncating the longest string. */
function cutToSize({ query, variables }: { query: string; variables: Record<string, unknown> }): string {
  for (let limit = maxBytes; limit > 0; limit = Math.floor(limit * 0.7)) {
    const t = typeof variables.t === 'string' ? variables.t.slice(0, limit) : variables.t;
    const body = JSON.stringify({ query: query.slice(0, limit), variables: { t } });
    if (Buffer.byteLength(body) <= maxBytes) return body;
    if (typeof t === 'object') variables.t = limit < 5_000 ? null : halved(t);
  }
  return '{}';
}

function halved(value: unknown): unknown {
  if (typeof value === 'string') return value.slice(0, value.length / 2);
  if (Array.isArray(value)) return value.length > 1 ? value.slice(0, value.length / 2) : value.map(halved);
  const entries = Object.entries(Object(value));
  if (entries.length > 20) return Object.fromEntries(entries.slice(0, entries.length / 2));
  return Object.fromEntries(entries.map(([name, each]) => [name.slice(0, 1_000), halved(each)]));
}
