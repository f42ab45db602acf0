import { z } from 'zod';
import { validationError } from './errors.ts';
import { maxCursorLength } from './text.ts';

/** Part of a list that is read forward. */
export interface Page<T> {
  nodes: T[];
  hasNextPage: boolean;
  /** Null on an empty page. */
  endCursor: string | null;
}

/** What part of a list to give. */
export interface PageOptions {
  first: number;
  /** `endCursor` of the page before. */
  after?: string | null | undefined;
}

/** What a list is in order of; what is equal in that is in order of ids. */
export interface Order<T, Place> {
  /** The name of the list, so that a cursor of another one is of no use in it. */
  list: string;
  placeOf: (node: T) => Place;
  /** What a place in a cursor has to be like; what the database does not take must not reach it. */
  place: z.ZodType<Place>;
}

/** @param found what was found, one more than the page has room for if there is more */
export function toPage<T extends { id: string }, Place>(
  { list, placeOf }: Order<T, Place>,
  found: readonly T[],
  first: number,
): Page<T> {
  const nodes = found.slice(0, first);
  const last = nodes.at(-1);
  const endCursor = last ? Buffer.from(JSON.stringify([list, placeOf(last), last.id])) : null;
  return { nodes, hasNextPage: found.length > first, endCursor: endCursor?.toString('base64url') ?? null };
}

/** The rule of a cursor of a list. */
export function cursorSchema<T, Place>(order: Order<T, Place>) {
  return z.string().refine((text) => parseCursor(order, text) !== undefined, { error: notACursor });
}

const notACursor = 'This is not a cursor of this list; use "endCursor" of the page before.';

/**
 * The place and the id of the last one of the page before.
 *
 * @throws AppError `BAD_USER_INPUT` for a cursor that this server did not make for this list
 */
export function decodeCursor<T, Place>(order: Order<T, Place>, cursor: string): { id: string; place: Place } {
  const parsed = parseCursor(order, cursor);
  if (!parsed) throw validationError([{ path: ['after'], message: notACursor }]);
  return parsed;
}

function parseCursor<T, Place>(
  order: Order<T, Place>,
  cursor: string,
): { id: string; place: Place } | undefined {
  const rule = z.tuple([z.literal(order.list), order.place, z.guid()]);
  try {
    if (cursor.length > maxCursorLength) throw new RangeError('The cursor is too long.');
    const [, place, id] = rule.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()));
    return { id, place };
  } catch {
    return undefined;
  }
}
