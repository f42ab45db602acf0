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
  if (!session) throw new Error('Nobody is signed in.');
  return session;
}

const kept = 'app-connections.api-key';

/** The API key that this tab was asked to keep. Other tabs do not see it, and it goes when the tab is closed. */
export const keptKey = {
  read: () => sessionStorage.getItem(kept),
  write: (key: string) => sessionStorage.setItem(kept, key),
  clear: () => sessionStorage.removeItem(kept),
};
