import { currentTimeMs } from '../../../common/clock.ts';
import { Secret } from '../../../common/secret.ts';
import type { OAuth, OAuthClient, TokenClient } from '../../../oauth/oauth.ts';
import type { OutboundResponse } from '../../../outbound/buffered-response.ts';
import type { Outbound } from '../../../outbound/outbound.ts';
import { OutboundError } from '../../../outbound/outbound-error.ts';
import { startDeadline } from '../../../outbound/timeout.ts';
import type { VerifyOptions } from '../../app.ts';
import type { Credentials, VerificationResult } from '../../credentials.ts';
import { ownOutboundError } from '../../map-outbound-error.ts';
import { startTimeLimit } from '../../time-limit.ts';
import { measureClockDifference } from '../clock-difference.ts';
import { fetchOrganisationId } from '../organisation-metadata.ts';
import { readRequestId } from '../parse-response.ts';
import { diagnoseFailure } from '../verify.ts';
import { findAdminRole, noAdminRole } from './admin-role.ts';
import { diagnoseRefusal } from './diagnose-refusal.ts';
import { describeServiceApp, findOrganisationName } from './service-app-details.ts';
import { toTokenClient } from './token-client.ts';
import { missingScopes, subject } from './token-failure.ts';
import { findTokenRefusal } from './token-refusal.ts';

/** How long a verification takes at most. */
const maxVerificationMs = 10_000;

/**
 * Asks the host whether it is an Okta organisation, without anything secret, then for an access token, which proves the client,
 * its key and its scopes, and then whether the app has an admin role.
 *
 * @throws OutboundError if `signal` aborts, so that no result is stored
 * @throws AppError if this server could not send the request
 */
export async function verifyServiceApp(
  oauth: OAuth,
  credentials: Credentials,
  outbound: Outbound,
  signal?: AbortSignal,
  options: VerifyOptions<OAuthClient> = {},
): Promise<VerificationResult> {
  const client = toTokenClient(oauth, credentials);
  const bounded = boundedOutbound(outbound, signal);
  try {
    const organisationId = await fetchOrganisationId(client.tokenUrl.origin, bounded.outbound, { subject });
    if (typeof organisationId !== 'string') return { ...organisationId, upstreamRequestId: null };
    return await verifyClient(oauth, client, organisationId, bounded, options);
  } catch (error) {
    if (!(error instanceof OutboundError) || signal?.aborted) throw error;
    const own = ownOutboundError(error, 'Okta');
    if (own) throw own;
    return { ...diagnoseFailure(error, subject), upstreamRequestId: null };
  }
}

async function verifyClient(
  oauth: OAuth,
  client: TokenClient,
  organisationId: string,
  { outbound, unbounded, optional, within, last }: BoundedOutbound,
  { session = oauth.createClient(client), mayReuseToken, wantsDetails }: VerifyOptions<OAuthClient>,
): Promise<VerificationResult> {
  const { clientId, scopes } = client;
  let token: Awaited<ReturnType<typeof session.getToken>>;
  try {
    token = await within(mayReuseToken ? session.getToken(unbounded) : session.renewToken(unbounded));
  } catch (error) {
    if (!(error instanceof oauth.TokenRequestError)) throw error;
    const upstreamRequestId = readRequestId(error.response.headers, new Secret(''));
    return {
      ...(await diagnoseRefusal(oauth, client, error, { outbound, clock: last.clock })),
      upstreamRequestId,
    };
  }
  const clock = last.clock;
  const readLastRequestId = () => readRequestId(last.response?.headers ?? {}, token.token);
  const upstreamRequestId = readLastRequestId();
  const ungranted = scopes.filter((scope) => !token.scopes.includes(scope));
  if (ungranted.length > 0) return { ...missingScopes(ungranted), upstreamRequestId };

  /** Sends a request with the token, and once more if Okta asks for a new nonce. */
  const ask = async (path: string, by: Pick<Outbound, 'get'>): Promise<OutboundResponse | undefined> => {
    const url = new URL(path, client.tokenUrl);
    for (const attempt of [1, 2]) {
      const { headers, token: used } = await within(session.authorize({ method: 'GET', url }, unbounded));
      const response = await by.get(url, { headers: { accept: 'application/json', ...headers } });
      if (!session.observe(used, response) || attempt === 2) return response;
    }
    return undefined;
  };
  const findName = () => findOrganisationName(scopes, (path) => ask(path, optional));
  // It decides nothing, and does not wait for what does.
  const name = wantsDetails ? findName() : undefined;
  const answers: OutboundResponse[] = [];
  const role = await findAdminRole({ clientId, scopes }, async (path) => {
    const answer = await ask(path, outbound).catch((error: unknown) => {
      if (error instanceof OutboundError && error.reason === 'ABORTED') throw error;
      return undefined;
    });
    if (answer) answers.push(answer);
    return answer;
  });
  const refused = findTokenRefusal(answers, token.type);
  if (refused) return { ...refused, upstreamRequestId: readLastRequestId() };
  if (role.hasAdminRole === false) return { ...noAdminRole, upstreamRequestId: readLastRequestId() };
  return {
    status: 'VERIFIED',
    account: null,
    upstreamRequestId,
    findDetails: async (_, ending) => {
      using deadline = startDeadline(maxVerificationMs, [ending]);
      const organisation = {
        id: organisationId,
        name: await deadline.within(name ?? findName()).catch(() => null),
      };
      return describeServiceApp({ organisation, scopes, token, role, clock });
    },
  };
}

/** A client whose requests end with the verification. */
interface BoundedOutbound {
  outbound: Outbound;
  /** For access tokens, which others wait for too. */
  unbounded: Pick<Outbound, 'post'>;
  /** For what the verification can do without. Its responses are not the last one. */
  optional: Pick<Outbound, 'get'>;
  /** Waits until the verification ends at the latest. */
  within<T>(result: Promise<T> | T): Promise<T>;
  /** The last response, and by how many seconds the clock of the host is ahead in it. */
  last: { response?: OutboundResponse; clock: number | null };
}

function boundedOutbound(outbound: Outbound, signal: AbortSignal | undefined): BoundedOutbound {
  const timeLeft = startTimeLimit(maxVerificationMs);
  const last: BoundedOutbound['last'] = { clock: null };
  const observed = async (send: () => Promise<OutboundResponse>) => {
    const sentAt = currentTimeMs();
    const response = await send();
    last.response = response;
    last.clock = measureClockDifference(response.headers, { sentAt, receivedAt: currentTimeMs() });
    return response;
  };
  return {
    last,
    unbounded: { post: (url, request) => observed(() => outbound.post(url, request)) },
    optional: {
      get: (url, request) =>
        outbound.get(url, { ...request, signal, timeoutMs: timeLeft(), isOptional: true }),
    },
    async within(result) {
      using deadline = startDeadline(timeLeft(), [signal]);
      return await deadline.within(Promise.resolve(result));
    },
    outbound: {
      ...outbound,
      get: (url, request) => observed(() => outbound.get(url, { signal, timeoutMs: timeLeft(), ...request })),
      post: (url, request) =>
        observed(() => outbound.post(url, { ...request, signal, timeoutMs: timeLeft() })),
    },
  };
}
