import { gql } from 'graphql-request';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { startOkta, type TestOkta } from './okta.ts';
import { byIdQuery, type ConnectionFields, type Created, createMutation, okta } from './operations.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './server.ts';

const updateMutation = gql`
  mutation Update($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) {
      appConnection {
        id name description version createdAt updatedAt credentialsHash
        credentials { instanceUrl ... on OktaCredentials { tokenOwner { id login status } } }
        verification { status checkedAt lastVerifiedAt failingSince code }
      }
    }
  }
`;
export const verifyMutation = gql`
  mutation Verify($id: UUID!) {
    verifyAppConnection(id: $id) {
      appConnection { version verification { status checkedAt lastVerifiedAt failingSince code message } }
    }
  }
`;

type Updated = ConnectionFields & { verification: { failingSince: string | null } };

/** Starts a server for the tests of a file, and two fake Okta hosts for each test. */
export function useServerWithTwoHosts() {
  const trusted = new Set<string>();
  let server: TestServer;
  let upstream: TestOkta;
  let elsewhere: TestOkta;
  beforeAll(async () => {
    server = await startTestServer({
      config: { trustedInstanceHosts: trusted },
      outbound: { timeoutMs: 3_000 },
    });
  });
  afterAll(() => server.close());
  beforeEach(async () => {
    upstream = await startOkta();
    elsewhere = await startOkta();
    trusted.add(upstream.hostPort).add(elsewhere.hostPort);
    return () => Promise.all([upstream.close(), elsewhere.close()]);
  });

  return {
    get server() {
      return server;
    },
    /** The host of the connections that `create` creates. */
    get upstream() {
      return upstream;
    },
    get elsewhere() {
      return elsewhere;
    },
    async create({ client }: TestOrganisation, fields: Record<string, unknown> = {}) {
      const { createOktaConnection } = await client.request<Created>(
        createMutation,
        okta(fields, { instanceUrl: upstream.origin, apiToken: 'the-first-token' }),
      );
      return createOktaConnection.appConnection;
    },
    async update({ client }: TestOrganisation, id: string, input: Record<string, unknown>) {
      const { updateOktaConnection } = await client.request<{
        updateOktaConnection: { appConnection: Updated };
      }>(updateMutation, { id, input });
      return updateOktaConnection.appConnection;
    },
    async read({ client }: TestOrganisation, id: string) {
      const { appConnection } = await client.request<{ appConnection: ConnectionFields }>(byIdQuery, { id });
      return appConnection;
    },
  };
}

/** Returns the Authorization header of the host's last request for the owner of the token. */
export const lastAuthorization = (host: TestOkta) =>
  host.requests.findLast(({ path }) => path.endsWith('/me'))?.headers.authorization;
