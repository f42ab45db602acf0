import { randomUUID } from 'node:crypto';
import { currentTime } from '../common/clock.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { type Tracer, tracedRoot } from '../common/tracing.ts';
import { inBackground } from '../database/driver/background-work.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import type { Schedule } from '../jobs/schedule.ts';
import { deliverMessages } from './deliver.ts';
import type { DeliveryDeps } from './deliver-digest.ts';

/** The most endpoints of an organisation to which a server delivers at a time. */
const maxOfOrganisation = 4;
const maxFound = 500;
/** How long the server waits for further changes before it looks for their events, in milliseconds. */
const settleMs = 20;

/** An endpoint to which this server delivers. */
interface RunningDelivery {
  orgId: string;
  /** Whether the organisation has changed since the delivery looked for events. */
  isWoken: boolean;
  end: Promise<void>;
}

/**
 * Delivers the messages of all webhook endpoints: after each change, and at an interval. All servers look for endpoints with
 * something to send; a lease gives each to one of them. The endpoints of an organisation wait for each other, and for nobody
 * else's (docs/adr/0017-webhooks.md).
 */
export function startWebhookDelivery(
  deps: DeliveryDeps & { log: Logger; tracer?: Tracer | undefined },
  intervalMs: number,
): Schedule {
  const { database, log, tracer } = deps;
  const running = new Map<string, RunningDelivery>();
  const stopping = new AbortController();
  const { signal } = stopping;
  let finding: Promise<void> | undefined;
  let isAgain = false;

  const report = (error: unknown, context: object = {}) => {
    if (signal.aborted) return;
    const level = isDatabaseUnavailable(error) ? 'debug' : 'error';
    log[level]({ ...context, error: safeErrorFields(error) }, 'webhooks could not be delivered');
  };
  const start = (id: string, orgId: string) => {
    const delivery: RunningDelivery = { orgId, isWoken: false, end: Promise.resolve() };
    const takeWoken = () => {
      const { isWoken } = delivery;
      delivery.isWoken = false;
      return isWoken;
    };
    running.set(id, delivery);
    const target = { id, orgId, leaseId: randomUUID() };
    delivery.end = inBackground('webhooks', () =>
      tracedRoot(tracer, 'deliver-webhooks', () => deliverMessages(deps, target, takeWoken, signal)),
    )
      .finally(() => {
        running.delete(id);
      })
      // Other endpoints of its organisation have waited for it, and it may have left messages that are due.
      .then(find, (error: unknown) => report(error, { webhookEndpointId: id }));
  };
  const findOnce = async () => {
    const counts = Map.groupBy(running.values(), ({ orgId }) => orgId);
    const full = [...counts].filter(([, { length }]) => length >= maxOfOrganisation).map(([orgId]) => orgId);
    for (const { id, orgId } of await findEndpoints(deps, [...running.keys()], full)) {
      const count = [...running.values()].filter((delivery) => delivery.orgId === orgId).length;
      if (count < maxOfOrganisation && !signal.aborted) start(id, orgId);
    }
  };
  const find = () => {
    isAgain = true;
    finding ??= (async () => {
      while (isAgain && !signal.aborted) {
        isAgain = false;
        await inBackground('webhooks', findOnce).catch(report);
      }
      finding = undefined;
    })();
  };
  let settling: NodeJS.Timeout | undefined;
  const unwatch = database.changes.watch((orgId) => {
    for (const delivery of running.values())
      if (orgId === undefined || delivery.orgId === orgId) delivery.isWoken = true;
    settling ??= setTimeout(() => {
      settling = undefined;
      find();
    }, settleMs).unref();
  });
  const timer = setInterval(find, intervalMs).unref();
  find();
  return {
    async stop() {
      clearInterval(timer);
      clearTimeout(settling);
      unwatch();
      stopping.abort();
      await finding;
      await Promise.all([...running.values()].map(({ end }) => end));
    },
  };
}

/**
 * Finds endpoints with new events or messages that are due, or whose server has died, which no server has. Of an organisation, it
 * finds no more than it may have at a time, those that work first: many endpoints that hang hide neither its others nor those of
 * other organisations.
 */
export function findEndpoints(
  { database }: Pick<DeliveryDeps, 'database'>,
  except: readonly string[],
  exceptOrganisations: readonly string[],
): Promise<{ id: string; orgId: string }[]> {
  const now = currentTime();
  const first = 'failing_since is not null, coalesce(next_attempt_at, ?)';
  return database.asSystem().execute(
    `select id, "orgId" from (
        select id, endpoint.org_id as "orgId", row_number() over (partition by endpoint.org_id order by ${first}) as rank
        from webhook_endpoint as endpoint join audit_head on audit_head.org_id = endpoint.org_id
        where endpoint.disabled_at is null and audit_head.disabled_at is null and (lease_until is null or lease_until < ?) and id <> all(?::uuid[])
          and endpoint.org_id <> all(?::uuid[]) and (seq > position or next_attempt_at <= ? or lease_id is not null)
      ) as found where rank <= ${maxOfOrganisation} order by rank limit ${maxFound}`,
    [now, now, `{${except.join(',')}}`, `{${exceptOrganisations.join(',')}}`, now],
  );
}
