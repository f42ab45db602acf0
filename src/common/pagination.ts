import { z } from 'zod';
import { validationError } from './errors.ts';

/** The most characters of a cursor, unless its list needs more. The longest that others encode has about 400. */
const defaultMaxLength = 1_000;

/** Encodes a position in a list as an opaque cursor, and decodes it. */
export interface CursorCodec<Key extends readonly unknown[]> {
  encode(key: Key): string;
  /** Undefined if the text is not a cursor of this list. */
  decode(cursor: string): Key | undefined;
}

/**
 * Creates the codec of a list. Create it once for each list: to create a schema takes ten times as long as to use it.
 *
 * @param list names the list and its order, so that it rejects the cursors of other lists
 * @param keySchema accepts the key by which the list is sorted, and only what the database can compare it with
 */
export function createCursorCodec<Key extends readonly unknown[]>(
  list: readonly string[],
  keySchema: z.ZodType<Key>,
  maxLength = defaultMaxLength,
): CursorCodec<Key> {
  return {
    encode: (key) => Buffer.from(JSON.stringify([...list, ...key])).toString('base64url'),
    decode: (cursor) => {
      if (cursor.length > maxLength) return undefined;
      try {
        const values: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
        if (!Array.isArray(values) || list.some((name, index) => values[index] !== name)) return undefined;
        return keySchema.safeParse(values.slice(list.length)).data;
      } catch {
        return undefined;
      }
    },
  };
}

/** The number of items of a page. */
export const pageSize = z
  .int()
  .min(1, { error: 'The page size must be at least 1.' })
  .max(100, { error: 'The page size must be at most 100. Read more with a cursor.' });

/** A page of a list that is read forward. */
export interface Page<T> {
  nodes: T[];
  hasNextPage: boolean;
  /** Null on an empty page. */
  endCursor: string | null;
}

/** Which page of a list to read. */
export interface PageOptions {
  first: number;
  /** `endCursor` of the previous page. */
  after?: string | null | undefined;
}

/** The order of a list: by a key, and by id where keys are equal. */
export interface ListOrder<T, Key> {
  getKey(node: T): Key;
  codec: CursorCodec<[Key, string]>;
}

/**
 * Defines the order of a list.
 *
 * @param list the name of the list
 * @param keySchema accepts the keys that a cursor may have
 */
export function createListOrder<T, Key>(
  list: string,
  getKey: (node: T) => Key,
  keySchema: z.ZodType<Key>,
): ListOrder<T, Key> {
  return { getKey, codec: createCursorCodec([list], z.tuple([keySchema, z.guid()])) };
}

/** @param rows the rows of the page, and one more if there is a next page */
export function toPage<T extends { id: string }, Key>(
  { getKey, codec }: ListOrder<T, Key>,
  rows: readonly T[],
  first: number,
): Page<T> {
  const nodes = rows.slice(0, first);
  const last = nodes.at(-1);
  return {
    nodes,
    hasNextPage: rows.length > first,
    endCursor: last ? codec.encode([getKey(last), last.id]) : null,
  };
}

/** The schema of a cursor of a list. */
export function cursorSchema<T, Key>({ codec }: ListOrder<T, Key>) {
  return z.string().refine((text) => codec.decode(text) !== undefined, { error: invalidCursorMessage });
}

/** What is wrong with a cursor of another list. */
export const invalidCursorMessage =
  'The cursor does not belong to this list. Use "endCursor" of the previous page.';

/**
 * Decodes the position after which a page starts.
 *
 * @throws AppError `BAD_USER_INPUT` if the text is not a cursor of this list
 */
export function decodeCursor<T, Key>({ codec }: ListOrder<T, Key>, cursor: string): { key: Key; id: string } {
  const decoded = codec.decode(cursor);
  if (!decoded) throw validationError([{ path: ['after'], message: invalidCursorMessage }]);
  const [key, id] = decoded;
  return { key, id };
}
