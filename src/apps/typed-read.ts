import { z } from 'zod';
import { maxDateTime, minDateTime } from '../common/date-time.ts';

/** An object of an app, such as a user. This server promises a part of its members. */
export interface ReadObject {
  /** The GraphQL type without the app's part: `User` becomes `OktaUser`. Objects in it are named after their members. */
  name: string;
  description: string;
  /**
   * The promised members, with their names in the app's response and a description each. What the app may leave out is nullish.
   * Strings, `z.iso.datetime`, `z.int32`, booleans, objects, and lists of these are supported.
   */
  schema: z.ZodObject;
}

/** An argument of a read. */
export interface ReadArgument {
  /** Validates the value, which is a string, an enum value or a `Date`. An argument of the path cannot be optional. */
  schema: z.ZodType;
  description: string;
  /** The values of an enum, with their descriptions. */
  values?: Readonly<Record<string, string>>;
}

/** A GET request to an app whose response callers read as a GraphQL field. */
export interface TypedRead {
  /** The field: `users` becomes `oktaUsers` of the query type. With `parent`, the name stays. */
  field: string;
  /** The object that has the field. Absent for the query type. */
  parent?: ReadObject;
  description: string;
  /**
   * The path. In place of a name in braces comes, percent-encoded, the argument of that name, or with `parent` the member of
   * that name, which must be a required string: `/api/v1/groups/{id}/users`.
   */
  path: string;
  /** The arguments by name. Those that are not in the path are parameters of the query. */
  arguments?: Readonly<Record<string, ReadArgument>>;
  /** The object in the response, or those in its array if the read has `pages`. */
  object: ReadObject;
  /** For a list: how it is read in pages. Further pages are those to which the responses link with `rel="next"` (RFC 8288). */
  pages?: ReadPages;
}

/** The pages of a list. */
export interface ReadPages {
  /** The largest page that callers may ask for. */
  maxSize: number;
  /** The parameter with the size of a page. Absent if the app does not take one. */
  sizeParameter?: { name: string; min: number };
}

/** What callers read of an app in GraphQL. */
export interface AppReads {
  fields: readonly TypedRead[];
  /** Reads the app's error code from the parsed body of an error; undefined if the app did not send it. */
  readErrorCode(body: unknown): string | undefined;
  /** Reads the app's id of a request, of a format that is safe to show, from the headers of a response. */
  readRequestId(headers: Readonly<Record<string, string>>): string | undefined;
}

/** Returns the names in braces in a path. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
}

/** A text that the app may leave out. */
export const text = (description: string) => z.string().nullish().describe(description);

/** A time that the app may leave out. */
export const time = (description: string) => dateTimeText.nullish().describe(description);

/** In the years that RFC 3339 can represent in UTC. */
const dateTimeText = z.iso.datetime({ offset: true }).refine((text) => {
  const date = new Date(text);
  return date >= minDateTime && date <= maxDateTime;
});
