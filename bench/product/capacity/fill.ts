import { createOrganisation } from '../../../src/administration/organisations.ts';
import { AuditHead } from '../../../src/audit/audit-event.entity.ts';
import { generateApiKey } from '../../../src/auth/api-keys.ts';
import type { Stores } from '../../../src/bootstrap/stores.ts';
import { firstOrganisationId } from '../../../src/identity/organisations.ts';
import { otherColumns, withClient } from '../../peers/databases.ts';

const organisationsPerTransaction = 50;

/**
 * Fills a database with organisations. The product creates them, with their keys and the ends of their trails. SQL copies the rows of
 * the first organisation to each of them, which no server can decrypt or verify.
 *
 * @param organisations the number of organisations afterwards
 * @param report is called with the duration of each step
 */
export async function fillDatabase(
  url: string,
  stores: Stores,
  organisations: number,
  report: (step: string) => void,
): Promise<void> {
  await addOrganisations(stores, organisations);
  report('organisations');
  await withClient(url, async (client) => {
    // Neither triggers nor foreign keys, which read the rows again.
    await client.query('set session_replication_role = replica');
    const others = await otherColumns(client, 'id', 'org_id', 'project_id', 'data_key_id', 'next_check_at');
    for (const [step, statement] of statements(others)) {
      await client.query(statement, statement.includes('$1') ? [firstOrganisationId] : []);
      report(step);
    }
  });
  await moveHeads(stores);
  report('ends of trails');
  await withClient(url, async (client) => {
    await client.query('drop table filler');
    await client.query('vacuum (freeze, analyze)');
  });
  report('vacuum');
}

async function addOrganisations({ database, vault }: Stores, count: number): Promise<void> {
  const [{ existing }] = await database
    .asSystem()
    .execute<[{ existing: number }]>('select count(*)::int - 1 as existing from organisation');
  for (let added = existing; added < count; ) {
    const batch = Math.min(organisationsPerTransaction, count - added);
    await database.asSystem().transactional(async (em) => {
      for (let index = 0; index < batch; index += 1) {
        const name = `Filler ${added + index}`;
        const organisation = { name, projectName: name, administratorKey: generateApiKey() };
        await createOrganisation(em, { database, vault }, organisation);
      }
    });
    added += batch;
  }
}

/** The end of each trail that was filled, as a server would have signed it, so that servers append to it. */
async function moveHeads({ database, vault }: Stores): Promise<void> {
  const em = database.asSystem();
  const macs = await vault.rowMacs(em);
  const ends = await em.execute<{ orgId: string; seq: number; hash: string }[]>(
    `select id as "orgId", seq, hash from filler cross join lateral (select seq, hash from audit_event
      where org_id = filler.id order by seq desc limit 1) as last`,
  );
  for (const { orgId, seq, hash } of ends) {
    const status = { disabledAt: null, deleteAt: null, deletionStartedAt: null };
    const { mac } = macs.signed(em, AuditHead, { orgId, seq, hash, ...status });
    await em.nativeUpdate(AuditHead, { orgId }, { seq, hash, mac });
  }
}

/** A connection of an organisation that is a copy of `c`. */
const copiedId = (row: string) => `md5(filler.id::text || ${row}::text)::uuid`;

function statements(connectionColumns: string): [step: string, statement: string][] {
  const ofFirst = `where c.org_id = $1`;
  const copied = (table: string, columns: string) =>
    `insert into ${table} select (jsonb_populate_record(c, jsonb_build_object('org_id', filler.id, ${columns}))).*
      from filler cross join ${table} c ${ofFirst}`;
  return [
    [
      'list of organisations',
      `create table filler as select o.id, k.id as data_key_id, p.id as project_id from organisation o
        join data_key k on k.org_id = o.id and k.purpose = 'SEAL' and k.retired_at is null
        join project p on p.org_id = o.id where o.id <> '${firstOrganisationId}'`,
    ],
    ['', 'grant select on filler to app_connections_system'],
    [
      'connections',
      `insert into app_connection (id, org_id, project_id, data_key_id, next_check_at, ${connectionColumns})
        select ${copiedId('c.id')}, filler.id, case when c.project_id is not null then filler.project_id end, filler.data_key_id,
          now() + interval '12 hours' * (1 + random()), ${connectionColumns}
        from filler cross join app_connection c ${ofFirst}`,
    ],
    [
      'tags',
      `insert into connection_tag select filler.id, ${copiedId('c.connection_id')}, c.key, c.value
        from filler cross join connection_tag c ${ofFirst}`,
    ],
    [
      'events',
      `insert into audit_event (org_id, seq, at, action, key_id, connection_id, project_id, connection_name, address, request_id,
          outcome, fields, previous_hash, hash, subject, api_key_id, target_name, count, setup_link_id)
        select filler.id, seq, now() + make_interval(secs => seq / 1000.0), action, key_id, ${copiedId('connection_id')}, filler.project_id,
          connection_name, address, request_id, outcome, fields, previous_hash, hash, subject, api_key_id, target_name, count, setup_link_id
        from filler cross join audit_event c ${ofFirst} and seq > 1`,
    ],
    [
      'usage',
      `insert into connection_usage select filler.id, ${copiedId('c.connection_id')}, hour - make_interval(hours => ago), outcome,
          status_class, calls, bytes_up, bytes_down, durations
        from filler cross join (select distinct on (connection_id) * from connection_usage c ${ofFirst} order by connection_id, hour desc) c
          cross join generate_series(0, 24, 24) ago`,
    ],
    [
      'usage of callers',
      `insert into connection_usage_caller (org_id, connection_id, hour, caller, calls, failed_calls, bytes_up, bytes_down, label, last_used_at)
        select filler.id, ${copiedId('c.connection_id')}, hour - make_interval(hours => ago), caller, calls, failed_calls, bytes_up,
          bytes_down, label, last_used_at
        from filler cross join (select distinct on (connection_id) * from connection_usage_caller c ${ofFirst} order by connection_id, hour desc) c
          cross join generate_series(0, 24, 24) ago`,
    ],
    ...['connection_last_use', 'rate_budget'].map((table): [string, string] => [
      table,
      copied(table, `'connection_id', ${copiedId('c.connection_id')}`),
    ]),
    [
      'rate limits',
      `insert into rate_limit select 'caller ' || filler.id || ' key:' || gen_random_uuid(), 1,
          (extract(epoch from now()) * 1000)::bigint + 3600000 from filler cross join generate_series(1, 100)`,
    ],
    [
      'history of the status',
      `insert into connection_status_history (org_id, connection_id, since, until, status, code)
        select org_id, id, now() - make_interval(days => 2 * n), now() - make_interval(days => n), 'VERIFIED', null
        from app_connection cross join generate_series(1, 2) n where verification_status <> 'VERIFIED'`,
    ],
    ['API keys', copied('api_key', `'id', gen_random_uuid(), 'hash', gen_random_uuid()`)],
    [
      'webhook endpoints',
      copied('webhook_endpoint', `'id', ${copiedId('c.id')}, 'data_key_id', filler.data_key_id`),
    ],
    [
      'webhook messages',
      copied('webhook_message', `'id', gen_random_uuid(), 'endpoint_id', ${copiedId('c.endpoint_id')}`),
    ],
    [
      'setup links',
      copied(
        'connection_setup_link',
        `'id', gen_random_uuid(), 'hash', gen_random_uuid(), 'connection_id', ${copiedId('c.connection_id')}`,
      ),
    ],
  ];
}
