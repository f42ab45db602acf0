import { z } from 'zod';
import type { OidcSettings } from '../auth/oidc.ts';
import { StartupError } from '../common/errors.ts';
import { scopes } from '../identity/caller.ts';

/**
 * The scopes that the dashboard requests. It manages no API keys, and a provider refuses a sign-in with a scope that it does
 * not know, as those of webhooks after an upgrade: OIDC_SCOPES adds them.
 */
const dashboardScopes = [
  'openid',
  ...scopes.filter((scope) => scope !== 'access:admin' && !scope.startsWith('webhooks:')),
];

/** The variables of sign-in with an identity provider. */
export const oidcVariables = {
  OIDC_ISSUER: z
    .url({
      protocol: /^https?$/,
      error: 'must be the URL of the identity provider, as in the iss claim of its tokens',
    })
    .refine((url) => !/[?#@]/.test(url), { error: 'must be a URL without a user, a query or a fragment' })
    .optional(),
  OIDC_AUDIENCE: z.string().optional(),
  OIDC_ORG_CLAIM: z.string().default('org'),
  OIDC_SCOPE_CLAIM: z.string().default('scope'),
  OIDC_PROJECTS_CLAIM: z.string().default('projects'),
  OIDC_CLIENT_ID: z
    .string()
    .regex(/^[\x20-\x7e]+$/, { error: 'must be the client id of the dashboard at the identity provider' })
    .optional(),
  OIDC_SCOPES: z
    .string()
    .transform((list) => list.split(/[\s,]+/).filter(Boolean))
    .refine((names) => names.includes('openid'), {
      error: 'must be scopes separated by spaces, and must include openid',
    })
    .optional(),
};

const oidcEnvironment = z.object(oidcVariables);

/**
 * Returns the settings of the identity provider; undefined without one.
 *
 * @throws StartupError if the variables contradict each other
 */
export function readOidcSettings(
  data: z.output<typeof oidcEnvironment>,
  production: boolean,
): OidcSettings | undefined {
  const { OIDC_ISSUER: issuer, OIDC_AUDIENCE: audience, OIDC_CLIENT_ID: id } = data;
  if (data.OIDC_SCOPES && !id) throw new StartupError('OIDC_SCOPES needs OIDC_CLIENT_ID');
  if (id && !(issuer && audience))
    throw new StartupError('OIDC_CLIENT_ID needs OIDC_ISSUER and OIDC_AUDIENCE');
  if (!issuer && !audience) return undefined;
  if (!issuer || !audience) {
    throw new StartupError('OIDC_ISSUER and OIDC_AUDIENCE must be set together');
  }
  if (production && !issuer.startsWith('https:')) {
    throw new StartupError('OIDC_ISSUER must start with https:// when NODE_ENV=production');
  }
  return {
    issuer,
    audience,
    orgClaim: data.OIDC_ORG_CLAIM,
    scopeClaim: data.OIDC_SCOPE_CLAIM,
    projectsClaim: data.OIDC_PROJECTS_CLAIM,
    client: id ? { id, scopes: (data.OIDC_SCOPES ?? dashboardScopes).join(' ') } : undefined,
  };
}
