import type { ResultOf } from 'gql.tada';
import { createContext, useContext } from 'react';
import type { viewerQuery } from '../operations.ts';
import type { Api } from './api.ts';

/** Who is signed in. */
export type Viewer = ResultOf<typeof viewerQuery>['viewer'];

/** Somebody who is signed in. */
export interface Session extends Api {
  viewer: Viewer;
  signOut(): void;
}

export const SessionContext = createContext<Session | undefined>(undefined);

/** The session; only for what is shown to those who are signed in. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error('useSession is used outside of SignedIn');
  return session;
}
