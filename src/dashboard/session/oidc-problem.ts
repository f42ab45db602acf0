import {
  AuthorizationResponseError,
  INVALID_RESPONSE,
  OperationProcessingError,
  ResponseBodyError,
} from 'oauth4webapi';
import type { Problem } from '../api-error.ts';
import { notSignedIn } from './auth-errors.ts';

const orTellAdministrator =
  'If that does not help, tell your administrator; an API key lets you in meanwhile.';

export const notOverHttps = notSignedIn(
  'Browsers sign in with an identity provider only from pages that came over https.',
  'Open this page over https, or use an API key.',
);

/** An answer to a question that nobody here has asked. */
export const notOfThisTab = notSignedIn(
  'What came from the identity provider answers no sign-in that was begun in this tab.',
  'Sign in again from here. If you were not signing in just now, somebody may have sent you a false link.',
);

export const noJwt = notSignedIn(
  'The token of your identity provider is not one for this server (no JWT).',
  'Tell your administrator, who has to make the provider know the server by its OIDC_AUDIENCE; an API key lets you in meanwhile.',
);

/** Says what `oauth4webapi` has found, or what kept it from finding anything. */
export function problemOfProvider(error: unknown): Problem {
  if (error instanceof AuthorizationResponseError) {
    return error.error === 'access_denied'
      ? notSignedIn(
          said('Your identity provider has not let you in', error),
          'Sign in again and allow it, or ask your administrator for access.',
        )
      : notSignedIn(
          said('Your identity provider cannot sign you in', error),
          `Sign in again. ${orTellAdministrator}`,
        );
  }
  if (error instanceof ResponseBodyError) {
    return notSignedIn(
      said('Your identity provider has given no token', error),
      `Sign in again. ${orTellAdministrator}`,
    );
  }
  if (!(error instanceof OperationProcessingError)) {
    return notSignedIn(
      'The identity provider does not answer this page.',
      `Check your network, then sign in again. ${orTellAdministrator} (The provider may be down, or not let ${location.origin} ask it: CORS.)`,
    );
  }
  // Only what came in the address has parameters.
  if (error.code === INVALID_RESPONSE && 'parameters' in Object(error.cause)) return notOfThisTab;
  return notSignedIn(
    `What the identity provider has answered cannot be trusted (${error.code}).`,
    `Sign in again. ${orTellAdministrator}`,
  );
}

function said(
  what: string,
  { error, error_description: why }: AuthorizationResponseError | ResponseBodyError,
): string {
  return why ? `${what}: ${why} (${error}).` : `${what} (${error}).`;
}
