import { z } from 'zod';
import { unauthenticated } from '../auth/authentication-error.ts';
import { type ErrorCode, validationError } from '../common/errors.ts';
import { isStorable, maxInputDepth, notStorableMessage } from '../common/text.ts';
import type { Caller } from '../identity/caller.ts';

/** The error codes of verifying credentials with an app. */
export const verificationCodes: readonly ErrorCode[] = [
  'CREDENTIALS_REJECTED',
  'INSUFFICIENT_PERMISSIONS',
  'NOT_AN_OKTA_ORG',
  'HOST_NOT_ALLOWED',
  'UPSTREAM_RATE_LIMITED',
  'UPSTREAM_UNREACHABLE',
];

/** The raw input of a request. */
export interface RestRequest {
  path: Readonly<Record<string, string>>;
  /** A list for a repeated parameter. */
  query: Readonly<Record<string, string | readonly string[]>>;
  /** Names in lower case. */
  headers: Readonly<Record<string, unknown>>;
  body: object | undefined;
}

/** The zod schemas of the input of a route. */
export type RequestSchemas = {
  path?: z.ZodObject;
  query: z.ZodObject;
  headers?: z.ZodObject;
  body?: z.ZodType;
};

/** A response: a JSON body and optional headers. */
export interface RestResponse<Body> {
  body: Body;
  headers?: Readonly<Record<string, string>>;
}

/** The description of a route, for validation and for the OpenAPI document. */
export interface RouteDescription<
  R extends RequestSchemas = RequestSchemas,
  A extends z.ZodType = z.ZodType,
> {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Segments that start with a colon are parameters. */
  path: string;
  /** The name of the operation, for generated clients. */
  id: string;
  summary: string;
  schemas: R;
  response: A;
  /** Whether a missing body means an empty object. */
  isBodyOptional?: boolean;
  /** Whether the response can have a `Link` header to the next page. */
  isPaged?: boolean;
  /** Its error codes, besides those of all routes. */
  codes?: readonly ErrorCode[];
  /** The kind of credential that it takes. Absent: an API key or an access token. */
  credential?: 'setupLink';
  /** Whether it needs no credential while introspection needs none. */
  isPublic?: boolean;
}

/** A route with its handler. */
export interface Route extends RouteDescription {
  /** @throws AppError `BAD_USER_INPUT` with all issues, or an error of the service that it calls */
  handle(
    input: RestRequest,
    caller: Caller | undefined,
    getSignal: () => AbortSignal,
  ): Promise<RestResponse<unknown>>;
}

/**
 * Creates a route that validates its input and then calls `run`.
 *
 * @param run gets a function that creates a signal, which aborts when the client disconnects
 */
export function route<R extends RequestSchemas, A extends z.ZodType>(
  description: RouteDescription<R, A>,
  run: (
    input: z.output<ReturnType<typeof z.object<R>>>,
    caller: Caller,
    getSignal: () => AbortSignal,
  ) => Promise<RestResponse<z.input<A>>>,
): Route {
  const schema = z.object(description.schemas);
  return {
    ...description,
    handle: async (input, caller, getSignal) => {
      if (!caller) throw unauthenticated();
      const { usable, reasons } = dropUnusableText(input);
      const { success, data, error } = schema.safeParse(usable);
      if (success) return run(data, caller, getSignal);
      const issues = error.issues.map(({ path, message }) => {
        const names = path.map(toPathSegment);
        // Without the part of the request (`query`, `body` …): the names of fields are unique.
        return { path: names.slice(1), message: reasons.get(JSON.stringify(names)) ?? message };
      });
      // Several rules of a schema can have one message.
      throw validationError([...new Map(issues.map((issue) => [JSON.stringify(issue), issue])).values()]);
    },
  };
}

/** Replaces a value that no schema accepts, so that its issue is reported together with all others. */
const unusable = Symbol('unusable');

/** Replaces text that cannot be stored and repeated parameters by `unusable`; `reasons` has the messages by path. */
function dropUnusableText(input: RestRequest): { usable: unknown; reasons: ReadonlyMap<string, string> } {
  const reasons = new Map<string, string>();
  const replaceWithReason = (path: readonly (string | number)[], reason: string) => {
    reasons.set(JSON.stringify(path), reason);
    return unusable;
  };
  const replace = (value: unknown, path: readonly (string | number)[]): unknown => {
    if (typeof value === 'string')
      return isStorable(value) ? value : replaceWithReason(path, notStorableMessage);
    if (typeof value !== 'object' || value === null || path.length === maxInputDepth) return value;
    if (Array.isArray(value)) {
      if (path[0] === 'query') return replaceWithReason(path, 'Send this parameter once.');
      return value.map((item, index) => replace(item, [...path, index]));
    }
    const members = Object.entries(value).map(([name, item]) => [name, replace(item, [...path, name])]);
    return Object.fromEntries(members);
  };
  return { usable: replace(input, []), reasons };
}

/** Finds the first route with a matching path, so routes with literal segments have to precede those with parameters. */
export function findRoute(
  routes: readonly Route[],
  method: string,
  path: string,
): { route: Route | undefined; parameters: RestRequest['path']; allowed: string[] } | undefined {
  for (const { path: pattern } of routes) {
    const parameters = match(pattern, path);
    if (!parameters) continue;
    const routesAtPath = routes.filter((each) => each.path === pattern);
    // HEAD is GET without the body.
    const route = routesAtPath.find((each) => each.method === (method === 'HEAD' ? 'GET' : method));
    const allowed = routesAtPath.flatMap((each) => (each.method === 'GET' ? ['GET', 'HEAD'] : [each.method]));
    return { route, parameters, allowed };
  }
  return undefined;
}

function match(pattern: string, path: string): Record<string, string> | undefined {
  const names = pattern.split('/');
  const segments = path.split('/');
  if (names.length !== segments.length) return undefined;
  const parameters: [string, string][] = [];
  for (const [index, name] of names.entries()) {
    const segment = segments[index] ?? '';
    if (name.startsWith(':') && segment !== '') parameters.push([name.slice(1), decodeSegment(segment)]);
    else if (name !== segment) return undefined;
  }
  return Object.fromEntries(parameters);
}

/** Keeps a segment that cannot be decoded; the parameter's schema rejects it. */
function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function toPathSegment(part: PropertyKey): string | number {
  return typeof part === 'symbol' ? part.toString() : part;
}
