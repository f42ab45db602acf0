import { z } from 'zod';
import type { Issue } from '../common/errors.ts';
import { boundedText } from '../common/text.ts';
import { type VerificationStatus, verificationStatuses } from './app-connection.entity.ts';
import { type ConnectionOrder, type Cursor, decodeCursor } from './cursor.ts';
import { dateTime, pageSize } from './input-schemas.ts';

/** What connections have to be like; absent or null is anything. */
export interface ConnectionFilter {
  /** The id of an app. */
  app?: string | null | undefined;
  /** The id of a method. */
  method?: string | null | undefined;
  status?: VerificationStatus | null | undefined;
  /** What names start with, letter by letter: there are no wildcards. */
  namePrefix?: string | null | undefined;
  /** What is anywhere in names, letter by letter too. */
  nameContains?: string | null | undefined;
  /** From this moment on. */
  createdFrom?: Date | null | undefined;
  /** Before this moment. */
  createdTo?: Date | null | undefined;
  updatedFrom?: Date | null | undefined;
  updatedTo?: Date | null | undefined;
}

/** Which connections to list, in what order, and which page of them. */
export interface ListConnections {
  /** A project's; null for those without a project; absent for all of the organisation. */
  projectId?: string | null | undefined;
  /** The id of an app; absent for every app. */
  app?: string | null | undefined;
  filter?: ConnectionFilter | null | undefined;
  /** By name, ascending, if absent. */
  orderBy?: ConnectionOrder | null | undefined;
  /** So many from the start, or after `after`: 1 to 100, and 20 if neither this nor `last` is given. */
  first?: number | null | undefined;
  /** A page's `endCursor`, to read on from there. */
  after?: string | null | undefined;
  /** So many from the end, or before `before`, instead of `first`. */
  last?: number | null | undefined;
  /** A page's `startCursor`, to read backward from there. */
  before?: string | null | undefined;
}

/** The rule of a part of a name that is looked for. */
export const nameContainsSchema = boundedText(1_024, {
  tooLong: 'Names have at most 64 characters, so none has this in it.',
})
  .trim()
  .toLowerCase()
  .min(1, { error: 'Give at least one character, or leave it out.' })
  .max(64, { error: 'Names have at most 64 characters, so none has this in it.' })
  .regex(/^[^\p{Cc}\p{Cs}]*$/u, { error: 'Leave out control characters and halves of surrogate pairs.' })
  .nullish();

const filter = z
  .object({
    app: z.string().nullish(),
    method: z.string().nullish(),
    status: z.enum(verificationStatuses).nullish(),
    namePrefix: nameContainsSchema,
    nameContains: nameContainsSchema,
    createdFrom: dateTime.nullish(),
    createdTo: dateTime.nullish(),
    updatedFrom: dateTime.nullish(),
    updatedTo: dateTime.nullish(),
  })
  .superRefine(({ createdFrom, createdTo, updatedFrom, updatedTo }, context) => {
    const refuse = (to: string, from: string) =>
      context.addIssue({
        code: 'custom',
        path: [to],
        message: `There is no time from "${from}" to "${to}"; give a later one.`,
      });
    if (createdFrom && createdTo && createdFrom >= createdTo) refuse('createdTo', 'createdFrom');
    if (updatedFrom && updatedTo && updatedFrom >= updatedTo) refuse('updatedTo', 'updatedFrom');
  });

/** The rules of listing connections. */
export const listConnectionsSchema: z.ZodType<ListConnections> = z
  .object({
    projectId: z.string().nullish(),
    app: z.string().nullish(),
    filter: filter.nullish(),
    orderBy: z
      .object({
        field: z.enum(['name', 'createdAt', 'updatedAt']),
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

/** From where, and which way, a page is to be read. */
export interface PageArguments {
  order: ConnectionOrder;
  isBackward: boolean;
  size: number;
  /** Null: from the start of the list, or backward from its end. */
  cursor: Cursor | null;
  /** The rules that are broken. */
  issues: readonly Issue[];
}

/** Finds out which page is asked for; of the rules, it is those on arguments that have to fit each other. */
export function parsePageArguments({ orderBy, first, after, last, before }: ListConnections): PageArguments {
  const order = orderBy ?? { field: 'name', direction: 'asc' };
  const isForward = first != null || after != null;
  const isBackward = last != null || before != null;
  const issues: Issue[] = [];
  const decoded = (name: 'after' | 'before', text: string | null | undefined, use: string) => {
    if (text == null) return null;
    const cursor = decodeCursor(order, text);
    if (!cursor) {
      const message = `This is not a cursor of a list in this order; use ${use}, and keep "orderBy" as it was.`;
      issues.push({ path: [name], message });
    }
    return cursor ?? null;
  };
  const afterCursor = decoded('after', after, '"endCursor" of the page before');
  const beforeCursor = decoded('before', before, '"startCursor" of the page after');
  if (isForward && isBackward) {
    const message = 'Read forward with "first" and "after", or backward with "last" and "before", not both.';
    if (last != null) issues.push({ path: ['last'], message });
    if (before != null) issues.push({ path: ['before'], message });
  }
  return { order, isBackward, size: first ?? last ?? 20, cursor: afterCursor ?? beforeCursor, issues };
}
