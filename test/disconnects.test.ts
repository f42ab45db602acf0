import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startOkta } from './testkit/okta.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { at, createConnectionOverRest, oktaBody, type RestClient, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const routes = '/api/v1/app-connections/okta';
const update = gql`
  mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { id } }
  }
`;
const verify = gql`
  mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }
`;
const validate = gql`
  mutation ($credentials: OktaCredentialsInput!) { validateOktaCredentials(credentials: $credentials) { status } }
`;
const stateQuery = gql`
  {
    appConnections { nodes { name version credentialsHash verification { status checkedAt } } }
    auditEvents(first: 100) { nodes { action outcome } }
  }
`;

/** The operations that call Okta, over GraphQL and over REST. */
const operations: Record<string, (client: RestClient, id: string, instanceUrl: string) => Promise<unknown>> =
  {
    'createOktaConnection over GraphQL': (client, _, instanceUrl) =>
      graphql(client, createMutation, okta({}, { instanceUrl })),
    'POST over REST': (client, _, instanceUrl) => client('POST', routes, oktaBody({}, { instanceUrl })),
    'updateOktaConnection over GraphQL': (client, id) =>
      graphql(client, update, { id, input: { name: 'renamed', credentials: { apiToken: 'another-token' } } }),
    'PATCH over REST': (client, id) =>
      client('PATCH', `${routes}/${id}`, { name: 'renamed', credentials: { apiToken: 'another-token' } }),
    'verifyAppConnection over GraphQL': (client, id) => graphql(client, verify, { id }),
    'verify over REST': (client, id) => client('POST', `${routes}/${id}/verify`),
    'validateOktaCredentials over GraphQL': (client, _, instanceUrl) =>
      graphql(client, validate, { credentials: { instanceUrl, apiToken: 'another-token' } }),
    'validate over REST': (client, _, instanceUrl) =>
      client('POST', `${routes}/validate`, {
        method: 'api-token',
        credentials: { instanceUrl, apiToken: 'another-token' },
      }),
  };
const auditedActions = [
  ['createOktaConnection over GraphQL', 'CREATE_CONNECTION'],
  ['POST over REST', 'CREATE_CONNECTION'],
  ['updateOktaConnection over GraphQL', 'UPDATE_CONNECTION'],
  ['PATCH over REST', 'UPDATE_CONNECTION'],
  ['verifyAppConnection over GraphQL', 'VERIFY_CONNECTION'],
  ['verify over REST', 'VERIFY_CONNECTION'],
  ['validateOktaCredentials over GraphQL', null],
  ['validate over REST', null],
] as const;

function graphql(client: RestClient, query: string, variables: object): Promise<unknown> {
  return client('POST', '/graphql', { query, variables });
}

describe('a client that disconnects while Okta is called', () => {
  const trusted = new Set<string>();
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({
      config: { trustedInstanceHosts: trusted },
      outbound: { timeoutMs: 60_000 },
    });
  });
  afterAll(() => server.close());

  test.each(auditedActions)('%s cancels the call and stores nothing', async (name, action) => {
    await using upstream = await startOkta();
    trusted.add(upstream.hostPort);
    const { apiKey } = await server.newOrganisation();
    const connected = restClient(server.url, apiKey);
    const body = oktaBody({ name: 'stored' }, { instanceUrl: upstream.origin });
    const { id } = await createConnectionOverRest(connected, body);
    const read = async () => {
      const { text } = await connected('POST', '/graphql', { query: stateQuery });
      return at(JSON.parse(text), 'data');
    };
    const before = await read();

    upstream.behave(() => {});
    const leaving = new AbortController();
    const calls = upstream.requests.length;
    const request = operations[name]?.(restClient(server.url, apiKey, leaving.signal), id, upstream.origin);
    const call = await until('the server has called Okta', () => upstream.requests[calls]);
    leaving.abort();
    await expect(request).rejects.toThrow(/abort/);
    await call.disconnected;

    const events = at(before, 'auditEvents', 'nodes') as object[];
    const refusals = action ? [{ action, outcome: 'UPSTREAM_UNREACHABLE' }] : [];
    const after = { ...Object(before), auditEvents: { nodes: [...refusals, ...events] } };
    await until('the attempt is audited', async () => {
      const length = at(await read(), 'auditEvents', 'nodes', 'length');
      return length === events.length + refusals.length || undefined;
    });
    expect(await read()).toEqual(after);
  });
});
