import { z } from 'zod';
import { createCursorCodec } from '../../../common/pagination.ts';
import type { RowMacs } from '../../../encryption/row-macs.ts';

/** A position in a list of an app: a page of the app, and the objects of it that come before the position. */
export interface ReadPosition {
  /** Path and query, as the app's link has them. */
  page: string;
  skip: number;
}

/** A cursor has a link of the app in base64, whose path and query have at most 10,240 characters, and more as JSON. */
const maxLength = 32_000;

const codec = createCursorCodec(
  ['read'],
  z.tuple([z.string().startsWith('/'), z.int().min(0), z.string()]),
  maxLength,
);

/**
 * Encodes and decodes the cursors of one list. A cursor has a MAC, so that the request that it leads to is one that the app
 * linked to from this list, and not one that a caller made up or that belongs to another list.
 */
export class ReadCursors {
  readonly #macs: RowMacs;
  readonly #list: object;

  /** @param list the connection, the field and the arguments except the size of the page */
  constructor(macs: RowMacs, list: object) {
    this.#macs = macs;
    this.#list = list;
  }

  encode({ page, skip }: ReadPosition): string {
    return codec.encode([page, skip, this.#macs.mac('read-cursor', { list: this.#list, page, skip })]);
  }

  /** Undefined if the text is not a cursor of this list. */
  decode(cursor: string): ReadPosition | undefined {
    const [page, skip, mac] = codec.decode(cursor) ?? [];
    if (page === undefined || skip === undefined || mac === undefined) return undefined;
    return this.#macs.isMac(mac, 'read-cursor', { list: this.#list, page, skip })
      ? { page, skip }
      : undefined;
  }
}
