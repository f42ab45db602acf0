import type { ResultOf } from 'gql.tada';
import { createContext, useContext } from 'react';
import type { viewerQuery } from '../operations.ts';
import type { Api } from './api.ts';

/** The signed-in caller. */
export type Viewer = ResultOf<typeof viewerQuery>['viewer'];

/** A session of a signed-in caller. */
export interface Session extends Api {
  viewer: Viewer;
  signOut(): void;
}

export const SessionContext = createContext<Session | undefined>(undefined);

/** Returns the session; only for children of `SignedIn`. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('useSession is used outside of SignedIn');
  return session;
}
