import { z } from 'zod';
import { badInput } from '../errors.ts';
import { connectionName } from './input.ts';

/** A place in a list that is ordered by name, then id. */
export interface Cursor {
  name: string;
  id: string;
}

const cursorRule = z.tuple([connectionName, z.uuid()]);

/** The opaque form that callers hand back to read on. */
export function encodeCursor({ name, id }: Cursor): string {
  return Buffer.from(JSON.stringify([name, id])).toString('base64url');
}

/** @throws Problem `BAD_USER_INPUT` when this server did not make the cursor */
export function decodeCursor(text: string): Cursor {
  try {
    const [name, id] = cursorRule.parse(JSON.parse(Buffer.from(text, 'base64url').toString()));
    return { name, id };
  } catch {
    throw badInput([
      { path: ['after'], message: 'This is not a cursor; use "endCursor" of the page before.' },
    ]);
  }
}
