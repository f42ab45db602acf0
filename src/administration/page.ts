import { badInput } from '../errors.ts';

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

/**
 * @param found what was found, one more than the page has room for if there is more
 * @param placeOf by what the list is in order
 */
export function pageOf<T extends { id: string }>(
  found: readonly T[],
  first: number,
  placeOf: (node: T) => string,
): Page<T> {
  const nodes = found.slice(0, first);
  const last = nodes.at(-1);
  const endCursor = last ? Buffer.from(`${last.id} ${placeOf(last)}`).toString('base64url') : null;
  return { nodes, hasNextPage: found.length > first, endCursor };
}

const cursorPattern = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}) (.+)$/;

/**
 * The place and the id of the last one of the page before.
 *
 * @throws Problem `BAD_USER_INPUT`
 */
export function decodeCursor(cursor: string): { id: string; place: string } {
  const [, id, place] = cursorPattern.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  if (id && place && !place.includes('\0')) return { id, place };
  throw notACursor();
}

/** `BAD_USER_INPUT` for a cursor that this server did not make for this list. */
export function notACursor() {
  return badInput([
    { path: ['after'], message: 'This is not a cursor of this list; use "endCursor" of the page before.' },
  ]);
}
