import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { createSchema } from '../src/graphql/schema.ts';
import { nowhere, prepareGround } from './testkit/fuzz/ground.ts';
import { fuzz, isIn, wrongWith } from './testkit/fuzz/run.ts';
import { restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 120_000 });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({ outbound: { lookup: nowhere } });
});
afterAll(() => server.close());

test('2,000 hostile requests bring to light neither a fault nor a secret, and do no harm', async () => {
  const { apiKey, projectId } = await server.newOrganisation();
  const ground = await prepareGround(server.url, apiKey, projectId);
  const schema = createSchema(createApps({ trustedHosts: new Set() }));
  const { violations, codes, statuses } = await fuzz({
    ...{ url: server.url, ground, schema },
    ...{ seed: 20_261_124, from: 0, to: 2_000 },
  });
  expect(violations).toEqual([]);
  // That they come far enough to be refused for reasons of all kinds, and that some are carried out.
  for (const code of [
    'BAD_USER_INPUT',
    'UNAUTHENTICATED',
    'NOT_FOUND',
    'HOST_NOT_ALLOWED',
    'CREDENTIALS_REJECTED',
  ]) {
    expect([code, codes[code] ?? 0]).toEqual([code, expect.toSatisfy((count) => count > 0)]);
  }
  expect(statuses['200']).toBeGreaterThan(300);
  const { body } = await restClient(server.url, apiKey)('GET', '/api/v1/app-connections?limit=100');
  expect(body).toMatchObject({ appConnections: expect.any(Array) });

  const dump = await server.dump();
  expect(dump).toContain('fuzz-');
  expect(isIn(ground.planted, dump)).toBe(false);
  expect(server.logs()).toContain('BAD_USER_INPUT');
  expect(isIn(ground.planted, server.logs())).toBe(false);
  expect(server.logs()).not.toContain('unexpected error');
});

test('a fault, a stack, SQL, a path or a secret in an answer would be seen', () => {
  const ground = { apiKey: '', projectId: '', ids: [], names: [], planted: '00planted-planted-planted' };
  const answer = (status: number, body: string) => `HTTP/1.1 ${status} Any\r\nx: y\r\n\r\n${body}`;
  expect(wrongWith(answer(200, '{}'), ground)).toBeUndefined();
  expect(wrongWith(answer(503, '{"code":"UPSTREAM_UNREACHABLE"}'), ground)).toBeUndefined();
  for (const wrong of [
    answer(500, ''),
    answer(503, '{"code":"RATE_LIMITED"}'),
    answer(200, '{"code":"INTERNAL_SERVER_ERROR"}'),
    answer(200, 'Error\n    at run (main.ts:1)'),
    answer(200, 'duplicate key value violates unique constraint'),
    answer(200, 'ENOENT /home/me/file'),
    answer(200, ground.planted),
    answer(200, Buffer.from(`x${ground.planted}`).toString('base64')),
    answer(200, Buffer.from(ground.planted).toString('hex')),
  ]) {
    expect([wrong, wrongWith(wrong, ground)]).toEqual([wrong, expect.any(String)]);
  }
});
