import { decodeProtectedHeader } from 'jose';
import type { ServiceApp } from './okta-service-apps.ts';
import type { JournalEntry, OktaStandIn } from './okta-standin.ts';
import type { TestOrganisation, TestServer } from './server.ts';

/** A public key of a connection. */
export interface ShownKey {
  keyId: string;
  publicJwk: Record<string, string>;
  state: 'PENDING' | 'ACTIVE' | 'RETIRED';
}

/** A connection with its keys. */
export interface RotatingConnection {
  id: string;
  version: number;
  credentialsHash: string;
  credentials: {
    keys: ShownKey[];
    jwksUrl: string;
    keyRegistrationFailure: { code: string; message: string; remedy: string } | null;
  };
  verification: { status: string };
}

const fields = `id version credentialsHash verification { status }
  credentials { ... on OktaServiceAppCredentials {
    keys { keyId publicJwk state } jwksUrl keyRegistrationFailure { code message remedy }
  } }`;
const mutations = {
  rotateOktaConnectionKey: `mutation ($id: UUID!) {
    rotateOktaConnectionKey(id: $id) { appConnection { ${fields} } }
  }`,
  verifyAppConnection: `mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { ${fields} } } }`,
};

export const rotatingScopes = ['okta.users.read'];
/** The scopes of an app that may change its keys. */
export const registeringScopes = ['okta.apps.manage', 'okta.users.read'];

let count = 0;

/** A service app of the stand-in, with a connection whose key the server makes. */
export class RotatingApp {
  readonly clientId: string;
  readonly id: string;
  readonly jwksUrl: string;
  readonly #standIn: OktaStandIn;
  readonly #organisation: TestOrganisation;

  private constructor(
    standIn: OktaStandIn,
    organisation: TestOrganisation,
    clientId: string,
    { id, credentials }: RotatingConnection,
  ) {
    this.#standIn = standIn;
    this.#organisation = organisation;
    this.clientId = clientId;
    this.id = id;
    this.jwksUrl = credentials.jwksUrl;
  }

  /** Creates and verifies the connection. With `jwksUrl`, Okta fetches the keys, and otherwise it has a copy of the first one. */
  static async create(
    standIn: OktaStandIn,
    organisation: TestOrganisation,
    { byUrl = false, scopes = rotatingScopes } = {},
  ): Promise<RotatingApp> {
    count += 1;
    const clientId = `0oarotates${String(count).padStart(10, '0')}`;
    const { createOktaConnection } = await organisation.client.request<{
      createOktaConnection: { appConnection: RotatingConnection };
    }>(
      `mutation ($input: CreateOktaConnectionInput!) {
        createOktaConnection(input: $input) { appConnection { ${fields} } }
      }`,
      {
        input: {
          name: `rotating-${count}`,
          method: 'SERVICE_APP',
          credentials: { instanceUrl: standIn.origin, clientId, scopes },
        },
      },
    );
    const app = new RotatingApp(standIn, organisation, clientId, createOktaConnection.appConnection);
    const { keys } = createOktaConnection.appConnection.credentials;
    await app.configure({
      scopes,
      ...(byUrl ? { jwksUrl: app.jwksUrl } : { keys: keys.map(({ publicJwk }) => publicJwk) }),
    });
    await app.verify();
    return app;
  }

  /** Replaces the app in Okta. */
  configure(app: Partial<ServiceApp>): Promise<void> {
    return this.#standIn.setServiceApp({ clientId: this.clientId, scopes: rotatingScopes, ...app });
  }

  /** @param server the server that gets the request, with the same database */
  async rotate(server?: TestServer): Promise<RotatingConnection> {
    const client = server?.clientFor(this.#organisation.apiKey) ?? this.#organisation.client;
    const answer = await client.request<{
      rotateOktaConnectionKey: { appConnection: RotatingConnection };
    }>(mutations.rotateOktaConnectionKey, { id: this.id });
    return answer.rotateOktaConnectionKey.appConnection;
  }

  /** @param server as for `rotate` */
  async verify(server?: TestServer): Promise<RotatingConnection> {
    const client = server?.clientFor(this.#organisation.apiKey) ?? this.#organisation.client;
    const answer = await client.request<{
      verifyAppConnection: { appConnection: RotatingConnection };
    }>(mutations.verifyAppConnection, { id: this.id });
    return answer.verifyAppConnection.appConnection;
  }

  async read(): Promise<RotatingConnection> {
    const { appConnection } = await this.#organisation.client.request<{ appConnection: RotatingConnection }>(
      `query ($id: UUID!) { appConnection(id: $id) { ${fields} } }`,
      { id: this.id },
    );
    return appConnection;
  }

  /** Uses the connection, with a new access token. Returns the status, and the ids of the keys that asked for the token. */
  async use(): Promise<{ status: number; keyIds: string[] }> {
    await this.#standIn.endAccessTokens();
    await this.#standIn.takeJournal();
    const { executeOktaRequest } = await this.#organisation.client.request<{
      executeOktaRequest: { status: number };
    }>(`mutation ($input: ExecuteOktaRequestInput!) { executeOktaRequest(input: $input) { status } }`, {
      input: { connectionId: this.id, method: 'GET', path: '/api/v1/users' },
    });
    return { status: executeOktaRequest.status, keyIds: await this.takeSigningKeys() };
  }

  /** The ids of the keys that have signed token requests since the journal was last taken, each once. */
  async takeSigningKeys(): Promise<string[]> {
    const journal = await this.#standIn.takeJournal();
    return [...new Set(signingKeys(journal.filter(({ url }) => url === '/oauth2/v1/token')))];
  }

  /** The ids and states of the keys that are kept in Okta, for a connection with a scope for apps. */
  async keysInOkta(): Promise<string[]> {
    return (await this.#listKeys()).map(({ kid, status }) => `${status} ${kid}`);
  }

  /** The id that Okta has given a key of the app. */
  async idInOkta(keyId: string): Promise<string | undefined> {
    return (await this.#listKeys()).find(({ kid }) => kid === keyId)?.id;
  }

  async #listKeys(): Promise<{ id: string; kid: string; status: string }[]> {
    const { executeOktaRequest } = await this.#organisation.client.request<{
      executeOktaRequest: { body: { id: string; kid: string; status: string }[] };
    }>(`mutation ($input: ExecuteOktaRequestInput!) { executeOktaRequest(input: $input) { body } }`, {
      input: {
        connectionId: this.id,
        method: 'GET',
        path: `/api/v1/apps/${this.clientId}/credentials/jwks`,
      },
    });
    return executeOktaRequest.body;
  }

  /** The ids of the published keys. */
  async published(): Promise<string[]> {
    const { keys } = (await (await fetch(this.jwksUrl)).json()) as { keys: { kid: string }[] };
    return keys.map(({ kid }) => kid);
  }
}

/** The ids of the keys that have signed token requests. */
export const signingKeys = (requests: readonly JournalEntry[]) =>
  requests
    .map(({ body }) => new URLSearchParams(Buffer.from(body, 'base64').toString()).get('client_assertion'))
    .map((assertion) => String(decodeProtectedHeader(assertion ?? '').kid));

/** The states of the keys of a connection, the oldest first. */
export const keyStates = ({ credentials }: RotatingConnection) => credentials.keys.map(({ state }) => state);
/** The ids of the keys of a connection, the oldest first. */
export const keyIds = ({ credentials }: RotatingConnection) => credentials.keys.map(({ keyId }) => keyId);
/** The public keys of a connection, the oldest first. */
export const publicJwks = ({ credentials }: RotatingConnection) =>
  credentials.keys.map(({ publicJwk }) => publicJwk);
