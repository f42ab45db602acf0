import { type BenchRequest, connection, type Dialect, type NewConnection, page } from './operations.ts';

/** The URL, headers and dialect of a server. */
export interface Client {
  url: string;
  headers: Record<string, string>;
  dialect: Dialect;
}

/** The argument of each operation. */
export interface OperationArguments {
  read: string;
  list: undefined;
  create: NewConnection;
}

const readers = { read: connection, list: page, create: connection };

/** Builds a request for an operation. */
export function buildRequest<Name extends keyof OperationArguments>(
  dialect: Dialect,
  operation: Name,
  argument: OperationArguments[Name],
): BenchRequest {
  const build = dialect[operation] as (argument: OperationArguments[Name]) => BenchRequest;
  return build(argument);
}

/**
 * Sends an operation once, and returns the response in the form that is common to all servers.
 *
 * @throws when the response is not as expected
 */
export async function sendOperation<Name extends keyof OperationArguments>(
  client: Client,
  operation: Name,
  argument: OperationArguments[Name],
) {
  const { url, headers, dialect } = client;
  const { path, method, body } = buildRequest(dialect, operation, argument);
  const response = await fetch(url + path, { method, headers, ...(body && { body }) });
  const text = await response.text();
  if (response.status !== 200)
    throw new Error(`${url} answered ${operation} with ${response.status}: ${text}`);
  return readers[operation].parse(dialect.parseResponse(operation, text)) as ReturnType<
    (typeof readers)[Name]['parse']
  >;
}
