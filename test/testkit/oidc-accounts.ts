import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { JWTPayload } from 'jose';
import type { Provider } from 'oidc-provider';

/** The settings of the accounts at the provider. */
export interface Accounts {
  /** The URL of the dashboard, without the final slash. */
  dashboard: string;
  /** Additional claims of their tokens. */
  claims: JWTPayload;
  /** The audience of their tokens. */
  lastsSeconds: number;
  /** Whether the provider issues a refresh token. */
  mayRenew: boolean;
}

/** The client id of the dashboard, a public client. */
export const dashboardClient = 'the-dashboard';

/** The default settings. */
export const noAccounts: Accounts = {
  dashboard: 'http://127.0.0.1',
  claims: {},
  lastsSeconds: 300,
  mayRenew: false,
};

/** The registration of the dashboard at the provider. */
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

/** The provider's configuration for logins and for token requests of pages. */
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

/** Serves the provider's login and consent pages. */
export function createLoginHandler(provider: Provider): RequestListener {
  return async (request, response) => {
    if (request.method === 'GET') {
      response.setHeader('content-type', 'text/html');
      response.end(
        // With an inline icon, browsers do not request /favicon.ico.
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

/** @param form the hidden fields that the provider needs, without a button */
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
 * Stores the provider's state in memory, besides the registered clients.
 *
 * @param clientOf a client, by its id; undefined if there is none
 */
export function createMemoryAdapter(clientOf: (id: string) => object | undefined): (kind: string) => object {
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
