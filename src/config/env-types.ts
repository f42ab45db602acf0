import { resolve } from 'node:path';
import { z } from 'zod';
import { Secret } from '../common/secret.ts';
import { InvalidConnectionString, parseConnectionString } from '../database/connection-string.ts';

/** The format of a bearer token in a header. */
export const bearerTokenPattern = /^[\x21-\x7e]{1,8192}$/;

/** A value that appears in no message. */
export const secret = z.string().transform((text) => new Secret(text));
/** A bearer token for a header, which appears in no message. */
export const bearerToken = z
  .string()
  .regex(bearerTokenPattern, { error: 'must be a bearer token without spaces, of at most 8192 characters' })
  .pipe(secret);
/** The path of a file, made absolute. */
export const file = z.string().transform((path) => resolve(path));
/** Splits a list at commas, and lower-cases it. */
export const parseList = (list: string) =>
  list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter(Boolean);
/** A switch. */
export const onOff = z.enum(['on', 'off'], { error: 'must be "on" or "off"' });

/**
 * A number of at least 1.
 *
 * @param what names the unit in the message
 */
export const positiveInteger = (what: string) =>
  z
    .string()
    .regex(/^[1-9]\d{0,9}$/, { error: `must be ${what}, at least 1` })
    .transform(Number);

/** A number of days, possibly 0. */
export const days = z
  .string()
  .regex(/^\d{1,4}$/, { error: 'must be a number of days' })
  .transform(Number);

/** A URL of PostgreSQL. */
export const databaseUrl = z
  .string()
  .regex(/^postgres(ql)?:\/\//, { error: 'must start with postgresql://', abort: true })
  .superRefine(checkConnectionString)
  .pipe(secret);

function checkConnectionString(url: string, context: z.RefinementCtx): void {
  try {
    parseConnectionString(url);
  } catch (error) {
    if (!(error instanceof InvalidConnectionString)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
  }
}

/**
 * A text that a function parses.
 *
 * @param parse returns undefined if the text is invalid
 * @param message the rule of the text, which begins with "must"
 */
export function parsed<T>(parse: (text: string) => T | undefined, message: string) {
  return z.string().transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}
