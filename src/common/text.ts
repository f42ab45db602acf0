import { z } from 'zod';
import type { Issue } from './errors.ts';

/** The message for a text that PostgreSQL cannot store. */
export const notStorableMessage = 'The text must not contain U+0000 or unpaired surrogates.';

/** Whether PostgreSQL can store a text: it rejects U+0000, and UTF-8 has no unpaired surrogates. */
export function isStorable(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0');
}

/** The schema of a text of at most `max` UTF-16 code units that PostgreSQL can store. */
export function storableText(max: number, tooLong: string) {
  return boundedText(max, { tooLong }).refine(isStorable, { error: notStorableMessage });
}

/** The deepest level at which an input has members. Schemas reject deeper members as unknown. */
export const maxInputDepth = 12;

/** An issue for each text in a value that PostgreSQL cannot store. */
export function unstorableTexts(value: unknown, path: Issue['path'] = []): Issue[] {
  if (typeof value === 'string') return isStorable(value) ? [] : [{ path, message: notStorableMessage }];
  if (typeof value !== 'object' || value === null || path.length === maxInputDepth) return [];
  if (Array.isArray(value)) return value.flatMap((item, index) => unstorableTexts(item, [...path, index]));
  return Object.entries(value).flatMap(([name, item]) => unstorableTexts(item, [...path, name]));
}

/**
 * The schema of a text of at most `max` UTF-16 code units before trimming. The length is checked first, and a longer text is
 * not checked further: to normalise, trim or search some texts takes time that grows with the square of their length.
 *
 * @param max enough for the longest valid text and white space around it
 * @param messages `missing` is for null, too
 */
export function boundedText(max: number, messages: { missing?: string; tooLong: string }) {
  const { missing, tooLong } = messages;
  return z
    .string({ error: ({ input }) => (input == null ? missing : undefined) })
    .max(max, { error: tooLong, abort: true });
}
