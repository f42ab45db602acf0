import { type Asked, connection, type Dialect, type NewConnection, page } from './operations.ts';

/** The URL, headers and dialect of a server. */
export interface Client {
  url: string;
  headers: Record<string, string>;
  dialect: Dialect;
}

/** The argument of each operation. */
export interface Given {
  read: string;
  list: undefined;
  create: NewConnection;
}

const readers = { read: connection, list: page, create: connection };

/** Builds a request for an operation. */
export function request<Name extends keyof Given>(
  dialect: Dialect,
  operation: Name,
  given: Given[Name],
): Asked {
  const asked = dialect[operation] as (given: Given[Name]) => Asked;
  return asked(given);
}

/**
 * Sends an operation once, and returns the response in the form that is common to all servers.
 *
 * @throws when the response is not as expected
 */
export async function ask<Name extends keyof Given>(client: Client, operation: Name, given: Given[Name]) {
  const { url, headers, dialect } = client;
  const { path, method, body } = request(dialect, operation, given);
  const response = await fetch(url + path, { method, headers, ...(body && { body }) });
  const text = await response.text();
  if (response.status !== 200)
    throw new Error(`${url} answered ${operation} with ${response.status}: ${text}`);
  return readers[operation].parse(dialect.answerOf(operation, text)) as ReturnType<
    (typeof readers)[Name]['parse']
  >;
}
