import { z } from 'zod';
import { createCursorCodec } from '../common/pagination.ts';

/** The use of a cursor: a page of `auditEvents`, or the `eventId` of a subscription. One is rejected as the other. */
type CursorUse = 'event' | 'change';

const key = z.tuple([z.int().min(0).max(999_999_999)]);
const codecs = {
  event: createCursorCodec(['event'], key),
  change: createCursorCodec(['change'], key),
} satisfies Record<CursorUse, unknown>;

/** Encodes the sequence number of an event. */
export function encodeEventCursor(use: CursorUse, seq: number): string {
  return codecs[use].encode([seq]);
}

/** Decodes the sequence number of an event; undefined if the text is not a cursor of this use. */
export function decodeEventCursor(use: CursorUse, cursor: string): number | undefined {
  return codecs[use].decode(cursor)?.[0] ?? decodeFormerCursor(use, cursor);
}

/** Cursors of version 0.4 and before are `event:12`: clients may have stored them. */
function decodeFormerCursor(use: CursorUse, cursor: string): number | undefined {
  if (cursor.length > 100) return undefined;
  const [, formerUse, seq] = /^(\w+):(\d{1,9})$/.exec(Buffer.from(cursor, 'base64url').toString()) ?? [];
  return formerUse === use ? Number(seq) : undefined;
}
