import { z } from 'zod';
import { reversedSpanMessage } from '../common/date-time.ts';
import { validationError } from '../common/errors.ts';
import type { Page } from '../common/pagination.ts';
import { joinAnd, sql } from '../database/sql.ts';
import type { Caller } from '../identity/caller.ts';
import { AuditEvent } from './audit-event.entity.ts';
import { boundScan, findRange, newestFirst, planScan, rangeCondition } from './bounded-scan.ts';
import { decodeEventCursor, encodeEventCursor } from './event-cursor.ts';
import type { EventFilter } from './input.ts';
import { type RefusalAuditDeps, withForbiddenAudit } from './record-refusals.ts';

/** The options of `listEvents`. */
export interface ListEvents {
  filter?: EventFilter | null | undefined;
  first: number;
  after?: string | null | undefined;
}

/**
 * Lists the events of the caller's organisation, or of the projects and connections that the caller is limited to,
 * newest first.
 *
 * @throws AppError `FORBIDDEN`, `BAD_USER_INPUT` (the cursor, or a time span that does not end after it begins)
 */
export async function listEvents(
  deps: RefusalAuditDeps,
  caller: Caller,
  options: ListEvents,
): Promise<Page<AuditEvent>> {
  return withForbiddenAudit(deps, caller, { action: 'READ_AUDIT_EVENTS' }, async () => {
    caller.requireScope('audit:read');
    if (options.filter?.projectId) caller.requireProject(options.filter.projectId, ['filter', 'projectId']);
    const reversed = reversedSpanMessage(options.filter?.from, options.filter?.to);
    if (reversed) throw validationError([{ path: ['filter', 'to'], message: reversed }]);
    return readEvents(deps, caller, options);
  });
}

async function readEvents(
  { database }: RefusalAuditDeps,
  caller: Caller,
  options: ListEvents,
): Promise<Page<AuditEvent>> {
  const { first, after } = options;
  const { index, conditions } = planScan(caller, options.filter ?? {});
  const range = await findRange(database, caller.orgId, options.filter ?? {});
  const to = Math.min(range.to, after ? parseEventCursor(after) : range.to);
  const scan =
    conditions.length > 0 ? await boundScan(database, caller.orgId, index, { ...range, to }) : undefined;
  const from = scan?.from ?? range.from;
  const condition = joinAnd([...rangeCondition(caller.orgId, index, { from, to }), ...conditions]);
  const found = await database.select(
    AuditEvent,
    caller.orgId,
    sql`where ${condition} ${newestFirst(index)} limit ${first + 1}`,
    { isScan: true },
  );
  const nodes = found.slice(0, first);
  if (caller.projectIds) nodes.forEach(hideOtherProjects);
  const last = nodes.at(-1);
  if (found.length > first || !scan?.isTruncated) {
    return {
      nodes,
      hasNextPage: found.length > first,
      endCursor: last ? encodeEventCursor('event', last.seq) : null,
    };
  }
  // There can be more events before the scanned range.
  return { nodes, hasNextPage: true, endCursor: encodeEventCursor('event', scan.from) };
}

const invalidCursor = 'The cursor is invalid. Use `endCursor` of the previous page.';

/** The schema of a cursor of the audit trail. */
export const eventCursor = z
  .string()
  .refine((text) => decodeEventCursor('event', text) !== undefined, { error: invalidCursor });

/** Removes the requested name of a failed renaming: it is the name of another project, which the caller may not see. */
function hideOtherProjects(event: AuditEvent): void {
  if (event.action === 'RENAME_PROJECT' && event.outcome === 'NAME_TAKEN') event.targetName = null;
}

function parseEventCursor(cursor: string): number {
  const seq = decodeEventCursor('event', cursor);
  if (seq !== undefined) return seq;
  throw validationError([{ path: ['after'], message: invalidCursor }]);
}
