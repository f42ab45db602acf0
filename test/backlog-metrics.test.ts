import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { createConnection, presetMutation } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { createEndpoint } from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** The requests that Okta allows in a window, of which a connection may use half. */
const limits: Readonly<Record<string, number>> = { '/api/v1/groups': 2, '/api/v1/apps': 100 };
/** The seconds for which it refuses further requests. */
const refusals: Readonly<Record<string, string>> = { '/api/v1/logs': '600', '/api/v1/users': '50' };

let host: TestOkta;
/** It does not look for checks and messages that are due, so that they stay so. */
let server: TestServer;
let organisation: TestOrganisation;
let connectionId: string;

/** A scrape: the values of its samples by name and labels. */
async function scrape(): Promise<Readonly<Record<string, number>>> {
  const text = await (await fetch(`${server.metricsUrl}`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith('app_connections_'));
  return Object.fromEntries(
    lines.map((line) => {
      const [, sample = '', value] = /^(.*) (\S+)$/.exec(line) ?? [];
      return [sample, Number(value)];
    }),
  );
}

/** Sends a request through the connection. */
async function use(path: string, headers: Record<string, string> = {}, signal?: AbortSignal) {
  const url = `${server.url}/api/v1/app-connections/okta/${connectionId}/proxy${path}`;
  const init = { headers: { authorization: `Bearer ${organisation.apiKey}`, ...headers } };
  const response = await fetch(url, { ...init, ...(signal && { signal }) });
  await response.text();
  return response.status;
}

const execute = (sql: string, ...params: unknown[]) => server.asOwner().execute(sql, params);

beforeAll(async () => {
  const reset = String(Math.floor(Date.now() / 1_000) + 3_000);
  host = await startOkta({
    handler: (request, response) => {
      const path = request.url?.split('?', 1)[0] ?? '';
      const limit = limits[path];
      if (limit) {
        response.setHeader('x-rate-limit-limit', String(limit));
        response.setHeader('x-rate-limit-remaining', String(limit - 1));
        response.setHeader('x-rate-limit-reset', reset);
      }
      const retryAfter = refusals[path];
      if (!retryAfter) return handleFakeOkta(request, response);
      response.writeHead(429, { 'retry-after': retryAfter }).end('{}');
    },
  });
  server = await startTestServer({
    config: {
      trustedInstanceHosts: new Set([host.hostPort]),
      metrics: { host: '127.0.0.1', port: 0, token: undefined },
    },
  });
  organisation = await server.newOrganisation();
  const { client, orgId } = organisation;
  const { id } = await createConnection(organisation, { name: 'used' }, { instanceUrl: host.origin });
  connectionId = id;
  await client.request(presetMutation, { id, preset: 'READ_ONLY' });

  // One check of each of two organisations is due, and one of a host that does not answer is not.
  const another = await server.newOrganisation();
  const { id: ofAnother } = await createConnection(another, { name: 'late' });
  const { id: unreachable } = await createConnection(another, { name: 'down' }, { instanceUrl: host.origin });
  await execute(`update app_connection set next_check_at = now() - interval '10 minutes' where id = ?`, id);
  await execute(
    `update app_connection set next_check_at = now() - interval '2 hours' where id = ?`,
    ofAnother,
  );
  await execute(
    `update app_connection set next_check_at = now() - interval '9 days' where id = ?`,
    unreachable,
  );
  await execute(
    `insert into host_outage values (?, ?, now(), now(), now() + interval '1 hour', 'down')`,
    another.orgId,
    host.origin,
  );

  // Of three endpoints, one works, one fails, and one is disabled.
  const test = 'mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }';
  const [, failing, disabled] = await Promise.all(
    ['working', 'failing', 'disabled'].map(async (path) => {
      const endpoint = await createEndpoint(client, { url: `https://example.com/${path}` });
      await client.request(test, { id: endpoint.id });
      return endpoint.id;
    }),
  );
  await client.request(test, { id: failing });
  await execute(
    `update webhook_endpoint set position = (select seq from audit_head where org_id = ?)`,
    orgId,
  );
  await execute(`update webhook_endpoint set failing_since = now() where id = ?`, failing);
  await execute(
    `update webhook_message set occurred_at = now() - interval '3 hours' where endpoint_id = ?`,
    failing,
  );
  await client.request(
    'mutation ($id: UUID!) { updateWebhookEndpoint(id: $id, input: { enabled: false }) { endpoint { id } } }',
    { id: disabled },
  );
});
afterAll(async () => {
  await server.close();
  await host.close();
});

describe('metrics of backlogs', () => {
  it('count the checks that are due, the webhooks and the rate budgets of all organisations', async () => {
    expect([await use('/api/v1/apps'), await use('/api/v1/logs')]).toEqual([200, 429]);
    expect(await use('/api/v1/logs')).toBe(503);
    // Some requests are sent before the server knows the limit.
    await until('the share is spent', async () => (await use('/api/v1/groups')) === 503 || undefined);
    expect(await use('/api/v1/logs')).toBe(503);

    const found = await scrape();
    expect(found).toMatchObject({
      app_connections_checks_due: 2,
      'app_connections_webhook_endpoints{state="working"}': 1,
      'app_connections_webhook_endpoints{state="failing"}': 1,
      'app_connections_webhook_endpoints{state="disabled"}': 1,
      'app_connections_webhook_waiting_messages{state="working"}': 1,
      'app_connections_webhook_waiting_messages{state="failing"}': 2,
      'app_connections_rate_budgets{left="spent"}': 1,
      'app_connections_rate_budgets{left="blocked"}': 1,
      'app_connections_rate_budgets{left="open"}': 1,
      'app_connections_rate_budgets{left="low"}': 0,
      'app_connections_rate_budget_refusals_total{reason="spent"}': 1,
      'app_connections_rate_budget_refusals_total{reason="blocked"}': 2,
      'app_connections_rate_budget_refusals_total{reason="queue_full"}': 0,
      app_connections_rate_budget_waiting_requests: 0,
    });
    const seconds = (sample: string) => found[`app_connections_${sample}`] ?? 0;
    expect(seconds('checks_lateness_seconds')).toBeGreaterThanOrEqual(2 * 3_600);
    expect(seconds('checks_lateness_seconds')).toBeLessThan(24 * 3_600);
    expect(seconds('webhook_oldest_waiting_seconds{state="failing"}')).toBeGreaterThanOrEqual(3 * 3_600);
    expect(seconds('webhook_oldest_waiting_seconds{state="working"}')).toBeLessThan(3_600);
    expect(found).not.toHaveProperty([`app_connections_webhook_waiting_messages{state="disabled"}`]);
  });

  it('count the requests that wait for a rate budget', async () => {
    const leaving = new AbortController();
    expect(await use('/api/v1/users')).toBe(429);
    const waiting = use('/api/v1/users', { prefer: 'wait=65' }, leaving.signal);
    const readWaiting = async () => (await scrape()).app_connections_rate_budget_waiting_requests;
    await until('a request waits', async () => (await readWaiting()) === 1 || undefined);
    leaving.abort();
    await expect(waiting).rejects.toThrow('aborted');
    await until('none waits', async () => (await readWaiting()) === 0 || undefined);
  });

  it('are read from the database once for many scrapes', async () => {
    const scrapes = await Promise.all(Array.from({ length: 10 }, scrape));
    const lateness = scrapes.map((each) => each.app_connections_checks_lateness_seconds);
    expect(lateness[0]).toBeGreaterThan(0);
    expect(new Set(lateness).size).toBe(1);
  });
});
