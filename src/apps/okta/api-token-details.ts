import type { Secret } from '../../common/secret.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import type { VerificationDetails, VerificationWarning } from '../credentials.ts';
import { describeClockDifference } from './clock-difference.ts';
import { type ListedApiToken, readApiTokens, readOrganisationName, readRoles } from './parse-details.ts';
import { isActiveStatus, type TokenOwner } from './parse-response.ts';

/** About two hundred tokens. Okta does not list them in pages. */
const maxListBytes = 128 * 1024;

/** An API token that Okta has accepted, and what its verification has found. */
export interface AcceptedApiToken {
  instanceUrl: string;
  apiToken: Secret;
  owner: TokenOwner;
  organisationId: string;
  /** As `measureClockDifference` returns it. */
  clock: number | null;
}

/**
 * Asks Okta for what it says about an API token: the organisation, the roles of its owner, and the tokens of its owner. Many
 * owners may not read all of these.
 */
export async function findApiTokenDetails(
  { instanceUrl, apiToken, owner, organisationId, clock }: AcceptedApiToken,
  outbound: Outbound,
): Promise<VerificationDetails> {
  const headers = { accept: 'application/json', authorization: `SSWS ${apiToken.reveal()}` };
  const read = async <T>(path: string, parse: (body: string) => T): Promise<T | null> => {
    const url = new URL(path, instanceUrl);
    const response = await outbound.get(url, { headers, maxBytes: maxListBytes }).catch(() => undefined);
    return response?.status === 200 ? parse(response.body) : null;
  };
  const listTokens = () => read('/api/v1/api-tokens', (body) => readApiTokens(body, owner.id));
  const findTokens = async () => {
    const tokens = await listTokens();
    if (!tokens || tokens.length === 1) return tokens;
    // The request for the list was a use of the token, too.
    return findUsedToken(tokens, (await listTokens()) ?? []) ?? tokens;
  };
  const [name, roles, apiTokens] = await Promise.all([
    read('/api/v1/org', readOrganisationName),
    read(`/api/v1/users/${owner.id}/roles`, readRoles),
    findTokens(),
  ]);
  const isActive = owner.status === null ? null : isActiveStatus(owner.status);
  return {
    organisation: { id: organisationId, name },
    owner: { ...owner, isActive, roles },
    apiTokens,
    clockDifferenceSeconds: clock,
    warnings: [describeClockDifference(clock), describeOwner(owner)].filter(
      (warning) => warning !== undefined,
    ),
  };
}

/** Finds the token that was used between two lists, if there is exactly one. */
function findUsedToken(
  before: readonly ListedApiToken[],
  after: readonly ListedApiToken[],
): [ListedApiToken] | undefined {
  const earlier = new Map(before.map(({ id, lastUpdated }) => [id, lastUpdated ?? '']));
  const used = after.filter(({ id, lastUpdated }) => (lastUpdated ?? '') > (earlier.get(id) ?? '~'));
  return used.length === 1 && used[0] ? [used[0]] : undefined;
}

function describeOwner({ status }: TokenOwner): VerificationWarning | undefined {
  if (status === null || isActiveStatus(status)) return undefined;
  return {
    message: `The owner of the API token has the status ${status} in Okta.`,
    remedy:
      'Okta ends the API tokens of a user who is deactivated. Unsuspend or activate the owner in the Okta Admin Console, or have ' +
      'another administrator create a token under Security > API > Tokens and use that one.',
  };
}
