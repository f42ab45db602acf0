import { unauthenticated } from '../access/api-keys.ts';
import type { Caller } from '../access/caller.ts';
import type { ConnectionParts } from '../connections/parts.ts';

/** What resolvers work with. */
export interface Context {
  /** Absent only while a schema is introspected in development. */
  caller?: Caller;
  connections: ConnectionParts;
}

/** @throws Problem `UNAUTHENTICATED` when the request came without a key */
export function callerOf(context: Context): Caller {
  if (context.caller) return context.caller;
  throw unauthenticated('This needs an API key.');
}
