import { z } from 'zod';
import { currentTime } from '../../common/clock.ts';
import type { OutboundResponse } from '../../outbound/buffered-response.ts';
import { parseJson } from '../../outbound/json.ts';
import type { Outbound } from '../../outbound/outbound.ts';
import { readRetryAfter } from '../../outbound/response-times.ts';
import * as diagnosis from './diagnosis.ts';
import { readRateLimitReset } from './rate-limit-reset.ts';

const path = '/.well-known/okta-organization';

/** The part of `WellKnownOrgMetadata` in Okta's API description that identifies an organisation. */
const metadata = z.object({ id: z.string().regex(/^00o[0-9A-Za-z]{1,17}$/) });

/**
 * Asks a host which Okta organisation it belongs to. Nothing secret is sent, so that it can be asked of any host first. Okta
 * does not limit the rate of these requests.
 *
 * @returns the id of the organisation, or why there is none
 * @throws OutboundError
 */
export async function fetchOrganisationId(
  instanceUrl: string | undefined,
  outbound: Outbound,
  { subject, ...options }: { signal?: AbortSignal | undefined; timeoutMs?: number; subject?: string } = {},
): Promise<string | diagnosis.Finding> {
  const response = await outbound.get(new URL(path, instanceUrl), {
    ...options,
    headers: { accept: 'application/json' },
    maxBytes: 16 * 1024,
  });
  return readOrganisationId(response, subject);
}

function readOrganisationId(
  { status, headers, body }: OutboundResponse,
  subject: string | undefined,
): string | diagnosis.Finding {
  if (status === 429) return diagnosis.rateLimited(readRateLimitReset(headers, currentTime()), subject);
  if (status >= 500) return diagnosis.serverError(status, readRetryAfter(headers, currentTime()), subject);
  if (status >= 300 && status < 400) return diagnosis.notOkta(`${path} redirects (status ${status})`, unsent);
  if (status !== 200) return diagnosis.notOkta(`${path} returned status ${status}`, unsent);
  const json = parseJson(body);
  if (json === undefined) return diagnosis.notOkta(`the response to ${path} is not JSON`, unsent);
  const { data } = metadata.safeParse(json);
  return data?.id ?? diagnosis.notOkta(`${path} does not describe an Okta organisation`, unsent);
}

const unsent = 'Nothing secret was sent to it.';
