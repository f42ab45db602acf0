import type { AuditAction } from '../audit/audit-event.entity.ts';
import type { InsertedRow } from '../audit/audited-change.ts';
import type { TrailState } from '../audit/trail-head.ts';
import { currentTime } from '../common/clock.ts';
import { reversedSpanMessage } from '../common/date-time.ts';
import { AppError, validationError } from '../common/errors.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { SqlStatement } from '../database/database.ts';
import type { Caller } from '../identity/caller.ts';
import { storeEndpointChange } from './endpoints.ts';
import { buildMessage } from './enqueue.ts';
import type { WebhookEndpoint } from './webhook-endpoint.entity.ts';
import { WebhookMessage } from './webhook-message.entity.ts';

/** The most messages that are sent again at once. */
const maxRedelivered = 1_000;

/** The messages to send again: one, or those whose events are in a span of time. */
export interface Redelivery {
  messageId?: string | null | undefined;
  /** Inclusive. */
  from?: Date | null | undefined;
  /** Exclusive. Absent: until now. */
  to?: Date | null | undefined;
}

/** What is sent again. */
export interface Redelivered {
  /** The number of messages. */
  count: number;
  /** The time from which on the rest can be sent again; absent if there is none. */
  nextFrom?: Date | undefined;
}

/**
 * Sends messages of an endpoint again, with the ids that they have. Those that wait for their next attempt are sent at once; those
 * that wait for their first one are not changed.
 *
 * Of more than a thousand, the oldest are sent.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND` (the endpoint or the message), `RATE_LIMITED`, `BAD_USER_INPUT` (the endpoint is
 *   disabled, or the input names neither a message nor a time, or a span that ends before it begins)
 */
export async function redeliverWebhookMessages(
  deps: ConnectionDeps,
  caller: Caller,
  endpointId: string,
  { messageId, from, to }: Redelivery,
): Promise<Redelivered> {
  return queueAlone(deps, caller, 'REDELIVER_WEBHOOKS', endpointId, async ({ orgId }) => {
    if ((messageId == null) === (from == null)) {
      const message = 'Name either a message, or the time from which on messages are sent again.';
      throw validationError([{ path: ['messageId'], message }]);
    }
    const reversed = reversedSpanMessage(from, to);
    if (reversed) throw validationError([{ path: ['to'], message: reversed }]);
    const where = {
      ...{ orgId, endpointId },
      ...(messageId == null
        ? {
            $or: [{ status: { $ne: 'PENDING' as const } }, { attempts: { $gt: 0 } }],
            occurredAt: { $gte: from as Date, $lt: to ?? currentTime() },
          }
        : { id: messageId }),
    };
    const found = await deps.database.forOrganisation(orgId).find(WebhookMessage, where, {
      fields: ['id', 'status', 'attempts', 'occurredAt'],
      orderBy: { occurredAt: 'asc', seq: 'asc', type: 'asc' },
      limit: maxRedelivered + 1,
    });
    if (messageId != null && found.length === 0) {
      throw new AppError('NOT_FOUND', 'There is no such message of this endpoint.', {
        remedy: 'Check the id. Messages are kept for seven days.',
      });
    }
    const nextFrom = found[maxRedelivered]?.occurredAt;
    const ids = found
      .slice(0, maxRedelivered)
      .filter(({ status, attempts }) => status !== 'PENDING' || attempts > 0)
      .map(({ id }) => id);
    const update: SqlStatement = {
      sql: `update webhook_message set status = 'PENDING', attempts = 0, failed_since = null, next_attempt_at = ?
        where id = any(?::uuid[])`,
      params: [currentTime(), `{${ids.join(',')}}`],
    };
    return {
      updates: ids.length > 0 ? [update] : [],
      fields: ['status'],
      result: { count: ids.length, nextFrom },
    };
  });
}

/**
 * Sends a test event to an endpoint.
 *
 * @throws AppError `FORBIDDEN`, `NOT_FOUND`, `RATE_LIMITED`, `BAD_USER_INPUT` (the endpoint is disabled)
 */
export async function sendTestWebhook(
  deps: ConnectionDeps,
  caller: Caller,
  endpointId: string,
): Promise<WebhookMessage> {
  const action = 'SEND_TEST_WEBHOOK';
  return queueAlone(deps, caller, action, endpointId, async (endpoint, { seq }) => {
    const { orgId } = endpoint;
    const message = await buildMessage(deps, endpoint, {
      type: 'webhook.test',
      event: { orgId, seq: seq + 1, at: currentTime(), action, outcome: 'OK', fields: [], targetName: null },
    });
    return { inserts: [[WebhookMessage, message]], fields: ['messages'], result: message };
  });
}

/** Stores messages of an endpoint that are due now, with an audit event. */
async function queueAlone<Result>(
  deps: ConnectionDeps,
  caller: Caller,
  action: AuditAction,
  id: string,
  prepare: (
    endpoint: WebhookEndpoint,
    trail: TrailState,
  ) => Promise<{ inserts?: InsertedRow[]; updates?: SqlStatement[]; fields: string[]; result: Result }>,
): Promise<Result> {
  return storeEndpointChange(deps, caller, action, id, async (_, endpoint, trail) => {
    if (endpoint.disabledAt) {
      const message = 'The endpoint is disabled. Enable it first.';
      throw validationError([{ path: ['endpointId'], message }]);
    }
    const { updates = [], ...change } = await prepare(endpoint, trail);
    const wake: SqlStatement = {
      sql: 'update webhook_endpoint set next_attempt_at = ?, lease_until = case when lease_id is not null then lease_until end where id = ?',
      params: [currentTime(), id],
    };
    return { ...change, updates: [...updates, wake] };
  });
}
