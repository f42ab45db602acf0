import { Agent, request } from 'undici';
import { z } from 'zod';
import { Refused } from './refused.ts';

const agent = new Agent();
const timeoutMs = 10_000;
const owner = z.object({ id: z.string(), status: z.string(), profile: z.object({ login: z.string() }) });

/**
 * Reads the owner of a token from Okta.
 *
 * @throws Refused
 */
export async function verify(instanceUrl: string, apiToken: string) {
  const { statusCode, headers, body } = await request(`${instanceUrl}/api/v1/users/me`, {
    dispatcher: agent,
    headers: { accept: 'application/json', authorization: `SSWS ${apiToken}` },
    signal: AbortSignal.timeout(timeoutMs),
  });
  const answer = await body.json();
  if (statusCode !== 200) throw new Refused(422, 'CREDENTIALS_REJECTED');
  const { id, status, profile } = owner.parse(answer);
  const requestId = headers['x-okta-request-id'];
  return {
    account: { id, status, login: profile.login },
    requestId: typeof requestId === 'string' ? requestId : null,
  };
}
