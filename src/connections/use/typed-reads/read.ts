import type { App } from '../../../apps/app.ts';
import { type AppReads, pathParameters, type TypedRead } from '../../../apps/typed-read.ts';
import { currentTimeMs } from '../../../common/clock.ts';
import { validationError } from '../../../common/errors.ts';
import { invalidCursorMessage } from '../../../common/pagination.ts';
import type { Caller } from '../../../identity/caller.ts';
import type { ConnectionDeps } from '../../deps.ts';
import {
  type ExecuteRequest,
  maxBodyBytes,
  type ReceivedResponse,
  receiveResponse,
} from '../execute-request.ts';
import { ReadCursors } from './cursor.ts';
import type { DocumentReads } from './document-reads.ts';
import { invalidResponse, type ReadResponse, toReadError } from './response-error.ts';
import { selectedSchema } from './selected-schema.ts';

/** The connection that a read uses, and the document that it belongs to. */
export interface ReadSource {
  deps: ConnectionDeps;
  caller: Caller;
  app: App;
  reads: AppReads;
  connectionId: string;
  document: DocumentReads<ReceivedResponse>;
  /** Until when requests wait for rate budgets, in milliseconds since the epoch. */
  waitUntil: number;
  label: ExecuteRequest['label'];
  authenticateAgain: ExecuteRequest['authenticateAgain'];
  signal?: AbortSignal | undefined;
}

/** The checked members of an object of an app. */
export type Members = Readonly<Record<string, unknown>>;

/** An object of an app, and the connection through which it was read, which reads about the object use. */
export interface ReadNode {
  connectionId: string;
  members: Members;
}

/** What a request is made from. */
export interface ReadValues {
  arguments: Members;
  /** The members of the object that has the field. */
  parent?: Members;
}

/** Which page of a list to read. */
export interface ReadPageOptions {
  /** At most the `maxSize` of the list. */
  first: number;
  after?: string | null | undefined;
}

/** A page of a list of an app. */
export interface ReadPage {
  nodes: ReadNode[];
  hasNextPage(): boolean;
  hasPreviousPage(): boolean;
  /** Null on an empty page. */
  readonly startCursor: string | null;
  /** Where the list goes on, now or later: null if the page is empty and the app links to no other. */
  readonly endCursor: string | null;
  /** Encodes the position after one of `nodes`. */
  getCursor(index: number): string;
}

/**
 * Reads an object of an app.
 *
 * @param paths the members to read: `profile.login`
 * @returns null if the app does not have it
 * @throws AppError as `useConnection` does; `UPSTREAM_INVALID_RESPONSE`, and what `toReadError` returns
 */
export async function readObject(
  source: ReadSource,
  read: TypedRead,
  values: ReadValues,
  paths: ReadonlySet<string>,
): Promise<ReadNode | null> {
  const { path, query } = buildRequest(read, values);
  const response = await load(source, withQuery(path, query));
  const body = await response.parseBody();
  if (response.status === 404 && source.reads.readErrorCode(body) !== undefined) return null;
  if (response.status !== 200) throw toReadError(response, body);
  const [object] = check(source.connectionId, response, read, [body], 0, paths);
  return object ?? null;
}

/**
 * Reads a page of a list of an app. It can be shorter than asked for, as the app's own pages can.
 *
 * @param paths the members to read of each object
 * @throws AppError as `readObject` does; `BAD_USER_INPUT` for a cursor of another list
 */
export async function readPage(
  source: ReadSource,
  read: TypedRead,
  values: ReadValues,
  { first, after }: ReadPageOptions,
  paths: ReadonlySet<string>,
): Promise<ReadPage> {
  const { path, query } = buildRequest(read, values);
  const { deps, connectionId } = source;
  const macs = await deps.vault.rowMacs(deps.database.asSystem());
  const field = [read.parent?.name, read.field];
  const cursors = new ReadCursors(macs, { connectionId, field, path, query: query.toString() });
  const start =
    after == null ? { page: firstPage(read, path, query, first), skip: 0 } : cursors.decode(after);
  if (!start) throw validationError([{ path: ['after'], message: invalidCursorMessage }]);
  const { page, skip } = start;
  const response = await load(source, page);
  const body = await response.parseBody();
  if (response.status !== 200) throw toReadError(response, body);
  if (typeof body === 'string')
    throw invalidResponse(response, 'it is not JSON, or it is nested too deeply or has too many members');
  if (!Array.isArray(body)) throw invalidResponse(response, 'it is not a list');
  const { length } = body;
  const nodes = check(source.connectionId, response, read, body.slice(skip, skip + first), skip, paths);
  const next = findNextUrl(response);
  const end = skip + nodes.length;
  const encodeAfter = (count: number): string =>
    cursors.encode(count < length || next === undefined ? { page, skip: count } : { page: next, skip: 0 });
  return {
    nodes,
    // A list to which objects are added, such as a log, ends with a page that links to itself.
    hasNextPage: () => end < length || (next !== undefined && next !== page),
    hasPreviousPage: () => after != null,
    get startCursor() {
      return nodes.length === 0 ? null : encodeAfter(skip + 1);
    },
    get endCursor() {
      return nodes.length === 0 && next === undefined ? null : encodeAfter(end);
    },
    getCursor: (index) => encodeAfter(skip + index + 1),
  };
}

function buildRequest(
  { path, arguments: declared = {} }: TypedRead,
  { arguments: args, parent = {} }: ReadValues,
): { path: string; query: URLSearchParams } {
  const inPath = pathParameters(path);
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(String(Object.hasOwn(declared, name) ? args[name] : parent[name])),
  );
  const query = new URLSearchParams();
  for (const name of Object.keys(declared)) {
    const value = args[name];
    if (value == null || inPath.includes(name)) continue;
    query.set(name, value instanceof Date ? value.toISOString() : String(value));
  }
  return { path: filled, query };
}

function firstPage({ pages }: TypedRead, path: string, query: URLSearchParams, first: number): string {
  const { sizeParameter } = pages ?? {};
  const sized = new URLSearchParams(query);
  if (sizeParameter) sized.set(sizeParameter.name, String(Math.max(sizeParameter.min, first)));
  return withQuery(path, sized);
}

function withQuery(path: string, query: URLSearchParams): string {
  return query.size > 0 ? `${path}?${query}` : path;
}

/** Sends the request, unless the document has sent it already. */
async function load(source: ReadSource, url: string): Promise<ReadResponse> {
  const { deps, caller, app, reads, connectionId, document, waitUntil, label, authenticateAgain, signal } =
    source;
  const [path = '', query] = url.split(/\?(.*)/s);
  const response = await document.load(`${connectionId} ${url}`, () => {
    const headers = [{ name: 'accept', value: 'application/json' }];
    const preferWaitSeconds = Math.max(0, (waitUntil - currentTimeMs()) / 1_000);
    return receiveResponse(
      deps,
      caller,
      { id: connectionId, app: app.id },
      { method: 'GET', path, query, headers, preferWaitSeconds, label, authenticateAgain },
      signal,
    );
  });
  const readable = { ...response, reads };
  if (!response.truncated) return readable;
  throw invalidResponse(
    readable,
    `it has more than ${maxBodyBytes} bytes`,
    'Ask for fewer objects per page with `first`.',
  );
}

/** @throws AppError `UPSTREAM_INVALID_RESPONSE` if the next page cannot be read, because the list would seem to end here */
function findNextUrl(response: ReadResponse): string | undefined {
  const { next } = response;
  if (!next || 'url' in next) return next?.url;
  throw invalidResponse(response, next.fault);
}

/**
 * Checks objects of a response, and copies their selected members.
 *
 * @param offset the index of the first one in the response
 */
function check(
  connectionId: string,
  response: ReadResponse,
  { object, pages }: TypedRead,
  objects: readonly unknown[],
  offset: number,
  paths: ReadonlySet<string>,
): ReadNode[] {
  const schema = selectedSchema(object, paths);
  return objects.map((each, index) => {
    const { data, error } = schema.safeParse(each);
    if (!error) return { connectionId, members: data as Members };
    // Only names of the schema and indexes, and no values.
    const member = error.issues[0]?.path.join('.') || 'it';
    const where = pages ? ` of object ${offset + index}` : '';
    throw invalidResponse(response, `${member}${where} is not of the type or format of its description`);
  });
}
