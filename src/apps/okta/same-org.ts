import type { Outbound } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { Credentials } from '../credentials.ts';
import { ownOutboundError } from '../map-outbound-error.ts';
import { fetchOrganisationId } from './organisation-metadata.ts';

/**
 * Whether two instance URLs certainly belong to one Okta organisation, for example its domain and a custom domain.
 * Compares `/.well-known/okta-organization` of both, which needs no token. False if one does not respond.
 *
 * @throws AppError if this server could not send the request
 */
export async function isSameOktaOrganisation(
  from: Credentials['public'],
  to: Credentials['public'],
  outbound: Outbound,
): Promise<boolean> {
  const [one, other] = await Promise.all([from, to].map((shown) => findOrganisationId(shown, outbound)));
  return one !== undefined && one === other;
}

async function findOrganisationId(
  { instanceUrl }: Credentials['public'],
  outbound: Outbound,
): Promise<string | undefined> {
  try {
    const id = await fetchOrganisationId(instanceUrl, outbound);
    return typeof id === 'string' ? id : undefined;
  } catch (error) {
    const own = error instanceof OutboundError && ownOutboundError(error, 'Okta');
    if (own) throw own;
    return undefined;
  }
}
