import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { type Behaviour, startOkta, type TestOkta } from './testkit/okta.ts';
import { createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

let okta: TestOkta;
let server: TestServer;
let organisation: TestOrganisation;

beforeAll(async () => {
  okta = await startOkta();
  server = await startTestServer({ config: { trustedInstanceHosts: new Set([okta.hostPort]) } });
  organisation = await server.newOrganisation();
});
afterAll(async () => {
  await server.close();
  await okta.close();
});

let connections = 0;
/** Creates a connection to an Okta that behaves in this way from then on. */
async function connectTo(behaviour: Behaviour): Promise<string> {
  connections += 1;
  okta.behave(handleFakeOkta);
  const { id } = await createConnectionOverRest(restClient(server.url, organisation.apiKey), {
    name: `connection-${connections}`,
    credentials: { instanceUrl: okta.origin, apiToken: 'a-good-token' },
  });
  okta.behave(behaviour);
  return id;
}

function use(id: string, path: string, init: RequestInit = {}, at = server): Promise<Response> {
  const headers = { authorization: `Bearer ${organisation.apiKey}` };
  return fetch(`${at.url}/api/v1/app-connections/okta/${id}/proxy${path}`, { headers, ...init });
}

interface Usage {
  lastUsedAt: string | null;
  lastUsedBy: { keyId: string | null; subject: string | null; name: string | null } | null;
  usage: {
    total: Counts;
    buckets: { start: string; counts: Counts }[];
    callers: { caller: { keyId: string; name: string } | null; calls: number; failedCalls: number }[];
  };
}
interface Counts {
  calls: number;
  outcomes: { outcome: string; calls: number }[];
  statusClasses: { statusClass: number | null; calls: number }[];
  p50Ms: number | null;
  p99Ms: number | null;
  bytesUp: number;
  bytesDown: number;
}

async function readUsage(id: string, { client } = organisation): Promise<Usage> {
  const { appConnection } = await client.request<{ appConnection: Usage }>(
    `query ($id: UUID!) { appConnection(id: $id) {
      lastUsedAt lastUsedBy { keyId subject name }
      usage {
        total { ...counts }
        buckets { start counts { ...counts } }
        callers { caller { keyId subject name } calls failedCalls bytesUp bytesDown }
      }
    } }
    fragment counts on UsageCounts {
      calls outcomes { outcome calls } statusClasses { statusClass calls } p50Ms p99Ms bytesUp bytesDown
    }`,
    { id },
  );
  return appConnection;
}

describe('the usage of a connection', () => {
  it('counts calls by outcome, class of status and caller, with their bytes and durations', async () => {
    const id = await connectTo((request, response) => {
      response.statusCode = request.url?.includes('missing') ? 404 : 200;
      response.end('x'.repeat(1_000));
    });
    expect((await readUsage(id)).lastUsedAt).toBe(null);
    for (const path of ['/api/v1/users', '/api/v1/users', '/api/v1/missing', '/oauth2/v1/keys'])
      await (await use(id, path)).text();
    const { usage, lastUsedAt, lastUsedBy } = await readUsage(id);
    expect(usage.total).toMatchObject({
      calls: 4,
      outcomes: [
        { outcome: 'OK', calls: 3 },
        { outcome: 'USE_DENIED', calls: 1 },
      ],
      statusClasses: [
        { statusClass: null, calls: 1 },
        { statusClass: 2, calls: 2 },
        { statusClass: 4, calls: 1 },
      ],
      bytesUp: 0,
      bytesDown: 3_000,
    });
    expect(usage.total.p50Ms).toBeGreaterThan(0);
    expect(usage.total.p99Ms).toBeGreaterThanOrEqual(usage.total.p50Ms ?? 0);
    expect(usage.buckets).toHaveLength(24);
    expect(usage.buckets.reduce((sum, { counts }) => sum + counts.calls, 0)).toBe(4);
    expect(usage.callers).toMatchObject([{ caller: { name: expect.any(String) }, calls: 4, failedCalls: 1 }]);
    expect(lastUsedBy?.keyId).toBe(usage.callers[0]?.caller?.keyId);
    expect(Date.now() - Date.parse(lastUsedAt ?? '')).toBeLessThan(60_000);
  });
});
