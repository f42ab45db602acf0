import { z } from 'zod';
import { dateTime, reversedSpanMessage } from '../common/date-time.ts';
import type { Issue } from '../common/errors.ts';
import { pageSize } from '../common/pagination.ts';
import { boundedText } from '../common/text.ts';
import { type TagFilter, tagFilter } from './annotations.ts';
import { type VerificationStatus, verificationStatuses } from './app-connection.entity.ts';
import { type ConnectionOrder, type Cursor, decodeCursor, orderFields } from './cursor.ts';

/** Conditions for connections. An absent or null condition matches every connection. */
export interface ConnectionFilter {
  /** The id of an app. */
  app?: string | null | undefined;
  /** The id of a method. */
  method?: string | null | undefined;
  status?: VerificationStatus | null | undefined;
  /** The status of the health, which also knows the outages of hosts. */
  health?: VerificationStatus | null | undefined;
  /** The start of the name. There are no wildcards. */
  namePrefix?: string | null | undefined;
  /** A part of the name. There are no wildcards. */
  nameContains?: string | null | undefined;
  /** All of these. */
  tags?: TagFilter[] | null | undefined;
  /** Inclusive. */
  createdFrom?: Date | null | undefined;
  /** Exclusive. */
  createdTo?: Date | null | undefined;
  updatedFrom?: Date | null | undefined;
  updatedTo?: Date | null | undefined;
  /** Exclusive, as all of these. They are times of the health, without outages of the host; no time is before none. */
  expiresBefore?: Date | null | undefined;
  sinceBefore?: Date | null | undefined;
  lastCheckBefore?: Date | null | undefined;
  nextCheckBefore?: Date | null | undefined;
  lastGoodBefore?: Date | null | undefined;
}

/** The validated input of listing connections: filters, order and page. */
export interface ListConnections {
  /** Null: connections without a project. Absent: all connections of the organisation. */
  projectId?: string | null | undefined;
  /** The id of an app. Absent: every app. */
  app?: string | null | undefined;
  filter?: ConnectionFilter | null | undefined;
  /** By name, ascending, if absent. */
  orderBy?: ConnectionOrder | null | undefined;
  /** The number of connections from the start, or after `after`: 1 to 100. 20 if `last` is absent too. */
  first?: number | null | undefined;
  /** `endCursor` of the previous page. */
  after?: string | null | undefined;
  /** The number of connections from the end, or before `before`. Excludes `first`. */
  last?: number | null | undefined;
  /** `startCursor` of the following page, to read backward. */
  before?: string | null | undefined;
}

/** The schema of a part of a name. */
export const nameContainsSchema = boundedText(1_024, {
  tooLong: 'The text must have at most 64 characters, like a name.',
})
  .trim()
  .toLowerCase()
  .min(1, { error: 'The text must have at least one character. Omit it for no filter.' })
  .max(64, { error: 'The text must have at most 64 characters, like a name.' })
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, {
    error: 'The text must not have control characters or unpaired surrogates.',
  })
  .nullish();

const filter = z
  .object({
    app: z.string().nullish(),
    method: z.string().nullish(),
    status: z.enum(verificationStatuses).nullish(),
    health: z.enum(verificationStatuses).nullish(),
    namePrefix: nameContainsSchema,
    nameContains: nameContainsSchema,
    tags: tagFilter,
    createdFrom: dateTime.nullish(),
    createdTo: dateTime.nullish(),
    updatedFrom: dateTime.nullish(),
    updatedTo: dateTime.nullish(),
    expiresBefore: dateTime.nullish(),
    sinceBefore: dateTime.nullish(),
    lastCheckBefore: dateTime.nullish(),
    nextCheckBefore: dateTime.nullish(),
    lastGoodBefore: dateTime.nullish(),
  })
  .superRefine((conditions, context) => {
    for (const [from, to] of [
      ['createdFrom', 'createdTo'],
      ['updatedFrom', 'updatedTo'],
    ] as const) {
      const message = reversedSpanMessage(conditions[from], conditions[to], { from, to });
      if (message) context.addIssue({ code: 'custom', path: [to], message });
    }
  });

/** The schema of the input of listing connections. */
export const listConnectionsSchema: z.ZodType<ListConnections> = z
  .object({
    projectId: z.string().nullish(),
    app: z.string().nullish(),
    filter: filter.nullish(),
    orderBy: z
      .object({
        field: z.enum(orderFields),
        direction: z.enum(['asc', 'desc']),
      })
      .nullish(),
    first: pageSize.nullish(),
    after: z.string().nullish(),
    last: pageSize.nullish(),
    before: z.string().nullish(),
  })
  .superRefine((listing, context) => {
    for (const issue of parsePageArguments(listing).issues) {
      context.addIssue({ code: 'custom', path: [...issue.path], message: issue.message });
    }
  });

/** The parsed page arguments: order, direction, size and start. */
export interface PageArguments {
  order: ConnectionOrder;
  isBackward: boolean;
  size: number;
  /** Null: from the start of the list, or backward from its end. */
  cursor: Cursor | null;
  /** Arguments that contradict each other, and invalid cursors. */
  issues: readonly Issue[];
}

/** Parses the page arguments, and checks that they fit each other. */
export function parsePageArguments({ orderBy, first, after, last, before }: ListConnections): PageArguments {
  const order = orderBy ?? { field: 'name', direction: 'asc' };
  const isForward = first != null || after != null;
  const isBackward = last != null || before != null;
  const issues: Issue[] = [];
  const decode = (name: 'after' | 'before', text: string | null | undefined, use: string) => {
    if (text == null) return null;
    const cursor = decodeCursor(order, text);
    if (!cursor) {
      const message = `The cursor does not belong to a list in this order. Use ${use}, with the same "orderBy".`;
      issues.push({ path: [name], message });
    }
    return cursor ?? null;
  };
  const afterCursor = decode('after', after, '"endCursor" of the previous page');
  const beforeCursor = decode('before', before, '"startCursor" of the following page');
  if (isForward && isBackward) {
    const message = 'Use either "first" and "after", or "last" and "before", not both.';
    if (last != null) issues.push({ path: ['last'], message });
    if (before != null) issues.push({ path: ['before'], message });
  }
  return { order, isBackward, size: first ?? last ?? 20, cursor: afterCursor ?? beforeCursor, issues };
}
