import { isEnabledSql } from '../audit/trail-head.ts';
import { currentTime } from '../common/clock.ts';
import type { Database } from '../database/database.ts';

/**
 * The states of endpoints. `failing`: every attempt has failed since one did. `disabled`: by a caller, or by the server after days of
 * failures. Endpoints of disabled organisations are not among them. The endpoint for owners of connections is `failing` while e-mails to one of them fail.
 */
const endpointStates = ['working', 'failing', 'disabled'] as const;

/** The endpoints in a state, and what waits for them. For disabled ones, nothing is sent. */
export interface WebhookBacklog {
  state: (typeof endpointStates)[number];
  endpoints: number;
  /** Number of messages that wait for their first or next attempt. */
  messages: number;
  /** The age of the oldest event that waits, in a message or still in the audit trail; 0 if there is none. */
  oldestSeconds: number;
}

/** Measures what waits for the webhook endpoints of all organisations, by state. It reads indexes, and no delivered messages. */
export async function measureWebhookBacklog(database: Pick<Database, 'asSystem'>): Promise<WebhookBacklog[]> {
  const rows = await database.asSystem().execute<WebhookBacklog[]>(
    `select case when disabled_at is not null then 'disabled' when failing_since is not null or pending."hasFailed" then 'failing'
          else 'working' end as state,
        count(*)::int as endpoints, sum(pending.count)::int as messages,
        coalesce(greatest(extract(epoch from ?::timestamptz - min(least(pending.oldest, unread.at))), 0), 0)::float8 as "oldestSeconds"
      from webhook_endpoint as endpoint
        cross join lateral (select count(*) as count, min(occurred_at) as oldest,
            bool_or(failed_since is not null and recipient is not null) as "hasFailed" from webhook_message
          where endpoint_id = endpoint.id and status = 'PENDING' and endpoint.disabled_at is null) as pending
        left join lateral (select at from audit_event
          where org_id = endpoint.org_id and seq > endpoint.position and endpoint.disabled_at is null
          order by seq limit 1) as unread on true
      where ${isEnabledSql('endpoint.org_id')} group by 1`,
    [currentTime()],
  );
  const none = { endpoints: 0, messages: 0, oldestSeconds: 0 };
  return endpointStates.map((state) => rows.find((row) => row.state === state) ?? { state, ...none });
}
