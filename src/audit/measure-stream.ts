import type { EntityManager } from '@mikro-orm/postgresql';
import { currentTime } from '../common/clock.ts';

/** What waits for the stream of audit events, and whether it fails. */
export interface StreamBacklog {
  /** Number of events that were not delivered. */
  events: number;
  /** The age of the oldest of them; 0 if there is none. */
  oldestSeconds: number;
  /** The time of the first failure since the last delivery; null if the last attempt has succeeded. */
  failingSince: Date | null;
  /** The last failure, as a clause. */
  failure: string | null;
  /** The AUDIT_STREAM of the server that has streamed last; null if none has. */
  target: string | null;
}

/**
 * Measures what waits for the stream.
 *
 * @param em sees the rows of all organisations
 */
export async function measureStream(em: EntityManager): Promise<StreamBacklog> {
  const [found] = await em.execute<[StreamBacklog]>(
    `select coalesce(sum(head.seq - greatest(position.seq, deleted.seq, 0)), 0)::int as events,
        coalesce(greatest(extract(epoch from ?::timestamptz - min(oldest.at)), 0), 0)::float8 as "oldestSeconds",
        (select failing_since from audit_stream) as "failingSince", (select failure from audit_stream), (select target from audit_stream)
      from audit_head as head left join audit_stream_position as position on position.org_id = head.org_id
        left join audit_retention as deleted on deleted.org_id = head.org_id
        cross join lateral (select at from audit_event
          where org_id = head.org_id and seq > coalesce(position.seq, 0) order by seq limit 1) as oldest
      where head.deletion_started_at is null and head.seq > coalesce(position.seq, 0)`,
    [currentTime()],
  );
  return { ...found, failingSince: found.failingSince && new Date(found.failingSince) };
}
