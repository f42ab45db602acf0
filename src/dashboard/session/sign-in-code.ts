import { offline } from '../api-error.ts';
import type { Outcome } from '../run-mutation.ts';
import { notSignedIn } from './auth-errors.ts';
import { type Credential, lasting } from './credential.ts';

/** As `src/app/sign-in-exchange.ts` has them. Relative, so that it works under whatever path the dashboard is. */
const exchangePath = 'sign-in/exchange';
const codeMediaType = 'application/vnd.app-connections.sign-in-code+json';

const noLonger = notSignedIn(
  'This sign-in link no longer works: it was used, it has expired, or its server was stopped.',
  'Sign in with the API key. The terminal of the server shows where the key is and how to get another link.',
);

/** The one-time code in the address, which is taken out of the address and of the history. */
export function takeSignInCode(): string | undefined {
  const [, code] = /^#code=(.*)$/.exec(location.hash) ?? [];
  if (code !== undefined) history.replaceState(null, '', location.pathname + location.search);
  return code;
}

/** Exchanges a one-time code for the API key. */
export async function exchangeSignInCode(code: string): Promise<Outcome<Credential>> {
  try {
    const response = await fetch(exchangePath, {
      method: 'POST',
      headers: { 'content-type': codeMediaType },
      body: JSON.stringify({ code }),
      credentials: 'omit',
      redirect: 'error',
    });
    if (!response.ok) return { problem: noLonger };
    const { apiKey } = (await response.json()) as { apiKey: string };
    return { data: lasting(apiKey, false) };
  } catch {
    return { problem: offline };
  }
}
