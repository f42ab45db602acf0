import { ClientError, type GraphQLClient, gql } from 'graphql-request';
import { at, type RestClient } from './rest.ts';

/** A change, independent of the transport. */
export type ChangeOperation =
  | {
      kind: 'create';
      name: string;
      projectId: string | null;
      description?: string | undefined;
      token: string;
    }
  | {
      kind: 'update';
      id: string;
      version?: number | undefined;
      name?: string | undefined;
      description?: string | null | undefined;
      token?: string | undefined;
    }
  | { kind: 'delete'; id: string; version?: number | undefined; purge: boolean };

/** A read, independent of the transport. */
export type ReadOperation =
  | { kind: 'by id'; id: string }
  | { kind: 'by name'; name: string; projectId: string | null }
  /** Without `projectId`, lists the whole organisation. */
  | { kind: 'list'; projectId?: string | null | undefined; pageSize: number };

/** The fields of a connection that every transport returns. */
export interface ConnectionView {
  id: string;
  name: string;
  description: string | null;
  projectId: string | null;
  version: number;
  createdAt: string;
  updatedAt: string;
  credentialsHash: string;
  /** Returned by GraphQL only. */
  status?: string;
}

/** A response in a form that is the same for every transport. */
export type TransportResponse =
  | { code: string; currentVersion?: number | undefined }
  | { connection: ConnectionView }
  | { deleted: string; isRestorable: boolean }
  | { connections: ConnectionView[] };

/** An API of the server. */
export interface Transport {
  name: string;
  change(change: ChangeOperation, idempotencyKey?: string): Promise<TransportResponse>;
  read(reading: ReadOperation): Promise<TransportResponse>;
}

const fields = gql`
  fragment Shown on AppConnection {
    id name description projectId version createdAt updatedAt credentialsHash verification { status }
  }
`;
const documents = {
  create: gql`
    mutation Create($input: CreateOktaConnectionInput!) {
      answer: createOktaConnection(input: $input) { appConnection { ...Shown } }
    }
    ${fields}
  `,
  update: gql`
    mutation Update($id: UUID!, $input: UpdateOktaConnectionInput!) {
      answer: updateOktaConnection(id: $id, input: $input) { appConnection { ...Shown } }
    }
    ${fields}
  `,
  delete: gql`
    mutation Delete($id: UUID!, $version: Int, $purge: Boolean!, $idempotencyKey: String) {
      answer: deleteAppConnection(
        id: $id, version: $version, purge: $purge, idempotencyKey: $idempotencyKey
      ) { id restorableUntil }
    }
  `,
  restore: gql`
    mutation Restore($id: UUID!, $name: String) {
      answer: restoreAppConnection(id: $id, name: $name) { appConnection { ...Shown } }
    }
    ${fields}
  `,
  verify: gql`
    mutation Verify($id: UUID!) { answer: verifyAppConnection(id: $id) { appConnection { ...Shown } } }
    ${fields}
  `,
  byId: gql`
    query ById($id: UUID!) { answer: appConnection(id: $id) { ...Shown } }
    ${fields}
  `,
  byName: gql`
    query ByName($name: String!, $projectId: UUID) {
      answer: appConnectionByName(name: $name, projectId: $projectId) { ...Shown }
    }
    ${fields}
  `,
  list: gql`
    query List($projectId: UUID, $orderBy: AppConnectionOrder, $first: Int!, $after: String) {
      answer: appConnections(projectId: $projectId, orderBy: $orderBy, first: $first, after: $after) {
        totalCount nodes { ...Shown } pageInfo { hasNextPage endCursor }
      }
    }
    ${fields}
  `,
};

/** A sort order of the GraphQL list. */
export interface Order {
  field: 'NAME' | 'CREATED_AT' | 'UPDATED_AT';
  direction: 'ASC' | 'DESC';
}

/** GraphQL as a transport, with the operations that REST lacks. */
export function graphqlTransport(client: GraphQLClient, instanceUrl: string) {
  const send = async (document: string, variables: object): Promise<unknown> => {
    try {
      return at(await client.request<object>(document, variables), 'answer');
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      const [failure, ...others] = error.response.errors ?? [];
      if (!failure || others.length > 0)
        throw new Error('The request did not fail with exactly one error.', { cause: error });
      return failure;
    }
  };
  const refusalIn = (answer: unknown): TransportResponse | undefined => {
    const extensions = at(answer, 'extensions');
    return extensions === undefined ? undefined : refusal(extensions);
  };
  const one = (answer: unknown): TransportResponse =>
    refusalIn(answer) ?? { connection: shown(at(answer, 'appConnection') ?? answer) };

  const list = async (
    { projectId, pageSize: first }: Extract<ReadOperation, { kind: 'list' }>,
    orderBy?: Order,
  ): Promise<TransportResponse> => {
    const connections: ConnectionView[] = [];
    const counts = new Set<unknown>();
    for (let after: unknown, isMore: unknown = true; isMore; ) {
      const page = await send(documents.list, { projectId, orderBy, first, after });
      const refused = refusalIn(page);
      if (refused) return refused;
      connections.push(...listIn(at(page, 'nodes')));
      counts.add(at(page, 'totalCount'));
      after = at(page, 'pageInfo', 'endCursor');
      isMore = at(page, 'pageInfo', 'hasNextPage');
    }
    if (counts.size !== 1 || !counts.has(connections.length))
      throw new Error('totalCount differs from the number of connections.');
    return { connections };
  };

  return {
    name: 'GraphQL',
    async change(change: ChangeOperation, idempotencyKey?: string): Promise<TransportResponse> {
      switch (change.kind) {
        case 'create': {
          const { kind: _, token: apiToken, ...input } = change;
          const credentials = { instanceUrl, apiToken };
          return one(await send(documents.create, { input: { ...input, credentials, idempotencyKey } }));
        }
        case 'update': {
          const { kind: _, id, token: apiToken, ...input } = change;
          const credentials = apiToken === undefined ? undefined : { apiToken };
          return one(await send(documents.update, { id, input: { ...input, credentials, idempotencyKey } }));
        }
        case 'delete': {
          const { kind: _, ...variables } = change;
          const answer = await send(documents.delete, { ...variables, idempotencyKey });
          return refusalIn(answer) ?? deleted(answer);
        }
      }
    },
    async read(reading: ReadOperation): Promise<TransportResponse> {
      switch (reading.kind) {
        case 'by id':
          return one(await send(documents.byId, reading));
        case 'by name':
          return one(await send(documents.byName, reading));
        case 'list':
          return list(reading);
      }
    },
    list,
    restore: async (id: string, name?: string) => one(await send(documents.restore, { id, name })),
    verify: async (id: string) => one(await send(documents.verify, { id })),
  };
}

const root = '/api/v1/app-connections';

/** The REST routes as a transport. */
export function restTransport(rest: RestClient, instanceUrl: string): Transport {
  const one = (body: unknown, status: number): TransportResponse =>
    status === 200 ? { connection: shown(at(body, 'appConnection')) } : refusal(body);
  return {
    name: 'REST',
    async change(change, idempotencyKey) {
      const headers: Record<string, string> = {
        ...(idempotencyKey && { 'idempotency-key': idempotencyKey }),
      };
      switch (change.kind) {
        case 'create': {
          const { kind: _, token: apiToken, ...input } = change;
          const sent = { ...input, method: 'api-token', credentials: { instanceUrl, apiToken } };
          const { body, status } = await rest('POST', `${root}/okta`, sent, headers);
          return one(body, status);
        }
        case 'update': {
          const { kind: _, id, token: apiToken, ...input } = change;
          const sent = { ...input, ...(apiToken !== undefined && { credentials: { apiToken } }) };
          const { body, status } = await rest('PATCH', `${root}/okta/${id}`, sent, headers);
          return one(body, status);
        }
        case 'delete': {
          const { version, purge, id } = change;
          const query = new URLSearchParams({ purge: `${purge}`, ...(version && { version: `${version}` }) });
          const { body, status } = await rest('DELETE', `${root}/okta/${id}?${query}`, undefined, headers);
          return status === 200 ? deleted(at(body, 'appConnection')) : refusal(body);
        }
      }
    },
    async read(reading) {
      switch (reading.kind) {
        case 'by id': {
          const { body, status } = await rest('GET', `${root}/okta/${reading.id}`);
          return one(body, status);
        }
        case 'by name': {
          const query = new URLSearchParams({ ...(reading.projectId && { projectId: reading.projectId }) });
          const path = `${root}/okta/connection-name/${reading.name}?${query}`;
          const { body, status } = await rest('GET', path);
          return one(body, status);
        }
        case 'list': {
          const { projectId, pageSize } = reading;
          const query = new URLSearchParams({
            limit: `${pageSize}`,
            ...(projectId !== undefined && { projectId: `${projectId}` }),
          });
          const connections: ConnectionView[] = [];
          for (let path: string | undefined = `${root}?${query}`; path; ) {
            const { body, status, headers } = await rest('GET', path);
            if (status !== 200) return refusal(body);
            connections.push(...listIn(at(body, 'appConnections')));
            path = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1];
          }
          return { connections };
        }
      }
    },
  };
}

function refusal(from: unknown): TransportResponse {
  const currentVersion = at(from, 'currentVersion');
  return {
    code: `${at(from, 'code')}`,
    ...(currentVersion !== undefined && { currentVersion: Number(currentVersion) }),
  };
}

function deleted(from: unknown): TransportResponse {
  return { deleted: `${at(from, 'id')}`, isRestorable: at(from, 'restorableUntil') !== null };
}

function listIn(from: unknown): ConnectionView[] {
  if (!Array.isArray(from)) throw new Error('The response is not a list.');
  return from.map(shown);
}

function shown(from: unknown): ConnectionView {
  const status = at(from, 'verification', 'status');
  const text = (name: string) => `${at(from, name)}`;
  const textOrNull = (name: string) => (at(from, name) === null ? null : text(name));
  return {
    id: text('id'),
    name: text('name'),
    description: textOrNull('description'),
    projectId: textOrNull('projectId'),
    version: Number(at(from, 'version')),
    createdAt: new Date(text('createdAt')).toISOString(),
    updatedAt: new Date(text('updatedAt')).toISOString(),
    credentialsHash: text('credentialsHash'),
    ...(status !== undefined && { status: `${status}` }),
  };
}
