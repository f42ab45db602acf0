import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { restClient } from './testkit/rest.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let server: TestServer;
let organisation: TestOrganisation;
/** The length of the longest transformed string, in UTF-16 code units. */
let longest = 0;

const transformations = ['normalize', 'trim', 'toLowerCase', 'toUpperCase'] as const;
const originals = transformations.map((name) => [name, String.prototype[name]] as const);

beforeAll(async () => {
  server = await startTestServer();
  organisation = await server.newOrganisation();
  for (const [name, original] of originals) {
    Object.defineProperty(String.prototype, name, {
      ...{ configurable: true, writable: true },
      value(this: string, ...args: []) {
        longest = Math.max(longest, this.length);
        return original.apply(this, args);
      },
    });
  }
});
afterAll(async () => {
  for (const [name, value] of originals)
    Object.defineProperty(String.prototype, name, { configurable: true, writable: true, value });
  await server.close();
});
beforeEach(() => {
  longest = 0;
});

/** Strings of 88 kB. The normalisation of combining characters takes quadratic time. */
const longTexts = [
  ['combining characters', `a${'\u0301\u0316'.repeat(22_000)}`],
  ['white space', ' '.repeat(88_000)],
  ['letters that change their length', 'İ'.repeat(44_000)],
  ['the surrogates of emoji', '👩‍👩‍👧‍👦'.repeat(3_500)],
] as const;

const aliased = (field: string) => Array.from({ length: 15 }, (_, index) => `a${index}: ${field}`).join(' ');
const credentials = (given: string) =>
  `credentials: { instanceUrl: ${given === 'instanceUrl' ? '$text' : '"https://example.okta.com"'}, apiToken: ${given === 'apiToken' ? '$secret' : '"any"'} }`;
const id = randomUUID();

describe.each(longTexts)('strings of 88 kB of %s, fifteen times per request', (_, text) => {
  it.each<[string, string]>([
    [
      'the name of a project',
      `mutation ($text: String!) { ${aliased('createProject(input: { name: $text }) { project { id } }')} }`,
    ],
    [
      'another name of a project',
      `mutation ($text: String!) { ${aliased(`renameProject(id: "${id}", name: $text) { project { id } }`)} }`,
    ],
    [
      'the name of an API key',
      `mutation ($text: String!) { ${aliased('createApiKey(input: { name: $text, scopes: [AUDIT_READ] }) { key }')} }`,
    ],
    [
      'the name of a connection',
      `mutation ($text: String!) { ${aliased(`createOktaConnection(input: { name: $text, ${credentials('')} }) { appConnection { id } }`)} }`,
    ],
    [
      'a description',
      `mutation ($text: String!) { ${aliased(`createOktaConnection(input: { name: "a", description: $text, ${credentials('')} }) { appConnection { id } }`)} }`,
    ],
    [
      'an instance URL',
      `mutation ($text: String!) { ${aliased(`validateOktaCredentials(${credentials('instanceUrl')}) { status }`)} }`,
    ],
    [
      'an API token',
      `mutation ($secret: Secret!) { ${aliased(`createOktaConnection(input: { name: "a", ${credentials('apiToken')} }) { appConnection { id } }`)} }`,
    ],
    [
      'an idempotency key',
      `mutation ($text: String!) { ${aliased(`createOktaConnection(input: { name: "a", idempotencyKey: $text, ${credentials('')} }) { appConnection { id } }`)} }`,
    ],
    [
      'the name of a connection to look up',
      `query ($text: String!) { ${aliased('appConnectionByName(name: $text) { id }')} }`,
    ],
    [
      'a filter by name prefix',
      `query ($text: String!) { ${aliased('appConnections(filter: { namePrefix: $text }) { totalCount }')} }`,
    ],
    [
      'a filter by substring',
      `query ($text: String!) { ${aliased('appConnections(filter: { nameContains: $text }) { totalCount }')} }`,
    ],
    [
      'a subject in the audit trail',
      `query ($text: String!) { ${aliased('auditEvents(filter: { subject: $text }) { nodes { seq } }')} }`,
    ],
    [
      'an outcome in the audit trail',
      `query ($text: String!) { ${aliased('auditEvents(filter: { outcome: $text }) { nodes { seq } }')} }`,
    ],
    ['a cursor', `query ($text: String!) { ${aliased('appConnections(after: $text) { totalCount }')} }`],
    [
      'a cursor of projects',
      `query ($text: String!) { ${aliased('projects(after: $text) { nodes { id } }')} }`,
    ],
    [
      'a cursor of the audit trail',
      `query ($text: String!) { ${aliased('auditEvents(after: $text) { nodes { seq } }')} }`,
    ],
  ])('are rejected as %s before they are normalised, trimmed or folded', async (_, query) => {
    const errors = await errorsOf(
      organisation.client.request(query, { [query.includes('$secret') ? 'secret' : 'text']: text }),
    );
    expect(errors.length).toBeGreaterThan(0);
    for (const { extensions } of errors) {
      expect(extensions.code).toBe('BAD_USER_INPUT');
      expect(extensions.issues?.[0]?.path).not.toEqual([]);
    }
    expect(longest).toBeLessThan(5_000);
  });

  it('are rejected in a body of REST before they are normalised, trimmed or folded', async () => {
    const rest = restClient(server.url, organisation.apiKey);
    for (const given of [{ name: text }, { description: text }]) {
      const body = {
        name: 'a',
        credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'any' },
        ...given,
      };
      expect((await rest('POST', '/api/v1/app-connections/okta', body)).status).toBe(422);
    }
    expect(longest).toBeLessThan(5_000);
  });
});

describe('the length of strings', () => {
  it('excludes white space around a name, and counts characters, not code units, of a description', async () => {
    const query = 'mutation ($name: String!) { createProject(input: { name: $name }) { project { name } } }';
    await expect(organisation.client.request(query, { name: `${' '.repeat(400)}e\u0301 ` })).resolves.toEqual(
      {
        createProject: { project: { name: 'é' } },
      },
    );
    const rest = restClient(server.url, organisation.apiKey);
    const description = ` ${'👍'.repeat(256)} `;
    const created = {
      name: 'described',
      description,
      credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'any' },
    };
    expect(await rest('POST', '/api/v1/app-connections/okta', created)).toMatchObject({
      status: 200,
      body: { appConnection: { description: description.trim() } },
    });
  });

  it('does not slow down rejecting an unknown field whose name is 20,000 quotation marks', async () => {
    const query =
      'mutation ($input: CreateProjectInput!) { createProject(input: $input) { project { id } } }';
    const [error] = await errorsOf(
      organisation.client.request(query, { input: { name: 'a', ['\\"'.repeat(20_000)]: 1 } }),
    );
    expect(error?.extensions.code).toBe('BAD_USER_INPUT');
    expect(error?.message.length).toBeLessThan(300);
  });
});
