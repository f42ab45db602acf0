import type { Answer, OktaRequest } from './okta-standin-answers.ts';
import { fail } from './okta-standin-answers.ts';
import type { TokenEndpointState } from './okta-token-endpoint.ts';

/** The scope that a path needs, without `.read` or `.manage`. */
const scopesOfPaths: readonly (readonly [RegExp, string])[] = [
  [/^\/api\/v1\/users(\/|$)/, 'okta.users'],
  [/^\/api\/v1\/groups(\/|$)/, 'okta.groups'],
  [/^\/api\/v1\/apps(\/|$)/, 'okta.apps'],
  [/^\/api\/v1\/logs(\/|$)/, 'okta.logs'],
  [/^\/api\/v1\/org(\/|$)/, 'okta.orgs'],
];

/** The client of a request that may be answered, or the answer of a request that may not. */
export type Authorized = { clientId: string } | Answer;

/** Decides whether a request with an access token may be answered, as Okta does. */
export async function authorizeRequest(
  { apps, proofs, tokens, nonce, getTime }: TokenEndpointState,
  { method, url, headers }: OktaRequest,
  requiresNonce: boolean,
): Promise<Authorized> {
  const [scheme = '', value = ''] = headers.authorization?.split(' ') ?? [];
  const challenge = (status: number, error: string, description: string): Answer => ({
    ...(status === 400 ? { status } : { ...fail(status === 401 ? 'E0000011' : 'E0000006') }),
    headers: {
      'www-authenticate':
        `${scheme} authorization_uri="${url.origin}/oauth2/v1/authorize", realm="${url.origin}", ` +
        `error="${error}", error_description="${description}", resource="${url.pathname}"`,
      ...(error === 'use_dpop_nonce' && { 'dpop-nonce': nonce }),
    },
  });
  const token = tokens.get(value);
  const now = getTime();
  if (!token || token.expiresAt <= now)
    return challenge(401, 'invalid_token', 'The access token is invalid.');
  if ((token.thumbprint === undefined) !== (scheme === 'Bearer'))
    return challenge(401, 'invalid_token', 'The access token is of another type.');
  if (token.thumbprint !== undefined) {
    const { dpop } = headers;
    const subject = { method, url, accessToken: value, now };
    const proof = await proofs.verify(typeof dpop === 'string' ? dpop : undefined, subject);
    if (typeof proof === 'string') return challenge(400, 'invalid_dpop_proof', proof);
    if (proof.thumbprint !== token.thumbprint)
      return challenge(400, 'invalid_dpop_proof', 'The key of the DPoP proof JWT is not that of the token.');
    if (requiresNonce && proof.nonce !== nonce)
      return challenge(400, 'use_dpop_nonce', 'Resource server requires nonce in DPoP proof.');
  }
  // Service apps are no users.
  if (url.pathname === '/api/v1/users/me') return fail('E0000007');
  const [, needed] = scopesOfPaths.find(([pattern]) => pattern.test(url.pathname)) ?? [];
  const allowed = method === 'GET' ? [`${needed}.read`, `${needed}.manage`] : [`${needed}.manage`];
  if (needed && !token.scopes.some((scope) => allowed.includes(scope)))
    return challenge(403, 'insufficient_scope', 'The access token does not contain the required scopes.');
  if (apps.find(token.clientId)?.hasRole === false)
    return url.pathname === '/api/v1/users' && method === 'GET'
      ? { status: 200, content: [] }
      : fail('E0000006');
  return { clientId: token.clientId };
}
