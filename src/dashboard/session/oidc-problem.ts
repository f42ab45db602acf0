import {
  AuthorizationResponseError,
  INVALID_RESPONSE,
  OperationProcessingError,
  ResponseBodyError,
} from 'oauth4webapi';
import type { Problem } from '../api-error.ts';
import { notSignedIn } from './auth-errors.ts';

const orTellAdministrator =
  'If that does not help, contact your administrator. Until then, you can sign in with an API key.';

export const notOverHttps = notSignedIn(
  'Signing in with an identity provider requires https.',
  'Open this page over https, or use an API key.',
);

/** An answer to a question that nobody here has asked. */
export const notOfThisTab = notSignedIn(
  'The response from the identity provider does not belong to a sign-in that was started in this tab.',
  'Sign in again. If you did not start a sign-in, someone may have sent you a forged link.',
);

export const noJwt = notSignedIn(
  'The token of your identity provider is not a JWT, so it is not for this server.',
  'Ask your administrator to register OIDC_AUDIENCE with the provider. Until then, you can sign in with an API key.',
);

/** Says what `oauth4webapi` has found, or what kept it from finding anything. */
export function problemOfProvider(error: unknown): Problem {
  if (error instanceof AuthorizationResponseError) {
    return error.error === 'access_denied'
      ? notSignedIn(
          said('Your identity provider denied access', error),
          'Sign in again and allow access, or ask your administrator for it.',
        )
      : notSignedIn(
          said('Your identity provider could not sign you in', error),
          `Sign in again. ${orTellAdministrator}`,
        );
  }
  if (error instanceof ResponseBodyError) {
    return notSignedIn(
      said('Your identity provider issued no token', error),
      `Sign in again. ${orTellAdministrator}`,
    );
  }
  if (!(error instanceof OperationProcessingError)) {
    return notSignedIn(
      'The identity provider cannot be reached from this page.',
      `Check your network, then sign in again. ${orTellAdministrator} (The provider may be down, or its CORS settings may not allow ${location.origin}.)`,
    );
  }
  // Only what came in the address has parameters.
  if (error.code === INVALID_RESPONSE && 'parameters' in Object(error.cause)) return notOfThisTab;
  return notSignedIn(
    `The response from the identity provider is not valid (${error.code}).`,
    `Sign in again. ${orTellAdministrator}`,
  );
}

function said(
  what: string,
  { error, error_description: why }: AuthorizationResponseError | ResponseBodyError,
): string {
  return why ? `${what}: ${why} (${error}).` : `${what} (${error}).`;
}
