import { z } from 'zod';
import { badInput } from '../common/errors.ts';
import { allOf, sql } from '../database/sql.ts';
import type { Caller } from '../identity/caller.ts';
import { AuditEvent } from './audit-event.entity.ts';
import { bound, findRange, newestFirst, planScan, within } from './bounded-scan.ts';
import { decodePlace, encodePlace } from './event-cursor.ts';
import type { EventFilter } from './input.ts';
import { auditForbidden, type RefusalParts } from './record-refusals.ts';

/** What to list. */
export interface ListEvents {
  filter?: EventFilter | null | undefined;
  first: number;
  after?: string | null | undefined;
}

/** Part of the trail, the newest events first. */
export interface EventPage {
  nodes: AuditEvent[];
  hasNextPage: boolean;
  endCursor: string | null;
}

/**
 * The events of the caller's organisation, or of the projects that the caller is limited to, the newest first.
 *
 * @throws Problem `FORBIDDEN`, `BAD_USER_INPUT` (the cursor)
 */
export async function listEvents(
  parts: RefusalParts,
  caller: Caller,
  options: ListEvents,
): Promise<EventPage> {
  return auditForbidden(parts, caller, { action: 'READ_AUDIT_EVENTS' }, async () => {
    caller.assertMay('audit:read');
    if (options.filter?.projectId) caller.assertMayUse(options.filter.projectId, ['filter', 'projectId']);
    return list(parts, caller, options);
  });
}

async function list({ database }: RefusalParts, caller: Caller, options: ListEvents): Promise<EventPage> {
  const { first, after } = options;
  const { index, rest } = planScan(caller, options.filter ?? {});
  const range = await findRange(database, caller.orgId, options.filter ?? {});
  const to = Math.min(range.to, after ? seqOf(after) : range.to);
  const scan = rest.length > 0 ? await bound(database, caller.orgId, index, { ...range, to }) : undefined;
  const from = scan?.from ?? range.from;
  const conditions = allOf([...within(caller.orgId, index, { from, to }), ...rest]);
  const found = await database.select(
    AuditEvent,
    caller.orgId,
    sql`where ${conditions} ${newestFirst(index)} limit ${first + 1}`,
    { isScan: true },
  );
  const nodes = found.slice(0, first);
  if (caller.projectIds) nodes.forEach(hideOtherProjects);
  const last = nodes.at(-1);
  if (found.length > first || !scan?.isCut) {
    return {
      nodes,
      hasNextPage: found.length > first,
      endCursor: last ? encodePlace('event', last.seq) : null,
    };
  }
  // What was not looked at may hold more.
  return { nodes, hasNextPage: true, endCursor: encodePlace('event', scan.from) };
}

const notACursor = 'This is not a cursor; use "endCursor" of the page before.';

/** The rule of a cursor of the trail. */
export const eventCursor = z
  .string()
  .refine((text) => decodePlace('event', text) !== undefined, { error: notACursor });

/** A name that a project could not have is that of another project, which may be hidden from who reads. */
function hideOtherProjects(event: AuditEvent): void {
  if (event.action === 'RENAME_PROJECT' && event.outcome === 'NAME_TAKEN') event.targetName = null;
}

function seqOf(cursor: string): number {
  const seq = decodePlace('event', cursor);
  if (seq !== undefined) return seq;
  throw badInput([{ path: ['after'], message: notACursor }]);
}
