import type { Secret } from '../../../common/secret.ts';
import type { OutboundResponse } from '../../../outbound/buffered-response.ts';
import type { VerificationDetails } from '../../credentials.ts';
import { describeClockDifference } from '../clock-difference.ts';
import { readOrganisationName } from '../parse-details.ts';
import type { AdminRole } from './admin-role.ts';

/** A service app that Okta has accepted, and what its verification has found. */
export interface AcceptedServiceApp {
  organisation: { id: string; name: string | null };
  /** Those that were asked for, and all of which Okta has granted. The host could hide the token in others. */
  scopes: readonly string[];
  token: { token: Secret; type: 'Bearer' | 'DPoP' };
  role: AdminRole;
  /** As `measureClockDifference` returns it. */
  clock: number | null;
}

const organisationScopes = ['okta.orgs.read', 'okta.orgs.manage'];

/**
 * Asks Okta for the name of the organisation, if the scopes allow that.
 *
 * @returns null if there is no name
 */
export async function findOrganisationName(
  scopes: readonly string[],
  ask: (path: string) => Promise<OutboundResponse | undefined>,
): Promise<string | null> {
  const isReadable = organisationScopes.some((scope) => scopes.includes(scope));
  const response = isReadable ? await ask('/api/v1/org').catch(() => undefined) : undefined;
  return response?.status === 200 ? readOrganisationName(response.body) : null;
}

/**
 * Sums up what the verification has found.
 *
 * @throws Error if the host sends parts of the access token back
 */
export function describeServiceApp({
  organisation,
  scopes,
  token: { token, type },
  role,
  clock,
}: AcceptedServiceApp): VerificationDetails {
  const { name } = organisation;
  const labels = (role.roles ?? []).flatMap(({ type, label }) => [type, label ?? '']);
  if (token.isEchoedIn([name ?? '', ...labels])) throw new Error('The host repeats the access token.');
  const warning = describeClockDifference(clock);
  return {
    organisation,
    scopes: [...scopes],
    usesDpop: type === 'DPoP',
    ...role,
    clockDifferenceSeconds: clock,
    warnings: warning ? [warning] : [],
  };
}
