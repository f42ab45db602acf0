import type { Problem } from '../api-error.ts';
import type { Credential } from './credential.ts';

/** Why somebody who was signed in no longer is. */
export function ended({ isToken }: Credential): Problem {
  return isToken
    ? notSignedIn(
        'Your session has expired, or your identity provider has ended it.',
        'Sign in again to return to this page.',
      )
    : notSignedIn(
        'Your API key no longer works: it was revoked, or it has expired.',
        'Sign in with another key.',
      );
}

/** Why somebody could not be signed in, for whoever looks at a form and not at headers. */
export function refused(problem: Problem, { isToken }: Credential): Problem {
  if (problem.code !== 'UNAUTHENTICATED') return problem;
  return isToken
    ? notSignedIn(
        `The server did not accept the token of your identity provider. ${problem.message}`,
        'Sign in again. If that does not help, ask your administrator to compare the token with docs/api/authentication.md.',
      )
    : notSignedIn(problem.message, 'Copy the whole key again, or ask an administrator for a new one.');
}

/** Nobody was let in. */
export function notSignedIn(message: string, remedy: string): Problem {
  return { code: 'UNAUTHENTICATED', message, issues: [], remedy, requestId: undefined };
}
