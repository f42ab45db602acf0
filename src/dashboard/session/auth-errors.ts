import type { Problem } from '../api-error.ts';
import type { Credential } from './credential.ts';

/** Why somebody who was signed in no longer is. */
export function ended({ isToken }: Credential): Problem {
  return isToken
    ? notSignedIn(
        'Your sign-in has expired, or your identity provider has ended it.',
        'Sign in again; you come back to where you were.',
      )
    : notSignedIn(
        'Your API key lets nobody in any more: it was revoked, or its time is over.',
        'Sign in with another one.',
      );
}

/** Why somebody could not be signed in, for whoever looks at a form and not at headers. */
export function refused(problem: Problem, { isToken }: Credential): Problem {
  if (problem.code !== 'UNAUTHENTICATED') return problem;
  return isToken
    ? notSignedIn(
        `The server has not accepted the token of your identity provider. ${problem.message}`,
        'Sign in again. If that does not help, ask your administrator to compare the token with docs/api/authentication.md.',
      )
    : notSignedIn(problem.message, 'Copy all of it again, or ask an administrator for another one.');
}

/** Nobody was let in. */
export function notSignedIn(message: string, remedy: string): Problem {
  return { code: 'UNAUTHENTICATED', message, issues: [], remedy, requestId: undefined };
}
