import { z } from 'zod';
import { unauthenticated } from '../auth/authentication-error.ts';
import { type ErrorCode, validationError } from '../common/errors.ts';
import { isStorable, maxInputDepth, notStorableMessage } from '../common/text.ts';
import type { Caller } from '../identity/caller.ts';

/** What came with a request, as it came. */
export interface RestRequest {
  path: Readonly<Record<string, string>>;
  /** A list for a parameter that was given several times. */
  query: Readonly<Record<string, string | readonly string[]>>;
  /** Names in lower case. */
  headers: Readonly<Record<string, unknown>>;
  body: object | undefined;
}

/** The rules of what may come with a request. */
export type RequestSchemas = {
  path?: z.ZodObject;
  query: z.ZodObject;
  headers?: z.ZodObject;
  body?: z.ZodType;
};

/** What a route answers with: a JSON body and perhaps headers of its own. */
export interface RestResponse<Body> {
  body: Body;
  headers?: Readonly<Record<string, string>>;
}

/** What is said of a route; requests are checked by it, and the OpenAPI document is made from it. */
export interface RouteDescription<
  R extends RequestSchemas = RequestSchemas,
  A extends z.ZodType = z.ZodType,
> {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** Segments that start with a colon are parameters. */
  path: string;
  /** The name of the operation, for generated clients. */
  id: string;
  summary: string;
  schemas: R;
  response: A;
  /** Whether a body that is left out is as good as an empty object. */
  isBodyOptional?: boolean;
  /** Whether a `Link` header may lead to more. */
  isPaged?: boolean;
  /** How it can fail, besides what can happen to all. */
  codes?: readonly ErrorCode[];
  /** Whether it needs no key for as long as the GraphQL schema needs none either. */
  isPublic?: boolean;
}

/** A route that can be asked. */
export interface Route extends RouteDescription {
  /** @throws AppError `BAD_USER_INPUT` with every broken rule, or whatever the service that it calls throws */
  handle(
    given: RestRequest,
    caller: Caller | undefined,
    getSignal: () => AbortSignal,
  ): Promise<RestResponse<unknown>>;
}

/**
 * A route that answers callers once the rules of what they gave have been checked.
 *
 * @param answer gets a function that creates a signal, which aborts when the client disconnects
 */
export function route<R extends RequestSchemas, A extends z.ZodType>(
  description: RouteDescription<R, A>,
  answer: (
    given: z.output<ReturnType<typeof z.object<R>>>,
    caller: Caller,
    getSignal: () => AbortSignal,
  ) => Promise<RestResponse<z.input<A>>>,
): Route {
  const schema = z.object(description.schemas);
  return {
    ...description,
    handle: async (given, caller, getSignal) => {
      if (!caller) throw unauthenticated();
      const { usable, reasons } = dropUnusableText(given);
      const { success, data, error } = schema.safeParse(usable);
      if (success) return answer(data, caller, getSignal);
      const issues = error.issues.map(({ path, message }) => {
        const names = path.map(toPathSegment);
        // Which part of the request it was, the name of the field says well enough.
        return { path: names.slice(1), message: reasons.get(JSON.stringify(names)) ?? message };
      });
      throw validationError(issues);
    },
  };
}

/** Stands for what cannot be used, so that whatever rule there is refuses it beside all else that is broken. */
const unusable = Symbol('unusable');

/** What was given but for what cannot be used whatever its rule is, and by path why not. */
function dropUnusableText(given: RestRequest): { usable: unknown; reasons: ReadonlyMap<string, string> } {
  const reasons = new Map<string, string>();
  const refuse = (path: readonly (string | number)[], reason: string) => {
    reasons.set(JSON.stringify(path), reason);
    return unusable;
  };
  const look = (value: unknown, path: readonly (string | number)[]): unknown => {
    if (typeof value === 'string') return isStorable(value) ? value : refuse(path, notStorableMessage);
    if (typeof value !== 'object' || value === null || path.length === maxInputDepth) return value;
    if (Array.isArray(value)) {
      if (path[0] === 'query') return refuse(path, 'Give this once.');
      return value.map((item, index) => look(item, [...path, index]));
    }
    const members = Object.entries(value).map(([name, item]) => [name, look(item, [...path, name])]);
    return Object.fromEntries(members);
  };
  return { usable: look(given, []), reasons };
}

/** The route for a request: the first whose path fits, so that words are to come before parameters. */
export function findRoute(
  routes: readonly Route[],
  method: string,
  path: string,
): { route: Route | undefined; parameters: RestRequest['path']; allowed: string[] } | undefined {
  for (const { path: pattern } of routes) {
    const parameters = match(pattern, path);
    if (!parameters) continue;
    const here = routes.filter((each) => each.path === pattern);
    // As everywhere, HEAD is GET without the body.
    const route = here.find((each) => each.method === (method === 'HEAD' ? 'GET' : method));
    const allowed = here.flatMap((each) => (each.method === 'GET' ? ['GET', 'HEAD'] : [each.method]));
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
    if (name.startsWith(':') && segment !== '') parameters.push([name.slice(1), decoded(segment)]);
    else if (name !== segment) return undefined;
  }
  return Object.fromEntries(parameters);
}

/** What cannot be decoded breaks the parameter's rule as it is. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function toPathSegment(part: PropertyKey): string | number {
  return typeof part === 'symbol' ? part.toString() : part;
}
