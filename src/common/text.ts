import { z } from 'zod';
import type { Issue } from './errors.ts';

/** What is said of a text that the database cannot hold. */
export const notStorableMessage =
  'Leave out U+0000 and halves of surrogate pairs: they cannot be stored or looked for.';

/** Whether the database can hold a text: PostgreSQL has no U+0000, and UTF-8 no halves of surrogate pairs. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

/** A text of at most `max` UTF-16 code units that the database can hold. */
export function storableText(max: number, tooLong: string) {
  return boundedText(max, { tooLong }).refine(isStorable, { error: notStorableMessage });
}

/** No input has members that are deeper than this; what is, is refused as not known. */
export const maxInputDepth = 12;

/** An issue for each text that the database cannot hold. The paths have the names of members as they are. */
export function unstorableTexts(value: unknown, path: Issue['path'] = []): Issue[] {
  if (typeof value === 'string') return isStorable(value) ? [] : [{ path, message: notStorableMessage }];
  if (typeof value !== 'object' || value === null || path.length === maxInputDepth) return [];
  if (Array.isArray(value)) return value.flatMap((item, index) => unstorableTexts(item, [...path, index]));
  return Object.entries(value).flatMap(([name, item]) => unstorableTexts(item, [...path, name]));
}

/**
 * Text of at most `max` UTF-16 code units as it is sent. The length is checked first and ends the check: to normalise,
 * trim or search a text takes time that grows with its length, for some texts with the square of it.
 *
 * @param max room for the longest text that the rules after this one accept, and for white space around it
 * @param messages what to say of what is no text, and of what is longer
 */
export function boundedText(max: number, messages: { noText?: string; tooLong: string }) {
  const { noText, tooLong } = messages;
  return z.string(noText && { error: noText }).max(max, { error: tooLong, abort: true });
}
