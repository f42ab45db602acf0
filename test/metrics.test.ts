import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { Secret } from '../src/common/secret.ts';
import { readConfig } from '../src/config/read-config.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { type Behaviour, json, startOkta, type TestOkta } from './testkit/okta.ts';
import { createConnection, createMutation, okta, presetMutation } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const token = 'scrape-scrape-scrape';
/** Of Debian's package prometheus. */
const promtool = '/usr/bin/promtool';

/** The fake Okta, which answers requests for groups with statuses that nobody has registered. */
const handleUnusually: Behaviour = (request, response) =>
  request.url?.startsWith('/api/v1/groups/')
    ? json({}, Number(request.url.slice(-3)))(request, response)
    : handleFakeOkta(request, response);

let server: TestServer;
let organisation: TestOrganisation;
let text: string;
let host: TestOkta;

const scrape = (authorization = `Bearer ${token}`) =>
  fetch(`${server.metricsUrl}`, { headers: { authorization } });

/** The value of a sample, whose name and labels are as in the text; 0 if it is missing. */
function readSample(sample: string): number {
  const line = text.split('\n').find((each) => each.startsWith(`${sample} `));
  return Number(line?.slice(sample.length + 1) ?? 0);
}

const countOf = (labels: string) => readSample(`app_connections_request_duration_seconds_count{${labels}}`);

beforeAll(async () => {
  host = await startOkta({ handler: handleUnusually });
  server = await startTestServer({
    config: {
      trustedInstanceHosts: new Set([host.hostPort]),
      metrics: { host: '127.0.0.1', port: 0, token: new Secret(token) },
    },
  });
  organisation = await server.newOrganisation();
  const { client, apiKey } = organisation;
  await client.request(createMutation, okta({ name: 'secret-name-of-a-connection' }));
  await client.request('query SomethingThatACallerChose { viewer { scopes } }');
  await errorsOf(client.request(createMutation, okta({}, { apiToken: 'revoked' })));
  const headers = { authorization: `Bearer ${apiKey}` };
  await (await fetch(`${server.url}/api/v1/app-connections`, { headers })).text();
  const { id } = await createConnection(organisation, { name: 'unusual' }, { instanceUrl: host.origin });
  await client.request(presetMutation, { id, preset: 'READ_ONLY' });
  for (const status of [460, 461, 462])
    await (
      await fetch(`${server.url}/api/v1/app-connections/okta/${id}/proxy/api/v1/groups/${status}`, {
        headers,
      })
    ).text();
  await (await fetch(`${server.url}/path-that-a-caller-chose`, { headers })).text();
  await (await fetch(`${server.url}/health/ready`)).text();
  // The response arrives before the request is measured.
  await until('the last request is measured', async () => {
    text = await (await scrape()).text();
    return countOf('surface="other",operation="other",outcome="HTTP_404"') === 1 || undefined;
  });
});
afterAll(async () => {
  await server.close();
  await host.close();
});

describe('metrics', () => {
  it('count requests by field or route and by outcome', () => {
    expect(countOf('surface="graphql",operation="createOktaConnection",outcome="OK"')).toBe(2);
    expect(countOf('surface="graphql",operation="createOktaConnection",outcome="CREDENTIALS_REJECTED"')).toBe(
      1,
    );
    expect(countOf('surface="graphql",operation="viewer",outcome="OK"')).toBe(1);
    expect(countOf('surface="rest",operation="GET /api/v1/app-connections",outcome="OK"')).toBe(1);
    expect(readSample('app_connections_request_database_seconds_count{surface="graphql"}')).toBe(5);
  });

  it('have nothing that a caller chooses, no probe, and no name or id of a tenant', () => {
    expect(text).not.toMatch(/caller-?chose|SomethingThatACallerChose|secret-name|health/i);
    expect(text).not.toContain(organisation.orgId);
    expect(text).not.toContain('Test organisation');
    expect(text).not.toMatch(/[0-9a-f]{8}-[0-9a-f]{4}-/);
  });

  it('have one series for all statuses of an app that nobody has registered', () => {
    expect(countOf('surface="proxy",operation="proxy",outcome="HTTP_4xx"')).toBe(3);
    expect(text).not.toContain('HTTP_46');
  });

  it('have requests to Okta, stored connections, the event loop, readiness and the version', () => {
    expect(readSample('app_connections_upstream_duration_seconds_count{outcome="2xx"}')).toBeGreaterThan(0);
    expect(readSample('app_connections_upstream_duration_seconds_count{outcome="4xx"}')).toBeGreaterThan(0);
    expect(readSample('app_connections_connections{app="okta",status="VERIFIED"}')).toBe(2);
    expect(readSample('app_connections_ready')).toBe(1);
    expect(text).toMatch(/^app_connections_build_info\{version="\d+\.\d+\.\d+"\} 1$/m);
    expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
    expect(text).toMatch(/^app_connections_database_oldest_transaction_seconds /m);
  });

  it('are all in docs/operations/metrics.md, and include those of the alert rules and the Grafana dashboard', () => {
    const names = new Set([...text.matchAll(/^# TYPE (app_connections_\w+)/gm)].map(([, name = '']) => name));
    expect(names.size).toBeGreaterThan(15);
    const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
    const docs = read('docs/operations/metrics.md');
    expect([...names].filter((name) => !docs.includes(`\`${name}\``))).toEqual([]);
    const used = ['prometheus/alerts.yaml', 'grafana/app-connections.json']
      .flatMap((file) => [...read(`deploy/${file}`).matchAll(/app_connections_\w+/g)])
      .map(([name]) => name.replace(/_(bucket|count|sum)$/, ''));
    expect(used.filter((name) => !names.has(name))).toEqual([]);
  });

  it.runIf(existsSync(promtool))('raise the alerts of deploy/prometheus as its tests say', () => {
    const cwd = new URL('../deploy/prometheus/', import.meta.url);
    const run = (...args: string[]) => execFileSync(promtool, args, { cwd, encoding: 'utf8' });
    expect(run('check', 'rules', '--lint-fatal', 'alerts.yaml')).toContain('SUCCESS');
    expect(run('test', 'rules', 'alerts.test.yaml')).toContain('SUCCESS');
  });

  it.runIf(testDatabaseUrl)('have the use of the pool', () => {
    expect(text).toMatch(/^app_connections_database_pool_connections\{state="idle"\} [1-9]/m);
    expect(text).toMatch(/^app_connections_database_pool_waiting \d+$/m);
  });

  it('are only at /metrics of their port, for scrapers with METRICS_TOKEN', async () => {
    for (const wrong of ['', 'Bearer wrong', `Bearer ${token}x`])
      expect((await scrape(wrong)).status).toBe(401);
    expect((await fetch(new URL('/graphql', server.metricsUrl))).status).toBe(404);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(404);
  });

  it('are off unless METRICS_PORT is set', async () => {
    expect(readConfig({}).metrics).toBeUndefined();
    expect(readConfig({ METRICS_PORT: '9464' }).metrics).toEqual({ host: '127.0.0.1', port: 9464 });
    expect(() => readConfig({ METRICS_TOKEN: token })).toThrow('METRICS_TOKEN needs METRICS_PORT');
    expect(() => readConfig({ METRICS_PORT: '4000' })).toThrow('METRICS_PORT must differ from PORT');
  });
});
