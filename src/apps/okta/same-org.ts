import { z } from 'zod';
import { parseJson } from '../../outbound/json.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { Credentials } from '../app.ts';
import { ownOutboundError } from '../map-outbound-error.ts';

/** The part of the organisation's metadata that identifies it. */
const metadata = z.object({ id: z.string().min(1) });

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
  const [one, other] = await Promise.all([from, to].map((shown) => fetchOrganisationId(shown, outbound)));
  return one !== undefined && one === other;
}

async function fetchOrganisationId(
  { instanceUrl }: Credentials['public'],
  outbound: Outbound,
): Promise<string | undefined> {
  try {
    const url = new URL('/.well-known/okta-organization', instanceUrl);
    const { body } = await outbound.get(url, {
      headers: { accept: 'application/json' },
      maxBytes: 16 * 1024,
    });
    return metadata.parse(parseJson(body)).id;
  } catch (error) {
    const own = error instanceof OutboundError && ownOutboundError(error, 'Okta');
    if (own) throw own;
    return undefined;
  }
}
