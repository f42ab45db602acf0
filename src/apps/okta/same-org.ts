import { z } from 'zod';
import { parseJson } from '../../outbound/json.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { Credentials } from '../app.ts';
import { ownOutboundError } from '../map-outbound-error.ts';

/** The part of the organisation's metadata that tells one from another. */
const metadata = z.object({ id: z.string().min(1) });

/**
 * Whether two instance URLs are certainly of one Okta organisation: its own domain and a custom one, for example.
 * Both are asked for `/.well-known/okta-organization`, which needs no token; no answer is not the same organisation.
 *
 * @throws AppError if this server could not ask
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
