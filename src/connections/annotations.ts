import { z } from 'zod';
import { canonicalJson } from '../common/canonical-json.ts';
import { strictObject } from '../common/strict-object.ts';
import { boundedText, isStorable } from '../common/text.ts';

/** A tag of a connection. */
export interface Tag {
  key: string;
  value: string;
}

/** The person or team to ask about a connection, who gets e-mails about it. */
export interface ConnectionOwner {
  name: string;
  email: string;
}

/** What people have noted about a connection. It has no effect, except that the owner gets e-mails. */
export interface Annotations {
  /** Null: none. */
  tags?: Tag[] | null | undefined;
  owner?: ConnectionOwner | null | undefined;
  /** Markdown. */
  notes?: string | null | undefined;
}

/** The names of `Annotations`. */
export const annotationNames = ['tags', 'owner', 'notes'] as const satisfies readonly (keyof Annotations)[];

/** The most tags of a connection. */
export const maxTags = 50;

/** The most tags in a filter. */
const maxFilterTags = 10;

/** The longest notes, in bytes of UTF-8. */
export const maxNotesBytes = 10_000;

/** The descriptions of `Annotations` in both APIs. */
export const annotationDescriptions: Readonly<Record<keyof Annotations, string>> = {
  tags:
    `Tags for people and filters, at most ${maxTags}, each with another key, sorted by key. A key has 1 to 128 letters, digits, spaces and ` +
    '`_.:/+@-`, a value at most 256 of these and `=`. Keys and values are case-sensitive.',
  owner:
    'The person or team to ask about the connection: a name and an e-mail address. The address gets e-mails about the connection, ' +
    'in digests, if the operator has configured a mail server.',
  notes: `Notes in Markdown, at most ${maxNotesBytes} bytes. They are returned as they are; show them without HTML in them.`,
};

/** The description of the filter by tags in both APIs. */
export const tagFilterDescription = `Connections that have all of these tags, at most ${maxFilterTags}. Without a value: with any value.`;

/** Plain text has no control characters, and no bidirectional controls, which display text in another order. */
const control = /[^\P{Cc}\t\n]|[\u202a-\u202e\u2066-\u2069]/u;

function countCharacters(text: string): number {
  return [...text].length;
}

function tagText(what: 'key' | 'value', characters: RegExp, min: number, max: number) {
  const message =
    what === 'key'
      ? `The key of a tag must have 1 to ${max} letters, digits, spaces and _.:/+@- characters.`
      : `The value of a tag must have at most ${max} letters, digits, spaces and _.:/=+@- characters.`;
  return (
    boundedText(4 * max, { tooLong: message })
      .trim()
      // Keyboards differ in the form of the same letter, which would make two tags of one.
      .normalize('NFC')
      .refine(
        (text) => characters.test(text) && countCharacters(text) >= min && countCharacters(text) <= max,
        {
          error: message,
        },
      )
  );
}

const tagKey = tagText('key', /^[\p{L}\p{M}\p{N} _.:/+@-]*$/u, 1, 128);
const tagValue = tagText('value', /^[\p{L}\p{M}\p{N} _.:/=+@-]*$/u, 0, 256);

const tags = z
  .array(strictObject({ key: tagKey, value: tagValue }))
  .max(maxTags, { error: `A connection can have at most ${maxTags} tags.`, abort: true })
  .superRefine((all, context) => {
    const seen = new Set<string>();
    for (const [index, { key }] of all.entries()) {
      if (seen.has(key))
        context.addIssue({ code: 'custom', path: [index, 'key'], message: 'Another tag has this key.' });
      seen.add(key);
    }
  })
  // Sorted, so that the order in which they are sent is no change.
  .transform((all) => (all.length > 0 ? all.toSorted((one, other) => (one.key < other.key ? -1 : 1)) : null))
  .nullish();

const owner = strictObject({
  name: boundedText(512, { tooLong: 'The name must have at most 128 characters.' })
    .trim()
    .min(1, { error: 'The name is required.' })
    .refine((text) => countCharacters(text) <= 128, {
      error: 'The name must have at most 128 characters.',
    })
    .refine((text) => isStorable(text) && !/[\n\t]/.test(text) && !control.test(text), {
      error: 'The name must be plain text on one line, without control characters.',
    }),
  email: boundedText(1_024, { tooLong: 'The e-mail address must have at most 254 characters.' })
    .trim()
    .max(254, { error: 'The e-mail address must have at most 254 characters.' })
    .regex(z.regexes.email, { error: 'The e-mail address must be one, such as ada@example.com.' }),
}).nullish();

const notesTooLong = `The notes must have at most ${maxNotesBytes} bytes.`;
const notes = boundedText(2 * maxNotesBytes, { tooLong: notesTooLong })
  // As a form sends them.
  .transform((text) => text.replaceAll('\r\n', '\n').trimEnd())
  .refine((text) => new TextEncoder().encode(text).length <= maxNotesBytes, { error: notesTooLong })
  .refine((text) => isStorable(text) && !control.test(text), {
    error: 'The notes must be plain text without control characters.',
  })
  .transform((text) => text || null)
  .nullish();

/** The schemas of `Annotations`. */
export const annotationSchemas = { tags, owner, notes };

/** A condition for connections: a tag with this value, or with any value. */
export interface TagFilter {
  key: string;
  value?: string | null | undefined;
}

/** The schema of a filter by tags. */
export const tagFilter = z
  .array(strictObject({ key: tagKey, value: tagValue.nullish() }))
  .max(maxFilterTags, { error: `The filter can have at most ${maxFilterTags} tags.` })
  .nullish();

/**
 * Sets the annotations that the input has.
 *
 * @returns the names of those that it changes
 */
export function applyAnnotations(connection: Annotations, input: Annotations): string[] {
  return annotationNames.filter((name) => {
    const value = input[name];
    if (value === undefined) return false;
    const isSame = canonicalJson({ value }) === canonicalJson({ value: connection[name] ?? null });
    if (!isSame) Object.assign(connection, { [name]: value });
    return !isSame;
  });
}
