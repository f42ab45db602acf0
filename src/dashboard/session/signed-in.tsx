import { Center } from '@mantine/core';
import { lazy, type ReactNode, Suspense, useEffect, useMemo, useRef, useState } from 'react';
import { Provider } from 'urql';
import { offline, type Problem, problemOf } from '../api-error.ts';
import { Waiting } from '../loading.tsx';
import { viewerQuery } from '../operations.ts';
import type { Settings } from '../settings.ts';
import { createApi } from './api.ts';
import { ended, refused } from './auth-errors.ts';
import { type Credential, keptCredential, lasting } from './credential.ts';
import { type Arrival, goToSignOut, offerOf } from './pending-authorization.ts';
import { type Session, SessionContext } from './session.ts';
import { exchangeSignInCode } from './sign-in-code.ts';

const SignIn = lazy(() => import('./sign-in.tsx'));

interface SignedInProps {
  settings: Settings;
  /** Absent: nobody comes from the identity provider. */
  arrival: Arrival | undefined;
  /** The one-time code that the page was opened with. */
  signInCode: string | undefined;
  children: ReactNode;
}

/** Shows its children to those who are signed in, and to all others how to sign in. */
export function SignedIn({ settings, arrival, signInCode, children }: SignedInProps) {
  const offer = offerOf(settings);
  const [session, setSession] = useState<Session>();
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setIsBusy] = useState(false);
  const [isSigningInAlone, setIsSigningInAlone] = useState(() =>
    Boolean((arrival && offer) || signInCode || keptCredential.read()),
  );

  const { signIn, leave, arrive, redeem } = useMemo(() => {
    const stayOut = (why?: Problem) => {
      keptCredential.clear();
      setSession(undefined);
      setIsBusy(false);
      setIsSigningInAlone(false);
      setProblem(why);
    };

    const signIn = async (credential: Credential, keep: boolean) => {
      setIsBusy(true);
      let isIn = false;
      const secret = async () => {
        const current = await credential.current();
        // It may have been renewed.
        if (isIn && keep) keptCredential.write(current, credential.isToken);
        return current;
      };
      const signOut = (why?: Problem) => {
        isIn = false;
        stayOut(why);
      };
      const api = createApi(secret, () => isIn && signOut(ended(credential)));
      const { data, error } = await api.client.query(viewerQuery, {});
      if (error) return stayOut(refused(problemOf(error), credential));
      if (!data) return;
      isIn = true;
      await secret();
      setIsBusy(false);
      setProblem(undefined);
      setSession({
        ...api,
        viewer: data.viewer,
        signOut: () => {
          signOut();
          if (credential.isToken && offer) goToSignOut(offer);
        },
      });
    };

    // Only those who sign in with the provider load what that takes.
    const loadOidc = () => import('./oidc.ts').catch(() => stayOut(offline));

    return {
      signIn,
      leave: async (keep: boolean) => {
        if (!offer) return;
        setIsBusy(true);
        const why = await (await loadOidc())?.leave(offer, keep);
        if (why) stayOut(why);
      },
      arrive: async (from: Arrival) => {
        if (!offer) return;
        const outcome = await (await loadOidc())?.arrive(offer, from);
        if (outcome?.problem) stayOut(outcome.problem);
        else if (outcome) await signIn(outcome.data, from.journey?.keep ?? false);
      },
      redeem: async (code: string) => {
        const { data, problem } = await exchangeSignInCode(code);
        // Kept, because the address cannot be opened again, and for GraphiQL in the same tab.
        if (data) await signIn(data, true);
        else stayOut(problem);
      },
    };
  }, [offer]);

  const isStarted = useRef(false);
  useEffect(() => {
    if (isStarted.current) return;
    isStarted.current = true;
    const kept = keptCredential.read();
    if (arrival && offer) arrive(arrival);
    else if (signInCode) redeem(signInCode);
    else if (kept) signIn(kept, true);
  }, [arrival, arrive, offer, redeem, signIn, signInCode]);

  if (session) {
    return (
      <SessionContext value={session}>
        <Provider value={session.client}>{children}</Provider>
      </SessionContext>
    );
  }
  const waiting = (
    <Center h="100dvh">
      <Waiting what="Signing in" />
    </Center>
  );
  if (isSigningInAlone) return waiting;
  return (
    <Suspense fallback={waiting}>
      <SignIn
        problem={problem}
        isBusy={isBusy}
        provider={settings.oidc && { isThere: offer !== undefined, onLeave: leave }}
        onSignIn={(key, keep) => signIn(lasting(key, false), keep)}
      />
    </Suspense>
  );
}
