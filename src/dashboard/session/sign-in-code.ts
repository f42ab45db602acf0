import { offlineError } from '../api-error.ts';
import type { MutationResult } from '../run-mutation.ts';
import { unauthenticated } from './auth-errors.ts';
import { type Credential, staticCredential } from './credential.ts';

/** See `src/app/sign-in-exchange.ts`. The path is relative, so that it works under any base path. */
const exchangePath = 'sign-in/exchange';
const codeMediaType = 'application/vnd.app-connections.sign-in-code+json';

const invalidLink = unauthenticated(
  'This sign-in link no longer works: it was used, it has expired, or its server was stopped.',
  'Sign in with the API key. The terminal of the server shows where the key is and how to get another link.',
);

/** Reads the one-time code from the URL and removes it from the URL and the history. */
export function consumeSignInCode(): string | undefined {
  const [, code] = /^#code=(.*)$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, '', location.pathname + location.search);
  return code;
}

/** Exchanges a one-time code for the API key. */
export async function exchangeSignInCode(code: string): Promise<MutationResult<Credential>> {
  try {
    const response = await fetch(exchangePath, {
      method: 'POST',
      headers: { 'content-type': codeMediaType },
      body: JSON.stringify({ code }),
      credentials: 'omit',
      redirect: 'error',
    });
    if (!response.ok) return { apiError: invalidLink };
    const { apiKey } = (await response.json()) as { apiKey: string };
    return { data: staticCredential(apiKey, false) };
  } catch {
    return { apiError: offlineError };
  }
}
