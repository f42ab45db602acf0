import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { scopes } from '../src/identity/caller.ts';
import { prepareFixture } from './testkit/fuzz/fixture.ts';
import { type HostileHosts, hostileHosts, startHostileHosts } from './testkit/fuzz/hostile-hosts.ts';
import { findLeak, fuzz, isIn } from './testkit/fuzz/run.ts';
import { restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

vi.setConfig({ testTimeout: 120_000 * times });

let hosts: HostileHosts;
let server: TestServer;
beforeAll(async () => {
  hosts = await startHostileHosts();
  server = await startTestServer({
    config: { trustedInstanceHosts: hosts.hostPorts },
    outbound: { lookup: hostileHosts, timeoutMs: 300 },
  });
});
afterAll(async () => {
  await server.close();
  await hosts.close();
});

const requests = 2_400 * times;

describe('fuzzing', () => {
  it(`${requests.toLocaleString('en')} hostile requests cause no internal error, secret leak or damage`, async () => {
    const organisation = await server.newOrganisation();
    const { projectId } = organisation;
    const apiKey = await organisation.newKey(scopes);
    const fixture = await prepareFixture(server.url, apiKey, projectId, hosts.origins);
    const schema = createSchema(createApps({ trustedHosts: new Set() }));
    const { violations, codes, statuses, successes } = await fuzz({
      ...{ url: server.url, fixture, schema },
      ...{ seed: 20_261_124, from: 0, to: requests },
    });
    expect(violations).toEqual([]);
    // The requests reach all kinds of errors, and some of each kind succeed.
    expect(Object.keys(codes)).toEqual(
      expect.arrayContaining([
        ...['BAD_USER_INPUT', 'UNAUTHENTICATED', 'NOT_FOUND', 'USE_DENIED'],
        ...['HOST_NOT_ALLOWED', 'NOT_AN_OKTA_ORG', 'UPSTREAM_UNREACHABLE', 'UPSTREAM_RATE_LIMITED'],
        ...['CREDENTIALS_REJECTED', 'INSUFFICIENT_PERMISSIONS'],
      ]),
    );
    const kinds = ['GraphQL', 'GraphQL over GET', 'REST', 'proxy', 'typed read', 'service app'];
    expect(Object.keys(successes)).toEqual(expect.arrayContaining(kinds));
    expect(statuses['200']).toBeGreaterThan(300);
    expect(hosts.asked().size).toBeGreaterThan(20);
    const { body } = await restClient(server.url, apiKey)('GET', '/api/v1/app-connections?limit=100');
    expect(body).toMatchObject({ appConnections: expect.any(Array) });

    const dump = await server.dump();
    expect(dump).toContain('fuzz-');
    expect(isIn(fixture.planted, dump)).toBe(false);
    expect(server.logs()).toContain('BAD_USER_INPUT');
    expect(isIn(fixture.planted, server.logs())).toBe(false);
    expect(server.logs()).not.toContain('unexpected error');
  });

  it('hostile upstream hosts cause no internal error and no leak of the token', async () => {
    const { apiKey, projectId } = await server.newOrganisation();
    const fixture = await prepareFixture(server.url, apiKey, projectId, hosts.origins);
    const rest = restClient(server.url, apiKey);
    const connections = '/api/v1/app-connections/okta';
    const behaves = async (instanceUrl: string, index: number) => {
      const credentials = { instanceUrl, apiToken: fixture.planted };
      const kept = {
        name: `behaves-${index}`,
        method: 'api-token',
        onUnreachable: 'SAVE_UNVERIFIED',
        credentials,
      };
      const responses = [
        await rest('POST', `${connections}/validate`, { credentials }),
        await rest('POST', connections, kept),
        await rest('GET', `${connections}/connection-name/behaves-${index}`),
      ];
      return responses.map(({ status, body }) => {
        const response = `HTTP/1.1 ${status} Any\r\n\r\n${JSON.stringify(body)}`;
        return [instanceUrl, findLeak(response, fixture)];
      });
    };
    const findings = await Promise.all(hosts.origins.map(behaves));
    expect(findings.flat().filter(([, wrong]) => wrong)).toEqual([]);
    expect(hosts.asked()).toEqual(new Set(hosts.behaviours));
    expect(isIn(fixture.planted, await server.dump())).toBe(false);
    expect(isIn(fixture.planted, server.logs())).toBe(false);
    expect(server.logs()).not.toContain('unexpected error');
  });

  it('the checks detect an internal error, a stack trace, SQL, a path or a secret in a response (self-check)', () => {
    const fixture = {
      apiKey: '',
      projectId: '',
      ids: [],
      names: [],
      hosts: [],
      planted: '00planted-planted-planted',
    };
    const response = (status: number, body: string) => `HTTP/1.1 ${status} Any\r\nx: y\r\n\r\n${body}`;
    expect(findLeak(response(200, '{}'), fixture)).toBeUndefined();
    expect(findLeak(response(503, '{"code":"UPSTREAM_UNREACHABLE"}'), fixture)).toBeUndefined();
    for (const wrong of [
      response(500, ''),
      response(503, '{"code":"RATE_LIMITED"}'),
      response(200, '{"code":"INTERNAL_SERVER_ERROR"}'),
      response(200, 'Error\n    at run (main.ts:1)'),
      response(200, 'duplicate key value violates unique constraint'),
      response(200, 'ENOENT /home/me/file'),
      response(200, fixture.planted),
      response(200, Buffer.from(`x${fixture.planted}`).toString('base64')),
      response(200, Buffer.from(fixture.planted).toString('hex')),
      response(200, [...fixture.planted].reverse().join('')),
      response(200, Buffer.from(fixture.planted).toString('hex').replaceAll(/../g, '%$&')),
    ]) {
      expect([wrong, findLeak(wrong, fixture)]).toEqual([wrong, expect.any(String)]);
    }
  });
});
