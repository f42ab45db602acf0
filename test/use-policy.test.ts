import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { oktaUsePresets } from '../src/apps/okta/use-presets.ts';
import { decideUse } from '../src/connections/use-policy/decide.ts';
import { normalisePath } from '../src/connections/use-policy/normalise-path.ts';
import { compilePattern } from '../src/connections/use-policy/path-pattern.ts';
import { disguises } from './testkit/path-disguises.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

const [readOnly] = oktaUsePresets;
const secrets = '/api/v1/apps/0oa1/credentials/secrets';

/** Returns the normalised path, or undefined if it is refused. */
function normaliseIfAccepted(path: string): string | undefined {
  try {
    return normalisePath(path);
  } catch (error) {
    expect(at(error, 'issues', 0, 'path')).toEqual(['path']);
    return undefined;
  }
}

describe('path of a request through a connection', () => {
  const tricks = [...new Set(disguises(secrets))];

  test('is refused, or denied like the path that it resembles, in more than 200 disguises', () => {
    expect(tricks.length).toBeGreaterThan(200);
    const allowed = tricks.filter((trick) => {
      const path = normaliseIfAccepted(trick);
      return path !== undefined && decideUse(readOnly.rules, 'GET', path).isAllowed;
    });
    expect(allowed.join(' ')).toBe('');
  });

  test.each([
    ['/api/v1/%75sers', '/api/v1/users'],
    ['/api/v1/users/', '/api/v1/users'],
    ['/', '/'],
    ['/api/v1/users/isaac.brock%40example.com', '/api/v1/users/isaac.brock@example.com'],
    ['/api/v1/users/caf%c3%a9', '/api/v1/users/caf%C3%A9'],
    ['/api/v1/groups/a%20b', '/api/v1/groups/a%20b'],
    ['/api/v1/users/%7B%7D', '/api/v1/users/%7B%7D'],
    ["/api/v1/a!$&'()*+,=:@b", "/api/v1/a!$&'()*+,=:@b"],
  ])('is normalised: %s to %s', (path, normalised) => {
    expect(normalisePath(path)).toBe(normalised);
  });

  test('has a normal form that is its own, and decides as every spelling of it', () => {
    const character = fc.constantFrom(
      ..."abAB09-._~!$&'()*+,=:@%/;?# \\é\0".split(''),
      '%2e',
      '%2F',
      '%61',
      '%41',
      '%e2%82%ac',
    );
    const paths = fc.array(character, { maxLength: 12 }).map((parts) => `/api/v1/${parts.join('')}`);
    fc.assert(
      fc.property(paths, (path) => {
        const normalised = normaliseIfAccepted(path);
        if (normalised === undefined) return;
        expect(normalisePath(normalised)).toBe(normalised);
        expect(normalised).toMatch(/^\/(?:[^/]+\/)*[^/]*$/);
        // WHATWG URL parsing, which Okta's SDKs do too, leads to the same.
        expect(new URL(normalised, 'https://example.okta.com').pathname).toBe(normalised);
      }),
      { numRuns: 1_000 * times },
    );
  });
});

describe('path pattern of a use policy', () => {
  const long = 'ab'.repeat(40);
  const part = fc.constantFrom('a', 'b', 'ab', long, '.json', ':x', ':y', '*', '/');
  const patterns = fc
    .tuple(fc.array(part, { maxLength: 6 }), fc.boolean())
    .map(([parts, isSubtree]) => `/${parts.join('')}${isSubtree ? '/**' : ''}`);
  const paths = fc
    .array(fc.constantFrom('a', 'b', long, '/', '.json'), { maxLength: 8 })
    .map((parts) => `/${parts.join('')}`);

  test('matches what URLPattern matches', () => {
    let matches = 0;
    fc.assert(
      fc.property(patterns, paths, (pattern, rawPath) => {
        const compiled = compilePattern(pattern);
        const path = normaliseIfAccepted(rawPath);
        fc.pre(!('reason' in compiled) && path !== undefined);
        if ('reason' in compiled || path === undefined) return;
        const expected = new URLPattern({ pathname: pattern }).test({ pathname: path });
        if (expected) matches += 1;
        expect(compiled.matches(path), `${pattern} ${path}`).toBe(expected);
      }),
      { numRuns: 3_000 * times },
    );
    expect(matches).toBeGreaterThan(100);
  });

  test.each([
    '',
    'api',
    '/a/',
    '/a//b',
    '/a/../b',
    '/%61',
    '/a?b',
    '/a#b',
    '/{a}',
    '/(.*)',
    '/:id(\\d+)',
    '/:a/:a',
    '/:id*',
    '/a**',
    '/**/a',
    '/:',
    `/${'a'.repeat(300)}`,
    '/a+',
  ])('is refused with a reason: %j', (pattern) => {
    expect(compilePattern(pattern)).toMatchObject({ reason: expect.stringMatching(/\.$/) });
  });

  test('is matched in a time that does not grow with the number of its asterisks', () => {
    // With backtracking, this takes longer than the universe is old.
    const compiled = compilePattern(`/${'*a'.repeat(100)}b`);
    if ('reason' in compiled) throw new Error(compiled.reason);
    expect(compiled.matches(`/${'a'.repeat(2_000)}`)).toBe(false);
  });
});

describe('use preset for Okta', () => {
  const decide = (id: string, method: string, path: string) => {
    const preset = oktaUsePresets.find((each) => each.id === id);
    return decideUse(preset?.rules ?? [], method, path).isAllowed;
  };

  test.each([
    ['READ_ONLY', 'GET', '/api/v1/users', true],
    ['READ_ONLY', 'HEAD', '/api/v1/users', true],
    ['READ_ONLY', 'POST', '/api/v1/users', false],
    ['READ_ONLY', 'OPTIONS', '/api/v1/users', false],
    ['READ_ONLY', 'GET', '/api/v2/users', false],
    ['READ_ONLY', 'GET', '/oauth2/v1/clients', false],
    ['READ_ONLY', 'GET', '/', false],
    ['READ_ONLY', 'GET', secrets, false],
    ['READ_ONLY', 'GET', `${secrets}/ocs1`, false],
    ['READ_ONLY', 'GET', '/api/v1/eventHooks/who1', false],
    ['READ_ONLY', 'GET', '/api/v1/EVENTHOOKS', false],
    ['READ_ONLY', 'GET', '/api/v1/idps', false],
    ['READ_ONLY', 'GET', '/api/v1/logStreams/0oa1', false],
    ['READ_WRITE', 'POST', '/api/v1/users', true],
    ['READ_WRITE', 'DELETE', '/api/v1/groups/00g1/users/00u1', true],
    ['READ_WRITE', 'POST', '/api/v1/apps', false],
    ['READ_WRITE', 'POST', secrets, false],
    ['READ_WRITE', 'DELETE', '/api/v1/api-tokens/current', false],
    ['READ_WRITE', 'POST', '/api/v1/users/00u1/lifecycle/reset_password', false],
    ['USERS_AND_GROUPS_READ', 'GET', '/api/v1/groups/00g1/users', true],
    ['USERS_AND_GROUPS_READ', 'GET', '/api/v1/apps', false],
    ['USERS_AND_GROUPS_WRITE', 'PUT', '/api/v1/groups/00g1/users/00u1', true],
    ['USERS_AND_GROUPS_WRITE', 'POST', '/api/v1/users/00u1/roles', false],
    ['LOGS_READ', 'GET', '/api/v1/logs', true],
    ['LOGS_READ', 'GET', '/api/v1/users', false],
  ])('%s on %s %s: %s', (id, method, path, isAllowed) => {
    expect(decide(id, method, path)).toBe(isAllowed);
  });

  test('has only patterns that are valid', () => {
    for (const { path } of oktaUsePresets.flatMap(({ rules }) => rules)) {
      expect(compilePattern(path), path).not.toHaveProperty('reason');
    }
  });
});

describe('use policy of a connection', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.close());

  async function fresh() {
    const organisation = await server.newOrganisation();
    const { id } = await createConnectionOverRest(restClient(server.url, organisation.apiKey));
    return { ...organisation, id };
  }
  const read =
    'query ($id: UUID!) { appConnection(id: $id) { version usePolicy { version preset rules { effect methods path } } } }';
  const update = `mutation ($id: UUID!, $input: UpdateUsePolicyInput!) {
    updateUsePolicy(connectionId: $id, input: $input) { usePolicy { version preset rules { effect methods path } } }
  }`;
  const testRequest = `query ($id: UUID!, $method: UseMethod!, $path: String!) {
    testUsePolicy(connectionId: $id, method: $method, path: $path) { isAllowed path rulePosition rule { path } explanation }
  }`;

  test('is READ_ONLY at first, and is replaced by another preset or by rules', async () => {
    const { client, id } = await fresh();
    const before = await client.request(read, { id });
    expect(before).toMatchObject({
      appConnection: { version: 1, usePolicy: { version: 1, preset: 'READ_ONLY' } },
    });
    const preset = await client.request(update, { id, input: { preset: 'LOGS_READ' } });
    expect(preset).toEqual({
      updateUsePolicy: {
        usePolicy: {
          version: 2,
          preset: 'LOGS_READ',
          rules: [{ effect: 'ALLOW', methods: ['GET'], path: '/api/v1/logs' }],
        },
      },
    });
    const rules = [
      { effect: 'DENY', methods: null, path: '/api/v1/users/:id/roles/**' },
      { effect: 'ALLOW', methods: ['GET', 'POST'], path: '/api/v1/users/**' },
    ];
    await client.request(update, { id, input: { rules, version: 2 } });
    expect(await client.request(read, { id })).toEqual({
      appConnection: { version: 3, usePolicy: { version: 3, preset: null, rules } },
    });
    for (const [method, path, expected] of [
      ['POST', '/api/v1/users', { isAllowed: true, path: '/api/v1/users', rulePosition: 2 }],
      ['GET', '/api/v1/%75sers/me/', { isAllowed: true, path: '/api/v1/users/me' }],
      ['GET', '/api/v1/users/x/ROLES', { isAllowed: false, rulePosition: 1 }],
      ['DELETE', '/api/v1/users/x', { isAllowed: false, rulePosition: null, rule: null }],
    ] as const) {
      const tested = await client.request(testRequest, { id, method, path });
      expect(tested).toMatchObject({ testUsePolicy: expected });
    }
  });

  test('is tested before it is stored, over GraphQL and REST', async () => {
    const { apiKey, client, id } = await fresh();
    const testDraft = `query ($id: UUID!, $policy: UsePolicyInput) {
      testUsePolicy(connectionId: $id, method: POST, path: "/api/v1/users", policy: $policy) { isAllowed explanation }
    }`;
    const rules = [{ effect: 'ALLOW', methods: ['POST'], path: '/api/v1/users' }];
    const explanation = 'Rule 1 of the use policy allows POST on /api/v1/users.';
    expect(await client.request(testDraft, { id, policy: { rules } })).toEqual({
      testUsePolicy: { isAllowed: true, explanation },
    });
    const rest = restClient(server.url, apiKey);
    const path = `/api/v1/app-connections/okta/${id}/use-policy`;
    const request = { method: 'POST', path: '/api/v1/users' };
    expect((await rest('POST', `${path}/test`, { ...request, policy: { rules } })).body).toMatchObject({
      usePolicyTest: { isAllowed: true, explanation },
    });
    expect(await client.request(testDraft, { id })).toMatchObject({ testUsePolicy: { isAllowed: false } });
    expect((await rest('GET', path)).body).toMatchObject({ usePolicy: { version: 1, preset: 'READ_ONLY' } });
    await expect(
      client.request(testDraft, { id, policy: { rules: [{ effect: 'ALLOW', path: 'users' }] } }),
    ).rejects.toMatchObject({
      response: { errors: [{ extensions: { issues: [{ path: ['policy', 'rules', 0, 'path'] }] } }] },
    });
  });

  test('is audited, and is not changed by a policy that is the same', async () => {
    const { client, id } = await fresh();
    await client.request(update, { id, input: { preset: 'READ_ONLY' } });
    await client.request(update, { id, input: { preset: 'READ_WRITE' } });
    await client.request(update, { id, input: { preset: 'READ_WRITE' } });
    const trail = await client.request<{ auditEvents: { nodes: object[] } }>(
      '{ auditEvents(filter: { action: UPDATE_USE_POLICY }) { nodes { connectionId changedFields outcome } } }',
    );
    expect(trail.auditEvents.nodes).toEqual([
      { connectionId: id, changedFields: ['usePolicy'], outcome: 'OK' },
    ]);
  });

  test('is not overwritten by a caller that has read an earlier version', async () => {
    const { client, id } = await fresh();
    await client.request(update, { id, input: { preset: 'READ_WRITE', version: 1 } });
    await expect(
      client.request(update, { id, input: { preset: 'LOGS_READ', version: 1 } }),
    ).rejects.toMatchObject({
      response: { errors: [{ extensions: { code: 'VERSION_CONFLICT', currentVersion: 2 } }] },
    });
  });

  test('is the same over REST', async () => {
    const { apiKey, id } = await fresh();
    const rest = restClient(server.url, apiKey);
    const path = `/api/v1/app-connections/okta/${id}/use-policy`;
    expect((await rest('GET', path)).body).toMatchObject({ usePolicy: { version: 1, preset: 'READ_ONLY' } });
    const rules = [{ effect: 'ALLOW', path: '/api/v1/users/**' }];
    expect((await rest('PUT', path, { rules })).body).toEqual({
      usePolicy: { version: 2, preset: null, rules: [{ ...rules[0], methods: null }] },
    });
    const tested = await rest('POST', `${path}/test`, { method: 'PATCH', path: '/api/v1/users/x' });
    expect(tested.body).toMatchObject({ usePolicyTest: { isAllowed: true, rulePosition: 1 } });
  });

  test.each<[string, object, string[]]>([
    ['neither a preset nor rules', {}, ['input.preset']],
    ['a preset and rules', { preset: 'READ_ONLY', rules: [] }, ['input.preset']],
    ['a pattern with a group', { rules: [{ effect: 'ALLOW', path: '/(.*)' }] }, ['input.rules.0.path']],
    [
      'an empty list of methods',
      { rules: [{ effect: 'ALLOW', methods: [], path: '/a' }] },
      ['input.rules.0.methods'],
    ],
    ['51 rules', { rules: Array(51).fill({ effect: 'DENY', path: '/a' }) }, ['input.rules']],
  ])('is refused with %s', async (_, input, paths) => {
    const { client, id } = await fresh();
    const error = await client.request(update, { id, input }).catch((error: unknown) => error);
    const issues: { path: string[] }[] = Object(at(error, 'response', 'errors', 0, 'extensions', 'issues'));
    expect(issues.map(({ path }) => path.join('.'))).toEqual(paths);
  });

  test('names the path in the error of an ambiguous one', async () => {
    const { client, id } = await fresh();
    await expect(client.request(testRequest, { id, method: 'GET', path: '/a/../b' })).rejects.toMatchObject({
      response: { errors: [{ extensions: { code: 'BAD_USER_INPUT', issues: [{ path: ['path'] }] } }] },
    });
  });
});
