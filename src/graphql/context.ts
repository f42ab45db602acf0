import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AdministrationDeps } from '../administration/deps.ts';
import { unauthenticated } from '../auth/authentication-error.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import type { Caller } from '../identity/caller.ts';

/** What resolvers work with. */
export interface Context {
  /** Absent only while a schema is introspected in development. */
  caller?: Caller;
  /** What the question came in by. */
  req: IncomingMessage;
  /** What the answer goes out by. */
  res: ServerResponse;
  connections: ConnectionDeps;
  administration: AdministrationDeps;
  /** The request that is answered; its signal aborts when whoever asked hangs up. */
  request: Pick<Request, 'signal'>;
  /** For what goes on for long: throws once the caller's credential lets nobody in any more; absent as the caller is. */
  assertStillAuthenticated?: () => Promise<unknown>;
  /** The document and its SHA-256, where the client wants to name it by that from now on. */
  persistedQuery?: { hash: string; document: string };
}

/** @throws AppError `UNAUTHENTICATED` when the request came without a key */
export function requireCaller(context: Context): Caller {
  if (context.caller) return context.caller;
  throw unauthenticated();
}
