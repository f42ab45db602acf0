import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AdministrationDeps } from '../administration/deps.ts';
import { unauthenticated } from '../auth/authentication-error.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { Caller } from '../identity/caller.ts';

/** The context of resolvers. */
export interface Context {
  /** Absent only for introspection in development. */
  caller?: Caller;
  req: IncomingMessage;
  res: ServerResponse;
  connections: ConnectionDeps;
  administration: AdministrationDeps;
  /** Its signal aborts when the client disconnects. */
  request: Pick<Request, 'signal'>;
  /** For requests that stay open: throws if the caller's credential is no longer valid. Absent if `caller` is. */
  assertStillAuthenticated?: () => Promise<Caller>;
  /** A document that the client registers as a persisted query, and its SHA-256. */
  persistedQuery?: { hash: string; document: string };
}

/** @throws AppError `UNAUTHENTICATED` if the request is not authenticated */
export function requireCaller(context: Context): Caller {
  if (context.caller) return context.caller;
  throw unauthenticated();
}
