import { maxCursorLength } from '../common/text.ts';

/** The opaque form of an event's place in the trail; `use` keeps what is for one use from serving another. */
export function encodeEventCursor(use: 'event' | 'change', seq: number): string {
  return Buffer.from(`${use}:${seq}`).toString('base64url');
}

/** The `seq` of the event, or undefined when this server did not make the text for this use. */
export function decodeEventCursor(use: 'event' | 'change', text: string): number | undefined {
  if (text.length > maxCursorLength) return undefined;
  const [, made, seq] = /^(\w+):(\d{1,9})$/.exec(Buffer.from(text, 'base64url').toString()) ?? [];
  return made === use ? Number(seq) : undefined;
}
