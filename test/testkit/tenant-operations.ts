import { encodeEventCursor } from '../../src/audit/event-cursor.ts';
import type { Scope } from '../../src/identity/caller.ts';
import { restClient } from './rest.ts';
import { subscribe } from './sse-client.ts';

/** The objects of one organisation, in one of its projects, that an operation addresses. */
export interface Target {
  projectId: string;
  connectionId: string;
  connectionName: string;
  /** A host with an outage, as an origin. */
  host: string;
  /** A connection with a service app whose key the server has made. */
  serviceAppId: string;
  /** A connection that was deleted and can be restored. */
  deletedId: string;
  /** An API key that is limited to the project. */
  apiKeyId: string;
  /** A setup link of the connection. */
  setupLinkId: string;
  /** A webhook endpoint of the organisation. */
  webhookEndpointId: string;
  /** A message of the endpoint. */
  webhookMessageId: string;
}

/** The caller of an operation, and the server. */
export interface OperationClient {
  url: string;
  /** Without it, the caller is unauthenticated. */
  apiKey?: string | undefined;
  /** The number of connection events that the caller may receive. */
  changes: number;
}

/** The response to an operation. */
export interface OperationResult {
  status: number;
  /** The code of the first error. */
  code?: string | undefined;
  message?: string | undefined;
  /** The whole body. */
  text: string;
}

/** An operation of the API. */
export interface Operation {
  /** The caller needs one of these scopes; an empty list admits every authenticated caller. */
  needs: readonly Scope[];
  /** Whether callers that are limited to projects are denied. */
  isForUnlimited?: boolean;
  /** Whether it is about the connection with a service app. */
  usesServiceApp?: boolean;
  /** Whether the response contains nothing of the target. */
  showsNothing?: boolean;
  /** Whether another organisation gets no response, which a test cannot wait for. */
  isSilentElsewhere?: boolean;
  /** Sends the operation with the ids and names of the target. */
  ask(caller: OperationClient, target: Target): Promise<OperationResult>;
}

const read: Operation['needs'] = ['connections:read'];
const write: Operation['needs'] = ['connections:write'];
const verify: Operation['needs'] = ['connections:verify'];
const readOrUse: Operation['needs'] = ['connections:read', 'connections:use'];
const use: Operation['needs'] = ['connections:use'];
const readWebhooks: Operation['needs'] = ['webhooks:read'];
const writeWebhooks: Operation['needs'] = ['webhooks:write'];
const audit: Operation['needs'] = ['audit:read'];
const admin: Operation['needs'] = ['access:admin'];

const credentials = { instanceUrl: 'https://example.okta.com', apiToken: 'a-good-token' };
const conversion = { clientId: '0oa1ab2cd3EF4GH5i0d7', scopes: ['okta.users.read'] };
/** Credentials of a service app that the fake Okta accepts. */
export const serviceApp = {
  instanceUrl: 'https://example.okta.com',
  clientId: '0oa1ab2cd3EF4GH5i0d7',
  scopes: ['okta.users.read', 'okta.groups.read'],
};
const firstEvent = encodeEventCursor('change', 0);
const receiverUrl = 'https://example.com/webhooks';
let usedNames = 0;
/** Returns an unused name. */
const freshName = () => {
  usedNames += 1;
  return `fresh-${usedNames}`;
};

const mutationOfId = (field: string, answer: string, selectId: (target: Target) => string) =>
  graphql(`mutation ($id: UUID!) { ${field}(id: $id) { ${answer} } }`, (target) => ({
    id: selectId(target),
  }));

/** Every operation of the schema and every REST route by name; parentheses distinguish variants. */
export const operations: Readonly<Record<string, Operation>> = {
  'Query.appConnection': {
    needs: read,
    ask: graphql('query ($connectionId: UUID!) { appConnection(id: $connectionId) { id name } }'),
  },
  'Query.appConnection (with its usage)': {
    needs: read,
    ask: graphql(`query ($connectionId: UUID!) { appConnection(id: $connectionId) {
      id lastUsedAt lastUsedBy { keyId name } usedBy { caller { keyId name } label calls }
      usage { total { calls } buckets { start } callers { caller { keyId name } calls } }
    } }`),
  },
  'Query.appConnection (with its keys)': {
    needs: read,
    usesServiceApp: true,
    ask: graphql(`query ($serviceAppId: UUID!) { appConnection(id: $serviceAppId) {
      id credentials { ... on OktaServiceAppCredentials { clientId keys { keyId publicJwk } jwksUrl } }
    } }`),
  },
  'Query.appConnectionByName': {
    needs: read,
    ask: graphql(`query ($connectionName: String!, $projectId: UUID!) {
      appConnectionByName(name: $connectionName, projectId: $projectId) { id }
    }`),
  },
  'Query.appConnections': {
    needs: read,
    ask: graphql('{ appConnections(first: 100) { totalCount nodes { id name projectId } } }'),
  },
  'Query.appConnections (by a tag)': {
    needs: read,
    ask: graphql(`{ appConnections(filter: { tags: [{ key: "tenant" }] }, first: 100) {
      totalCount nodes { id name tags { key value } owner { name email } notes }
    } }`),
  },
  'Query.appConnections (of a project)': {
    needs: read,
    ask: graphql(`query ($projectId: UUID!) {
      appConnections(projectId: $projectId) { totalCount nodes { id name } pageInfo { hasNextPage } }
    }`),
  },
  'Query.appConnections (by its name)': {
    needs: read,
    ask: graphql(`query ($connectionName: String!) {
      appConnections(filter: { nameContains: $connectionName }, last: 5) { totalCount nodes { id } }
    }`),
  },
  'Query.appConnectionOptions': {
    needs: [],
    showsNothing: true,
    ask: graphql('{ appConnectionOptions { app } }'),
  },
  'Query.auditEvents': {
    needs: audit,
    ask: everyPage('POST', '/graphql', (after) => ({
      query: `query ($after: String) { auditEvents(first: 100, after: $after) {
        nodes { connectionId connectionName projectId apiKeyId } pageInfo { endCursor hasNextPage }
      } }`,
      variables: { after },
    })),
  },
  'Query.auditEvents (of a connection)': {
    needs: audit,
    ask: graphql(`query ($connectionId: UUID!) {
      auditEvents(filter: { connectionId: $connectionId }) { nodes { connectionId connectionName } }
    }`),
  },
  'Query.auditEvents (of a project)': {
    needs: audit,
    ask: graphql(`query ($projectId: UUID!) {
      auditEvents(filter: { projectId: $projectId }) { nodes { connectionId connectionName } }
    }`),
  },
  // First, because later operations add events of the caller to the trail.
  'GET /api/v1/audit-events': {
    needs: audit,
    ask: everyPage('GET', '/api/v1/audit-events?limit=100'),
  },
  'GET /api/v1/audit-events (of a connection)': {
    needs: audit,
    ask: rest(
      'GET',
      ({ connectionId }) => `?connectionId=${connectionId}`,
      undefined,
      '/api/v1/audit-events',
    ),
  },
  'GET /api/v1/audit-events (of a project)': {
    needs: audit,
    ask: rest('GET', ({ projectId }) => `?projectId=${projectId}`, undefined, '/api/v1/audit-events'),
  },
  'Query.apiKeys': { needs: admin, ask: graphql('{ apiKeys(first: 100) { nodes { id projectIds } } }') },
  'Query.projects': {
    needs: ['connections:read', 'access:admin'],
    ask: graphql('{ projects(first: 100) { nodes { id } } }'),
  },
  'Query.viewer': { needs: [], ask: graphql('{ viewer { organisation { id } projects { id } } }') },
  'Mutation.createOktaConnection': {
    needs: write,
    ask: graphql(
      `mutation ($input: CreateOktaConnectionInput!) {
        createOktaConnection(input: $input) { appConnection { projectId } }
      }`,
      ({ projectId }) => ({ input: { name: freshName(), projectId, credentials } }),
    ),
  },
  'Mutation.updateOktaConnection': {
    needs: write,
    ask: graphql(
      `mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
        updateOktaConnection(id: $id, input: $input) { appConnection { id name } }
      }`,
      ({ connectionId: id }) => ({ id, input: { name: freshName() } }),
    ),
  },
  'Mutation.updateOktaConnection (with a token)': {
    needs: write,
    ask: graphql(
      `mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
        updateOktaConnection(id: $id, input: $input) { appConnection { id } }
      }`,
      ({ connectionId: id }) => ({ id, input: { credentials: { apiToken: 'a-second-token' } } }),
    ),
  },
  'Mutation.updateOktaConnection (of a service app)': {
    needs: write,
    usesServiceApp: true,
    ask: graphql(
      `mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
        updateOktaConnection(id: $id, input: $input) { appConnection { id } }
      }`,
      ({ serviceAppId: id }) => ({ id, input: { credentials: { scopes: ['okta.groups.read'] } } }),
    ),
  },
  'Mutation.createOktaConnection (with a service app)': {
    needs: write,
    ask: graphql(
      `mutation ($input: CreateOktaConnectionInput!) {
        createOktaConnection(input: $input) { appConnection { projectId } }
      }`,
      ({ projectId }) => ({
        input: { name: freshName(), projectId, method: 'SERVICE_APP', credentials: serviceApp },
      }),
    ),
  },
  'Mutation.updateOktaConnection (with nothing)': {
    needs: write,
    ask: graphql(
      `mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) {
        updateOktaConnection(id: $id, input: $input) { appConnection { id version } }
      }`,
      ({ connectionId: id }) => ({ id, input: {} }),
    ),
  },
  'Mutation.convertOktaConnection': {
    needs: write,
    ask: graphql(
      `mutation ($id: UUID!, $to: ConvertOktaConnectionInput!) {
        convertOktaConnection(id: $id, to: $to) { appConnection { id } }
      }`,
      ({ connectionId: id }) => ({ id, to: conversion }),
    ),
  },
  'Mutation.cancelAppConnectionConversion': {
    needs: write,
    ask: mutationOfId(
      'cancelAppConnectionConversion',
      'appConnection { id }',
      ({ connectionId }) => connectionId,
    ),
  },
  'Mutation.verifyAppConnection': {
    needs: verify,
    ask: mutationOfId('verifyAppConnection', 'appConnection { id }', ({ connectionId }) => connectionId),
  },
  'Mutation.verifyAppConnection (of a service app)': {
    needs: verify,
    usesServiceApp: true,
    ask: mutationOfId('verifyAppConnection', 'appConnection { id }', ({ serviceAppId }) => serviceAppId),
  },
  'Mutation.rotateOktaConnectionKey': {
    needs: write,
    usesServiceApp: true,
    ask: mutationOfId('rotateOktaConnectionKey', 'appConnection { id }', ({ serviceAppId }) => serviceAppId),
  },
  'Mutation.validateOktaCredentials': {
    needs: verify,
    showsNothing: true,
    ask: graphql(
      `mutation ($credentials: OktaCredentialsInput!) {
        validateOktaCredentials(credentials: $credentials) { __typename }
      }`,
      () => ({ credentials }),
    ),
  },
  'Mutation.executeOktaRequest': {
    needs: use,
    showsNothing: true,
    ask: graphql(
      `mutation ($input: ExecuteOktaRequestInput!) { executeOktaRequest(input: $input) { status } }`,
      ({ connectionId }) => ({ input: { connectionId, method: 'GET', path: '/api/v1/users/me' } }),
    ),
  },
  'Query.oktaResponse': {
    needs: use,
    showsNothing: true,
    ask: graphql(`query ($connectionId: UUID!) {
      oktaResponse(connectionId: $connectionId, path: "/api/v1/users/me") { status }
    }`),
  },
  ...Object.fromEntries(
    Object.entries({
      oktaUsers: '(connectionId: $connectionId) { nodes { id groups { nodes { id } } } }',
      oktaUser: '(connectionId: $connectionId, idOrLogin: "me") { id groups { nodes { id } } }',
      oktaGroups: '(connectionId: $connectionId) { nodes { id } }',
      oktaGroup: '(connectionId: $connectionId, id: "00gak46y5hydV6NdM0g4") { id members { nodes { id } } }',
      oktaApplications:
        '(connectionId: $connectionId, first: 2) { nodes { id assignedUsers { nodes { id } } } }',
      oktaApplication:
        '(connectionId: $connectionId, id: "0oafxqCAJWWGELFTYASJ") { assignedGroups { nodes { id } } }',
      oktaLogEvents: '(connectionId: $connectionId) { nodes { uuid } }',
      oktaOrganisation: '(connectionId: $connectionId) { id }',
    }).map(([read, rest]) => [
      `Query.${read}`,
      {
        needs: use,
        showsNothing: true,
        ask: graphql(`query ($connectionId: UUID!) { ${read}${rest} }`),
      },
    ]),
  ),
  // The app describes what is below this path, and the OpenAPI document does not.
  'GET /api/v1/app-connections/okta/{id}/proxy': {
    needs: use,
    showsNothing: true,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}/proxy/api/v1/users/me`),
  },
  'GET /api/v1/app-connections/okta/{id}/proxy (through a service app)': {
    needs: use,
    usesServiceApp: true,
    showsNothing: true,
    ask: rest('GET', ({ serviceAppId }) => `/okta/${serviceAppId}/proxy/api/v1/users?limit=1`),
  },
  'Mutation.deleteAppConnection': {
    needs: write,
    ask: mutationOfId('deleteAppConnection', 'id', ({ connectionId }) => connectionId),
  },
  'Mutation.deleteAppConnection (for good)': {
    needs: write,
    ask: graphql('mutation ($deletedId: UUID!) { deleteAppConnection(id: $deletedId, purge: true) { id } }'),
  },
  'Mutation.restoreAppConnection': {
    needs: write,
    ask: mutationOfId('restoreAppConnection', 'appConnection { id }', ({ deletedId }) => deletedId),
  },
  'Mutation.createApiKey': {
    needs: admin,
    ask: graphql(
      'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { apiKey { projectIds } } }',
      ({ projectId }) => ({
        input: { name: freshName(), scopes: ['ACCESS_ADMIN'], projectIds: [projectId] },
      }),
    ),
  },
  'Mutation.revokeApiKey': {
    needs: admin,
    ask: mutationOfId('revokeApiKey', 'apiKey { id }', ({ apiKeyId }) => apiKeyId),
  },
  'Mutation.createProject': {
    needs: admin,
    isForUnlimited: true,
    showsNothing: true,
    ask: graphql(
      'mutation ($name: String!) { createProject(input: { name: $name }) { project { id } } }',
      () => ({ name: freshName() }),
    ),
  },
  'Mutation.renameProject': {
    needs: admin,
    isForUnlimited: true,
    ask: graphql(
      'mutation ($id: UUID!, $name: String!) { renameProject(id: $id, name: $name) { project { id } } }',
      ({ projectId: id }) => ({ id, name: freshName() }),
    ),
  },
  'Subscription.appConnectionChanged': {
    needs: read,
    ask: watch('', () => ({})),
  },
  'Subscription.appConnectionChanged (of a project)': {
    needs: read,
    isSilentElsewhere: true,
    ask: watch(', projectId: $projectId', ({ projectId }) => ({ projectId })),
  },
  'Subscription.hostChanged': {
    needs: read,
    isForUnlimited: true,
    ask: async ({ changes: _, ...caller }, target) =>
      hear(`subscription { hostChanged(after: "${firstEvent}") { host } }`, () => ({}))(
        { ...caller, changes: 1 },
        target,
      ),
  },
  'Query.testUsePolicy': {
    needs: readOrUse,
    showsNothing: true,
    ask: graphql(`query ($connectionId: UUID!) {
      testUsePolicy(connectionId: $connectionId, method: GET, path: "/api/v1/users") { isAllowed }
    }`),
  },
  'Mutation.updateUsePolicy': {
    needs: write,
    showsNothing: true,
    ask: graphql(`mutation ($connectionId: UUID!) {
      updateUsePolicy(connectionId: $connectionId, input: { preset: LOGS_READ }) { usePolicy { preset } }
    }`),
  },
  'Query.connectionSetupLinks': {
    needs: write,
    ask: graphql('query ($connectionId: UUID!) { connectionSetupLinks(connectionId: $connectionId) { id } }'),
  },
  'Mutation.createConnectionSetupLink': {
    needs: write,
    ask: graphql(`mutation ($connectionId: UUID!) {
      createConnectionSetupLink(connectionId: $connectionId) { setupLink { connectionId } url }
    }`),
  },
  'Mutation.revokeConnectionSetupLink': {
    needs: write,
    ask: mutationOfId(
      'revokeConnectionSetupLink',
      'setupLink { id connectionId }',
      ({ setupLinkId }) => setupLinkId,
    ),
  },
  'Query.webhookEndpoints': {
    needs: readWebhooks,
    isForUnlimited: true,
    ask: graphql('{ webhookEndpoints { id url } }'),
  },
  'Query.webhookEndpoint': {
    needs: readWebhooks,
    isForUnlimited: true,
    ask: graphql('query ($webhookEndpointId: UUID!) { webhookEndpoint(id: $webhookEndpointId) { id url } }'),
  },
  'Query.webhookMessages': {
    needs: readWebhooks,
    isForUnlimited: true,
    ask: graphql(`query ($webhookEndpointId: UUID!) {
      webhookMessages(endpointId: $webhookEndpointId) { nodes { id } pageInfo { hasNextPage } }
    }`),
  },
  'Mutation.createWebhookEndpoint': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: graphql(
      `mutation ($input: CreateWebhookEndpointInput!) {
        createWebhookEndpoint(input: $input) { endpoint { projectIds } secret }
      }`,
      ({ projectId }) => ({ input: { url: receiverUrl, projectIds: [projectId] } }),
    ),
  },
  'Mutation.updateWebhookEndpoint': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: graphql(`mutation ($webhookEndpointId: UUID!) {
      updateWebhookEndpoint(id: $webhookEndpointId, input: { enabled: false }) { endpoint { id } }
    }`),
  },
  'Mutation.deleteWebhookEndpoint': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: mutationOfId('deleteWebhookEndpoint', 'deletedId', ({ webhookEndpointId }) => webhookEndpointId),
  },
  'Mutation.rotateWebhookSecret': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: mutationOfId(
      'rotateWebhookSecret',
      'secret endpoint { id }',
      ({ webhookEndpointId }) => webhookEndpointId,
    ),
  },
  'Mutation.sendTestWebhook': {
    needs: writeWebhooks,
    isForUnlimited: true,
    showsNothing: true,
    ask: graphql(`mutation ($webhookEndpointId: UUID!) {
      sendTestWebhook(endpointId: $webhookEndpointId) { message { type } }
    }`),
  },
  'Mutation.redeliverWebhooks': {
    needs: writeWebhooks,
    isForUnlimited: true,
    showsNothing: true,
    ask: graphql(`mutation ($webhookEndpointId: UUID!, $webhookMessageId: UUID!) {
      redeliverWebhooks(endpointId: $webhookEndpointId, messageId: $webhookMessageId) { count }
    }`),
  },
  'GET /api/v1/app-connections': { needs: read, ask: rest('GET', () => '?limit=100') },
  'GET /api/v1/app-connections (of a project)': {
    needs: read,
    ask: rest('GET', ({ projectId }) => `?projectId=${projectId}`),
  },
  'GET /api/v1/app-connections/options': {
    needs: [],
    showsNothing: true,
    ask: rest('GET', () => '/options'),
  },
  'GET /api/v1/app-connections/okta': { needs: read, ask: rest('GET', () => '/okta?limit=100') },
  'GET /api/v1/app-connections/okta/available': {
    needs: read,
    ask: rest('GET', ({ projectId }) => `/okta/available?projectId=${projectId}`),
  },
  'GET /api/v1/app-connections/okta/{id}': {
    needs: read,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}`),
  },
  'GET /api/v1/app-connections/okta/connection-name/{name}': {
    needs: read,
    ask: rest(
      'GET',
      ({ connectionName, projectId }) => `/okta/connection-name/${connectionName}?projectId=${projectId}`,
    ),
  },
  'POST /api/v1/app-connections/okta': {
    needs: write,
    ask: rest(
      'POST',
      () => '/okta',
      ({ projectId }) => ({
        ...{ name: freshName(), method: 'api-token', projectId, credentials },
      }),
    ),
  },
  'PATCH /api/v1/app-connections/okta/{id}': {
    needs: write,
    ask: rest(
      'PATCH',
      ({ connectionId }) => `/okta/${connectionId}`,
      () => ({ name: freshName() }),
    ),
  },
  'DELETE /api/v1/app-connections/okta/{id}': {
    needs: write,
    ask: rest('DELETE', ({ connectionId }) => `/okta/${connectionId}`),
  },
  'GET /api/v1/app-connections/okta/{id}/verification': {
    needs: read,
    showsNothing: true,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}/verification`),
  },
  'GET /api/v1/app-connections/okta/{id}/health': {
    needs: read,
    showsNothing: true,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}/health`),
  },
  'GET /api/v1/app-connections/okta/{id}/usage': {
    needs: read,
    showsNothing: true,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}/usage?by=DAY`),
  },
  'GET /api/v1/app-connections/okta/{id}/used-by': {
    needs: read,
    showsNothing: true,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}/used-by`),
  },
  'GET /api/v1/app-connections/okta/{id}/use-policy': {
    needs: readOrUse,
    showsNothing: true,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}/use-policy`),
  },
  'PUT /api/v1/app-connections/okta/{id}/use-policy': {
    needs: write,
    showsNothing: true,
    ask: rest(
      'PUT',
      ({ connectionId }) => `/okta/${connectionId}/use-policy`,
      () => ({ preset: 'USERS_AND_GROUPS_READ' }),
    ),
  },
  'POST /api/v1/app-connections/okta/{id}/use-policy/test': {
    needs: readOrUse,
    showsNothing: true,
    ask: rest(
      'POST',
      ({ connectionId }) => `/okta/${connectionId}/use-policy/test`,
      () => ({ method: 'GET', path: '/api/v1/users' }),
    ),
  },
  'GET /api/v1/app-connections/okta/{id}/setup-links': {
    needs: write,
    ask: rest('GET', ({ connectionId }) => `/okta/${connectionId}/setup-links`),
  },
  'POST /api/v1/app-connections/okta/{id}/setup-links': {
    needs: write,
    ask: rest('POST', ({ connectionId }) => `/okta/${connectionId}/setup-links`),
  },
  'POST /api/v1/app-connections/okta/{id}/setup-links/{setupLinkId}/revoke': {
    needs: write,
    ask: rest(
      'POST',
      ({ connectionId, setupLinkId }) => `/okta/${connectionId}/setup-links/${setupLinkId}/revoke`,
    ),
  },
  'POST /api/v1/app-connections/okta/{id}/convert': {
    needs: write,
    ask: rest(
      'POST',
      ({ connectionId }) => `/okta/${connectionId}/convert`,
      () => ({ to: conversion }),
    ),
  },
  'DELETE /api/v1/app-connections/okta/{id}/conversion': {
    needs: write,
    ask: rest('DELETE', ({ connectionId }) => `/okta/${connectionId}/conversion`),
  },
  'POST /api/v1/app-connections/okta/{id}/verify': {
    needs: verify,
    showsNothing: true,
    ask: rest('POST', ({ connectionId }) => `/okta/${connectionId}/verify`),
  },
  'POST /api/v1/app-connections/okta/{id}/rotate-key': {
    needs: write,
    usesServiceApp: true,
    ask: rest('POST', ({ serviceAppId }) => `/okta/${serviceAppId}/rotate-key`),
  },
  'POST /api/v1/app-connections/okta/{id}/restore': {
    needs: write,
    ask: rest('POST', ({ deletedId }) => `/okta/${deletedId}/restore`),
  },
  'POST /api/v1/app-connections/okta/validate': {
    needs: verify,
    showsNothing: true,
    ask: rest(
      'POST',
      () => '/okta/validate',
      () => ({ credentials }),
    ),
  },
  'GET /api/v1/viewer': { needs: [], ask: rest('GET', () => '/viewer', undefined, '/api/v1') },
  'GET /api/v1/projects': {
    needs: ['connections:read', 'access:admin'],
    ask: rest('GET', () => '/projects?limit=100', undefined, '/api/v1'),
  },
  'POST /api/v1/projects': {
    needs: admin,
    isForUnlimited: true,
    showsNothing: true,
    ask: rest(
      'POST',
      () => '/projects',
      () => ({ name: freshName() }),
      '/api/v1',
    ),
  },
  'PATCH /api/v1/projects/{id}': {
    needs: admin,
    isForUnlimited: true,
    ask: rest(
      'PATCH',
      ({ projectId }) => `/projects/${projectId}`,
      () => ({ name: freshName() }),
      '/api/v1',
    ),
  },
  'GET /api/v1/api-keys': {
    needs: admin,
    ask: rest('GET', () => '/api-keys?limit=100', undefined, '/api/v1'),
  },
  'POST /api/v1/api-keys': {
    needs: admin,
    ask: rest(
      'POST',
      () => '/api-keys',
      ({ projectId }) => ({ name: freshName(), scopes: ['access:admin'], projectIds: [projectId] }),
      '/api/v1',
    ),
  },
  'POST /api/v1/api-keys/{id}/revoke': {
    needs: admin,
    ask: rest('POST', ({ apiKeyId }) => `/api-keys/${apiKeyId}/revoke`, undefined, '/api/v1'),
  },
  'GET /api/v1/webhook-endpoints': {
    needs: readWebhooks,
    isForUnlimited: true,
    ask: webhookRest('GET', () => ''),
  },
  'POST /api/v1/webhook-endpoints': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: webhookRest(
      'POST',
      () => '',
      ({ projectId }) => ({ url: receiverUrl, projectIds: [projectId] }),
    ),
  },
  'GET /api/v1/webhook-endpoints/{id}': {
    needs: readWebhooks,
    isForUnlimited: true,
    ask: webhookRest('GET', ({ webhookEndpointId }) => `/${webhookEndpointId}`),
  },
  'PATCH /api/v1/webhook-endpoints/{id}': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: webhookRest(
      'PATCH',
      ({ webhookEndpointId }) => `/${webhookEndpointId}`,
      () => ({ description: 'Changed' }),
    ),
  },
  'DELETE /api/v1/webhook-endpoints/{id}': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: webhookRest('DELETE', ({ webhookEndpointId }) => `/${webhookEndpointId}`),
  },
  'POST /api/v1/webhook-endpoints/{id}/rotate-secret': {
    needs: writeWebhooks,
    isForUnlimited: true,
    ask: webhookRest('POST', ({ webhookEndpointId }) => `/${webhookEndpointId}/rotate-secret`),
  },
  'GET /api/v1/webhook-endpoints/{id}/messages': {
    needs: readWebhooks,
    isForUnlimited: true,
    ask: webhookRest('GET', ({ webhookEndpointId }) => `/${webhookEndpointId}/messages`),
  },
  'POST /api/v1/webhook-endpoints/{id}/test': {
    needs: writeWebhooks,
    isForUnlimited: true,
    showsNothing: true,
    ask: webhookRest('POST', ({ webhookEndpointId }) => `/${webhookEndpointId}/test`),
  },
  'POST /api/v1/webhook-endpoints/{id}/redeliver': {
    needs: writeWebhooks,
    isForUnlimited: true,
    showsNothing: true,
    ask: webhookRest(
      'POST',
      ({ webhookEndpointId }) => `/${webhookEndpointId}/redeliver`,
      ({ webhookMessageId }) => ({ messageId: webhookMessageId }),
    ),
  },
  'GET /api/v1/openapi.json': {
    needs: [],
    showsNothing: true,
    ask: async ({ url, apiKey }) =>
      parseOutcome(await restClient(url, apiKey)('GET', '/api/v1/openapi.json')),
  },
};

/** Sends a GraphQL document. By default, the members of the target are its variables. */
function graphql(
  query: string,
  buildVariables: (target: Target) => object = (target) => target,
): Operation['ask'] {
  return async ({ url, apiKey }, target) =>
    parseOutcome(
      await restClient(url, apiKey)('POST', '/graphql', { query, variables: buildVariables(target) }),
    );
}

/** Sends a REST request to a path below `root`. */
function rest(
  method: string,
  buildPath: (target: Target) => string,
  buildBody?: (target: Target) => object,
  root = '/api/v1/app-connections',
): Operation['ask'] {
  return async ({ url, apiKey }, target) =>
    parseOutcome(await restClient(url, apiKey)(method, `${root}${buildPath(target)}`, buildBody?.(target)));
}

/** Sends a REST request about webhook endpoints. */
function webhookRest(
  method: string,
  buildPath: (target: Target) => string,
  buildBody?: (target: Target) => object,
): Operation['ask'] {
  return rest(method, buildPath, buildBody, '/api/v1/webhook-endpoints');
}

/** Reads all pages of a list, by the Link header, or by the cursor in the body. */
function everyPage(method: string, path: string, buildBody?: (after?: string) => object): Operation['ask'] {
  return async ({ url, apiKey }) => {
    const client = restClient(url, apiKey);
    const texts: string[] = [];
    for (let [next, after]: [string, string?] = [path]; ; ) {
      const answer = await client(method, next, buildBody?.(after));
      const outcome = parseOutcome(answer);
      texts.push(outcome.text);
      const { endCursor, hasNextPage } = JSON.parse(answer.text).data?.auditEvents?.pageInfo ?? {};
      const link = /^<([^>]+)>/.exec(answer.headers.get('link') ?? '')?.[1];
      if (!link && !hasNextPage) return { ...outcome, text: texts.join('\n') };
      [next, after] = [link ?? path, endCursor];
    }
  };
}

function parseOutcome({ status, text }: { status: number; text: string }): OperationResult {
  const { errors, code, detail } = JSON.parse(text);
  const [error] = errors ?? [];
  return { status, text, code: error?.extensions.code ?? code, message: error?.message ?? detail };
}

/** Subscribes from the first event on, and collects as many events as the caller may receive. */
function watch(
  argument: string,
  buildVariables: (target: Target) => Record<string, unknown>,
): Operation['ask'] {
  const declared = argument && '($projectId: UUID!)';
  const query = `subscription ${declared} {
    appConnectionChanged(after: "${firstEvent}"${argument}) { connectionId appConnection { name } }
  }`;
  return hear(query, buildVariables);
}

/** Subscribes, and returns as many events as the caller may receive. */
function hear(query: string, buildVariables: (target: Target) => Record<string, unknown>): Operation['ask'] {
  return async ({ url, apiKey = '', changes }, target) => {
    await using heard = await subscribe(`${url}/graphql`, apiKey, query, buildVariables(target));
    const answers: string[] = [];
    while (answers.length < changes) {
      const { data, errors } = await heard.next();
      answers.push(JSON.stringify({ data, errors }));
      const [error] = errors ?? [];
      if (error) {
        return { status: 200, text: answers.join('\n'), code: error.extensions.code, message: error.message };
      }
    }
    return { status: 200, text: answers.join('\n') };
  };
}
