import { Center } from '@mantine/core';
import { lazy, type ReactNode, Suspense, useEffect, useMemo, useRef, useState } from 'react';
import { Provider } from 'urql';
import { type ApiError, offlineError, parseError } from '../api-error.ts';
import { Loading } from '../loading.tsx';
import { viewerQuery } from '../operations.ts';
import type { Settings } from '../settings.ts';
import { createApi } from './api.ts';
import { sessionEnded, signInRefused } from './auth-errors.ts';
import { type Credential, staticCredential, storedCredential } from './credential.ts';
import { type AuthCallback, getOidcClient, redirectToSignOut } from './pending-authorization.ts';
import { type Session, SessionContext } from './session.ts';
import { exchangeSignInCode } from './sign-in-code.ts';

const SignIn = lazy(() => import('./sign-in.tsx'));

interface SignedInProps {
  settings: Settings;
  /** Absent if the page was not opened by the identity provider. */
  callback: AuthCallback | undefined;
  /** The one-time code in the URL. */
  signInCode: string | undefined;
  children: ReactNode;
}

/** Renders its children for signed-in callers, and the sign-in form for others. */
export function SignedIn({ settings, callback, signInCode, children }: SignedInProps) {
  const oidc = getOidcClient(settings);
  const [session, setSession] = useState<Session>();
  const [apiError, setApiError] = useState<ApiError>();
  const [isBusy, setIsBusy] = useState(false);
  const [isAutoSigningIn, setIsAutoSigningIn] = useState(() =>
    Boolean((callback && oidc) || signInCode || storedCredential.read()),
  );

  const { signIn, startLogin, handleCallback, redeemCode } = useMemo(() => {
    const endSession = (error?: ApiError) => {
      storedCredential.clear();
      setSession(undefined);
      setIsBusy(false);
      setIsAutoSigningIn(false);
      setApiError(error);
    };

    const signIn = async (credential: Credential, keep: boolean) => {
      setIsBusy(true);
      let isActive = false;
      const getSecret = async () => {
        const current = await credential.getSecret();
        // The token may have been renewed.
        if (isActive && keep) storedCredential.write(current, credential.isToken);
        return current;
      };
      const signOut = (error?: ApiError) => {
        isActive = false;
        endSession(error);
      };
      const api = createApi(getSecret, () => isActive && signOut(sessionEnded(credential)));
      const { data, error } = await api.client.query(viewerQuery, {});
      if (error) return endSession(signInRefused(parseError(error), credential));
      if (!data) return;
      isActive = true;
      await getSecret();
      setIsBusy(false);
      setApiError(undefined);
      setSession({
        ...api,
        viewer: data.viewer,
        signOut: () => {
          signOut();
          if (credential.isToken && oidc) redirectToSignOut(oidc);
        },
      });
    };

    // Loaded only for sign-in with the provider.
    const loadOidc = () => import('./oidc.ts').catch(() => endSession(offlineError));

    return {
      signIn,
      startLogin: async (keep: boolean) => {
        if (!oidc) return;
        setIsBusy(true);
        const error = await (await loadOidc())?.startLogin(oidc, keep);
        if (error) endSession(error);
      },
      handleCallback: async (callback: AuthCallback) => {
        if (!oidc) return;
        const outcome = await (await loadOidc())?.handleCallback(oidc, callback);
        if (outcome?.apiError) endSession(outcome.apiError);
        else if (outcome) await signIn(outcome.data, callback.pending?.keep ?? false);
      },
      redeemCode: async (code: string) => {
        const { data, apiError } = await exchangeSignInCode(code);
        // Stored, because the link works only once, and for GraphiQL in the same tab.
        if (data) await signIn(data, true);
        else endSession(apiError);
      },
    };
  }, [oidc]);

  const isStarted = useRef(false);
  useEffect(() => {
    if (isStarted.current) return;
    isStarted.current = true;
    const stored = storedCredential.read();
    if (callback && oidc) handleCallback(callback);
    else if (signInCode) redeemCode(signInCode);
    else if (stored) signIn(stored, true);
  }, [callback, handleCallback, oidc, redeemCode, signIn, signInCode]);

  if (session) {
    return (
      <SessionContext value={session}>
        <Provider value={session.client}>{children}</Provider>
      </SessionContext>
    );
  }
  const loading = (
    <Center h="100dvh">
      <Loading label="Signing in" />
    </Center>
  );
  if (isAutoSigningIn) return loading;
  return (
    <Suspense fallback={loading}>
      <SignIn
        apiError={apiError}
        isBusy={isBusy}
        provider={settings.oidc && { isReachable: oidc !== undefined, onSignIn: startLogin }}
        onSignIn={(key, keep) => signIn(staticCredential(key, false), keep)}
      />
    </Suspense>
  );
}
