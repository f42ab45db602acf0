import { Center, Loader } from '@mantine/core';
import { lazy, type ReactNode, Suspense, useEffect, useMemo, useRef, useState } from 'react';
import { Provider } from 'urql';
import { viewerQuery } from '../operations.ts';
import { type Problem, problemOf } from '../problem.ts';
import type { Settings } from '../settings.ts';
import { createApi } from './api.ts';
import { keptKey, type Session, SessionContext } from './session.ts';

const SignIn = lazy(() => import('./sign-in.tsx'));

const expired: Problem = {
  code: 'UNAUTHENTICATED',
  message: 'Your API key lets nobody in any more: it was revoked, or its time is over.',
  issues: [],
  remedy: 'Sign in with another one.',
  requestId: undefined,
};

/** Shows its children to those who are signed in, and to all others how to sign in. */
export function SignedIn({ settings, children }: { settings: Settings; children: ReactNode }) {
  const [session, setSession] = useState<Session>();
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setIsBusy] = useState(false);

  const signIn = useMemo(() => {
    const signOut = (why?: Problem) => {
      keptKey.clear();
      setSession((last) => {
        last?.events.dispose();
        return undefined;
      });
      setProblem(why);
    };
    return async (credential: string, keep: boolean) => {
      setIsBusy(true);
      let isIn = false;
      const api = createApi(credential, () => isIn && signOut(expired));
      const { data, error } = await api.client.query(viewerQuery, {});
      setIsBusy(false);
      if (error) return signOut(problemOf(error));
      if (!data) return;
      isIn = true;
      if (keep) keptKey.write(credential);
      setProblem(undefined);
      setSession({ ...api, viewer: data.viewer, signOut: () => signOut() });
    };
  }, []);

  const isStarted = useRef(false);
  useEffect(() => {
    if (isStarted.current) return;
    isStarted.current = true;
    const key = keptKey.read();
    if (key) signIn(key, true);
    else if (settings.apiKey) signIn(settings.apiKey, false);
  }, [settings, signIn]);

  if (session) {
    return (
      <SessionContext value={session}>
        <Provider value={session.client}>{children}</Provider>
      </SessionContext>
    );
  }
  const isSigningInAlone = isBusy && !problem && (settings.apiKey || keptKey.read());
  const waiting = (
    <Center h="100dvh">
      <Loader aria-label="Signing in" />
    </Center>
  );
  if (isSigningInAlone) return waiting;
  return (
    <Suspense fallback={waiting}>
      <SignIn problem={problem} isBusy={isBusy} onSignIn={signIn} />
    </Suspense>
  );
}
