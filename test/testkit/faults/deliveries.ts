import { setTimeout as sleep } from 'node:timers/promises';
import { GraphQLClient } from 'graphql-request';
import { entities } from '../../../src/bootstrap/entities.ts';
import { createLog } from '../../../src/common/log.ts';
import { Secret } from '../../../src/common/secret.ts';
import { type Database, openDatabase } from '../../../src/database/database.ts';
import { lazyScopedEntityManager, ownerSession } from '../../../src/database/driver/session.ts';
import { toWebhookEventTypes } from '../../../src/webhooks/event-types.ts';
import { temporaryFolder, until } from '../process.ts';
import { rootKey } from '../root-key.ts';
import { createEndpoint, type ReceivedWebhook, startReceiver, verifyWebhook } from '../webhook-receiver.ts';
import { makeCluster } from './cluster.ts';
import { type KillCounts, killServersAndCluster, killUnderLoad } from './invariants.ts';
import { ServerProcesses } from './processes.ts';

/** Differences between the audit trail and the webhooks that a receiver has got. Every number must be 0. */
export interface DeliveryViolations {
  /** Events that the receiver has not got. */
  lost: number;
  /** Webhooks of events that are not in the trail. */
  invented: number;
  /** Events that were sent again with another `webhook-id`. */
  renamed: number;
  /** Webhooks that arrived before an earlier event of their connection. */
  outOfOrder: number;
  /** Connections that were due, and were not checked. */
  unchecked: number;
}

/** The kills, and what the receiver has got. */
export interface DeliveryReport {
  kills: KillCounts;
  seconds: number;
  /** From the last kill until all connections were checked and all events delivered. */
  secondsAfterwards: number;
  events: number;
  /** The events that are the result of a check. */
  checks: number;
  /** The webhooks, which are more than the events: a delivery whose result was not stored is repeated. */
  webhooks: number;
  findings: DeliveryViolations;
}

/** The connections that a check finds to work again, at a time. */
const failedAtOnce = 20;
/** The pause between two times, in milliseconds. */
const pauseMs = 500;
/** A check of a server that was killed is done by another one when its job expires, after 90 s at the latest. */
const settleMs = 300_000;

interface TrailEvent {
  seq: number;
  action: Parameters<typeof toWebhookEventTypes>[0]['action'];
  outcome: Parameters<typeof toWebhookEventTypes>[0]['outcome'];
  fields: string[];
  connectionId: string | null;
}

/**
 * Kills servers and PostgreSQL while clients change connections, connections are checked, and the events of both are delivered
 * as webhooks; and compares these with the audit trail afterwards.
 */
export async function crashDuringDeliveries(kills: KillCounts): Promise<DeliveryReport> {
  await using cluster = await makeCluster();
  await using receiver = await startReceiver();
  using folder = temporaryFolder();
  await using fleet = new ServerProcesses({
    ...{ DATABASE_URL: cluster.url, DATA_DIR: folder.path, ENCRYPTION_KEYS: rootKey('first') },
    ...{ OKTA_STAND_IN: 'on', TRUSTED_INSTANCE_HOSTS: receiver.hostPort },
  });
  await Promise.all([fleet.start(1), fleet.start(2)]);
  await using stack = new AsyncDisposableStack();
  const location = { kind: 'postgresql', url: new Secret(cluster.url) } as const;
  const database = await openDatabase(location, entities, createLog('silent'));
  stack.defer(() => database.close());
  const headers = { authorization: `Bearer ${fleet.apiKey}` };
  const client = new GraphQLClient(`${fleet.urls()[0]}/graphql`, { headers });
  const { secret } = await createEndpoint(client, { url: receiver.url });
  receiver.behave((webhook, response) => {
    // Receivers refuse signatures that are older than five minutes.
    verifyWebhook(secret, webhook);
    response.writeHead(204).end();
  });

  let isOver = false;
  const failing = (async () => {
    while (!isOver) {
      // PostgreSQL may be away.
      await failConnections(database).catch(() => undefined);
      await sleep(pauseMs);
    }
  })();
  const { seconds } = await killUnderLoad(fleet, killServersAndCluster(fleet, cluster, kills));
  isOver = true;
  await failing;
  const settling = performance.now();
  await until('all is checked and delivered', () => findUnsettled(database), settleMs).catch(() => undefined);
  const secondsAfterwards = (performance.now() - settling) / 1_000;
  const trail = await readTrail(database);
  const events = trail.flatMap((event) => toWebhookEventTypes(event).map((type) => ({ ...event, type })));
  return {
    ...{ kills, seconds, secondsAfterwards },
    events: events.length,
    checks: events.filter(({ action }) => action === 'CHECK_CONNECTION').length,
    webhooks: receiver.received.length,
    findings: {
      ...compareWebhooks(
        events.map(({ seq, type }) => `${seq} ${type}`),
        receiver.received,
      ),
      unchecked: await countUnchecked(database),
    },
  };
}

const asOwner = (database: Database) => lazyScopedEntityManager(() => database.asSystem(), ownerSession);

/** Makes some connections due for a check, as ones that did not work at the last. */
async function failConnections(database: Database): Promise<void> {
  await asOwner(database).execute(
    `update app_connection set verification_status = 'UNREACHABLE', failing_since = now(), next_check_at = now()
      where id in (select id from app_connection where verification_status = 'VERIFIED' order by random() limit ?)`,
    [failedAtOnce],
  );
}

async function countUnchecked(database: Database): Promise<number> {
  const [{ count }] = await asOwner(database).execute<[{ count: number }]>(
    `select count(*)::int as count from app_connection where verification_status <> 'VERIFIED'`,
  );
  return count;
}

/** Returns true once all connections are checked and all events delivered. */
async function findUnsettled(database: Database): Promise<true | undefined> {
  if ((await countUnchecked(database)) > 0) return undefined;
  const [{ isSettled }] = await asOwner(database).execute<[{ isSettled: boolean }]>(
    `select not exists (select from webhook_message where status <> 'DELIVERED')
        and not exists (select from webhook_endpoint join audit_head using (org_id) where position < seq) as "isSettled"`,
  );
  return isSettled || undefined;
}

function readTrail(database: Database): Promise<TrailEvent[]> {
  return asOwner(database).execute<TrailEvent[]>(
    `select seq, action, outcome, fields, connection_id as "connectionId" from audit_event order by seq`,
  );
}

/**
 * Compares the webhooks of a receiver, in the order of their arrival, with the events.
 *
 * @param events the sequence number and the type of each event
 */
export function compareWebhooks(
  events: readonly string[],
  received: readonly Pick<ReceivedWebhook, 'headers' | 'event'>[],
): Omit<DeliveryViolations, 'unchecked'> {
  const expected = new Set(events);
  const ids = new Map<string, string>();
  const newest = new Map<string, number>();
  const findings = { lost: 0, invented: 0, renamed: 0, outOfOrder: 0 };
  for (const { headers, event } of received) {
    const { seq, connection } = event.data;
    const name = `${seq} ${event.type}`;
    const id = `${headers['webhook-id']}`;
    const known = ids.get(name);
    if (!expected.has(name)) findings.invented += 1;
    if (known !== undefined) {
      if (known !== id) findings.renamed += 1;
      continue;
    }
    ids.set(name, id);
    if (!connection) continue;
    if (Number(seq) < (newest.get(connection.id) ?? 0)) findings.outOfOrder += 1;
    newest.set(connection.id, Number(seq));
  }
  findings.lost = events.filter((name) => !ids.has(name)).length;
  return findings;
}
