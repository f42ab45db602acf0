import type { ApiError } from '../api-error.ts';
import type { Credential } from './credential.ts';

/** The session has ended. */
export function sessionEnded({ isToken }: Credential): ApiError {
  return isToken
    ? unauthenticated(
        'Your session has expired, or your identity provider has ended it.',
        'Sign in again to return to this page.',
      )
    : unauthenticated(
        'Your API key no longer works: it was revoked, or it has expired.',
        'Sign in with another key.',
      );
}

/** The server refused a sign-in. The remedies are about the form, not about HTTP headers. */
export function signInRefused(apiError: ApiError, { isToken }: Credential): ApiError {
  if (apiError.code !== 'UNAUTHENTICATED') return apiError;
  return isToken
    ? unauthenticated(
        `The server did not accept the token of your identity provider. ${apiError.message}`,
        'Sign in again. If that does not help, ask your administrator to compare the token with docs/api/authentication.md.',
      )
    : unauthenticated(apiError.message, 'Copy the whole key again, or ask an administrator for a new one.');
}

/** Builds an authentication error. */
export function unauthenticated(message: string, remedy: string): ApiError {
  return { code: 'UNAUTHENTICATED', message, issues: [], remedy, requestId: undefined };
}
