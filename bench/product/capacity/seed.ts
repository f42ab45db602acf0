import type { RecordedEvent } from '../../../src/audit/hash-chain.ts';
import { firstOrganisationId, firstProjectId } from '../../../src/identity/organisations.ts';
import { withClient } from '../../peers/databases.ts';
import type { Fixture, Running } from '../../peers/fixture.ts';
import { addEvents } from '../add-events.ts';

/** Connections in a project and with tags, and as many of them that are deleted. */
const taggedCount = 200;
const deletedCount = 20;
const keyCount = 20;
const concurrentRequests = 8;
/** The events of the organisation, with those of what the product did for it. */
const eventsOfOrganisation = 5_000;

/** What the verifications, the use and the changes of a connection write to the trail. */
const eventKinds: Partial<RecordedEvent>[] = [
  {},
  { action: 'UPDATE_CONNECTION', fields: ['description'] },
  { action: 'USE_CONNECTION', fields: [], targetName: 'POST /api/v1/users 201' },
  { action: 'VERIFY_CONNECTION', outcome: 'UPSTREAM_UNREACHABLE', fields: [] },
];

/** The names of the connections that the product creates here. */
const nameOf = (index: number) => `capacity-${String(index).padStart(4, '0')}`;

/**
 * Gives the first organisation, by requests, what an organisation has beside connections: tags, projects, deleted connections, API
 * keys, a webhook endpoint, a setup link and usage. It has a thousand connections. SQL adds what servers write in months: usage, the
 * history of the status, and columns that no MAC covers. The connections of the other organisations of the fixture are removed.
 */
export async function seedOrganisation(fixture: Fixture, database: string): Promise<void> {
  const ids = fixture.ids.slice(0, -taggedCount);
  await withClient(database, (client) =>
    client.query('delete from app_connection where org_id <> $1 or name >= $2', [
      firstOrganisationId,
      `seed-${String(ids.length).padStart(4, '0')}`,
    ]),
  );
  {
    await using server = await fixture.serve('seed', database);
    const tagged = await createTagged(fixture, server);
    for (const id of tagged.slice(0, deletedCount))
      await send(server, 'DELETE', `/api/v1/app-connections/okta/${id}`);
    for (let index = 0; index < keyCount; index += 1)
      await send(server, 'POST', '/api/v1/api-keys', { name: `Key ${index}`, scopes: ['connections:read'] });
    await send(server, 'POST', '/api/v1/webhook-endpoints', { url: `${fixture.oktaUrl}/webhooks` });
    await send(server, 'POST', `/api/v1/app-connections/okta/${tagged.at(-1)}/setup-links`, {});
    await send(server, 'GET', `/api/v1/app-connections/okta/${ids[0]}/proxy/api/v1/users/me`);
  }
  const environment = { ...fixture.settings, DATABASE_URL: database };
  const added = await withClient(database, async (client) => {
    for (const statement of history) await client.query(statement);
    const { rows } = await client.query<{ seq: number }>('select seq from audit_head where org_id = $1', [
      firstOrganisationId,
    ]);
    return eventsOfOrganisation - (rows[0]?.seq ?? 0);
  });
  await addEvents({ database, environment }, { ids }, added, eventKinds);
  await withClient(database, async (client) => {
    await client.query(`update webhook_endpoint set position = seq from audit_head
      where audit_head.org_id = webhook_endpoint.org_id`);
    await client.query('vacuum (freeze, analyze)');
  });
}

const measured = `'${firstOrganisationId}'`;
const hourStart = (ago: string) => `date_trunc('hour', now(), 'UTC') - make_interval(hours => ${ago})`;

const history: readonly string[] = [
  `update app_connection set next_check_at = now() + interval '12 hours' * (1 + random())`,
  // One in twenty does not answer, and one in twenty is rejected.
  `update app_connection set verification_status = 'UNREACHABLE', verification_code = 'UPSTREAM_UNREACHABLE',
    failing_since = now() - interval '1 hour' where name like 'seed-%5' and name not like 'seed-__5_'`,
  `update app_connection set verification_status = 'REJECTED', verification_code = 'CREDENTIALS_REJECTED',
    failing_since = now() - interval '1 day' where name like 'seed-_3_7'`,
  // The first connection was used in every hour of 90 days, the others in one.
  `insert into connection_usage select org_id, connection_id, ${hourStart('ago')}, outcome, status_class, calls, bytes_up,
      bytes_down, durations from connection_usage cross join generate_series(2, 2159) ago on conflict do nothing`,
  `insert into connection_usage_caller (org_id, connection_id, hour, caller, label, calls, failed_calls, bytes_up, bytes_down, last_used_at)
    select org_id, connection_id, ${hourStart('ago')}, caller, label, calls, failed_calls, bytes_up, bytes_down, ${hourStart('ago')}
    from connection_usage_caller cross join generate_series(2, 2159) ago on conflict do nothing`,
  ...['connection_usage', 'connection_usage_caller'].map(
    (
      table,
    ) => `insert into ${table} select (jsonb_populate_record(null::${table}, to_jsonb(used) || jsonb_build_object('connection_id', c.id))).*
      from app_connection c cross join (select * from ${table} order by hour desc limit 1) used where c.org_id = ${measured}
      on conflict do nothing`,
  ),
  ...['connection_last_use', 'rate_budget'].map(
    (
      table,
    ) => `insert into ${table} select (jsonb_populate_record(null::${table}, to_jsonb(used) || jsonb_build_object('connection_id', c.id))).*
      from app_connection c cross join (select * from ${table} limit 1) used where c.org_id = ${measured}
      on conflict do nothing`,
  ),
  `insert into webhook_message (id, org_id, endpoint_id, seq, type, occurred_at, body, created_at, status, attempts, next_attempt_at, log, mac)
    select gen_random_uuid(), org_id, id, ago, 'connection.updated', now(), repeat('x', 600), now() - make_interval(hours => ago), 'DELIVERED',
      1, now(), '[]', '' from webhook_endpoint cross join generate_series(1, 100) ago`,
  // Their windows are over.
  `update rate_budget set expire = expire - 3600000 - (random() * 80000000)::bigint`,
];

async function createTagged({ oktaUrl }: Fixture, server: Running<string>): Promise<string[]> {
  const ids: string[] = [];
  let next = 0;
  const work = async () => {
    for (let index = next++; index < taggedCount; index = next++) {
      const { appConnection } = await send(server, 'POST', '/api/v1/app-connections/okta', {
        name: nameOf(index),
        description: 'A connection with tags.',
        method: 'api-token',
        projectId: firstProjectId,
        tags: [
          { key: 'team', value: `team-${index % 10}` },
          { key: 'stage', value: index % 2 ? 'test' : 'production' },
        ],
        credentials: { instanceUrl: oktaUrl, apiToken: `token-${index}` },
      });
      ids.push(appConnection.id);
    }
  };
  await Promise.all(Array.from({ length: concurrentRequests }, work));
  return ids;
}

async function send({ url, headers }: Running<string>, method: string, path: string, body?: object) {
  const response = await fetch(url + path, { method, headers, ...(body && { body: JSON.stringify(body) }) });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`);
  return text ? JSON.parse(text) : undefined;
}
