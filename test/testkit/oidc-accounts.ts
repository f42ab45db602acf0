import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { JWTPayload } from 'jose';
import type { Provider } from 'oidc-provider';

/** What the people who come to the provider are given. */
export interface Accounts {
  /** The address of the dashboard that they come from, without the slash at its end. */
  dashboard: string;
  /** What their tokens say besides. */
  claims: JWTPayload;
  /** Of their tokens. */
  lastsSeconds: number;
  /** Whether they get a refresh token too. */
  mayRenew: boolean;
}

/** The id of the dashboard at the provider, which trusts it with no secret. */
export const dashboardClient = 'the-dashboard';

/** Nobody has come yet. */
export const noAccounts: Accounts = {
  dashboard: 'http://127.0.0.1',
  claims: {},
  lastsSeconds: 300,
  mayRenew: false,
};

/** As the dashboard is registered at the provider. */
export function dashboardClientMetadata({ dashboard }: Accounts): object {
  return {
    client_id: dashboardClient,
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: [`${dashboard}/`],
    post_logout_redirect_uris: [`${dashboard}/`],
  };
}

/** How the provider signs people in, and lets pages ask it for their tokens. */
export function createProviderConfiguration(people: () => Accounts): object {
  return {
    interactions: { url: (_: object, { uid }: { uid: string }) => `/interaction/${uid}` },
    clientBasedCORS: (_: object, origin: string) => origin === new URL(people().dashboard).origin,
    findAccount: async (_: object, accountId: string) => ({
      accountId,
      claims: async () => ({ sub: accountId }),
    }),
    issueRefreshToken: async () => people().mayRenew,
    cookies: { keys: ['a-key-for-signing-cookies'] },
  };
}

/** Asks whoever comes whether to go on: the pages that a provider has of its own. */
export function createLoginHandler(provider: Provider): RequestListener {
  return async (request, response) => {
    if (request.method === 'GET') {
      response.setHeader('content-type', 'text/html');
      response.end(
        // The icon keeps browsers from looking for one.
        '<link rel=icon href="data:,"><form method=post><button name=as value=ada>Go on as Ada</button><button>Refuse</button></form>',
      );
      return;
    }
    const form = new URLSearchParams(Buffer.concat(await request.toArray()).toString());
    await provider.interactionFinished(
      request,
      response,
      await answerOf(provider, request, response, form.get('as')),
    );
  };
}

/** @param form what the provider needs, without a button */
export function renderLogoutForm(context: { body: string }, form: string): void {
  context.body = `<link rel=icon href="data:,">${form}<button form="op.logoutForm" name=logout value=yes>Sign out of the provider</button>`;
}

async function answerOf(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
  accountId: string | null,
): Promise<object> {
  if (!accountId) return { error: 'access_denied', error_description: 'Ada has refused' };
  const {
    client_id: clientId,
    scope,
    resource,
  } = (await provider.interactionDetails(request, response)).params;
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope(scope);
  grant.addResourceScope(resource, scope);
  return { login: { accountId }, consent: { grantId: await grant.save() } };
}

interface Stored {
  uid?: string;
  grantId?: string;
  consumed?: number;
}

/**
 * Keeps what a provider has to remember, beside the clients that are known beforehand.
 *
 * @param clientOf a client, by its id
 */
export function createMemoryAdapter(clientOf: (id: string) => object): (kind: string) => object {
  const all = new Map<string, Stored>();
  return (kind) => {
    const key = (id: string) => `${kind}:${id}`;
    return {
      upsert: async (id: string, stored: Stored) => void all.set(key(id), stored),
      find: async (id: string) => (kind === 'Client' ? clientOf(id) : all.get(key(id))),
      findByUid: async (uid: string) =>
        [...all].find(([id, stored]) => id.startsWith(key('')) && stored.uid === uid)?.[1],
      consume: async (id: string) => void Object.assign(all.get(key(id)) ?? {}, { consumed: 1 }),
      destroy: async (id: string) => void all.delete(key(id)),
      revokeByGrantId: async (grantId: string) => {
        for (const [id, stored] of all) if (stored.grantId === grantId) all.delete(id);
      },
    };
  };
}
