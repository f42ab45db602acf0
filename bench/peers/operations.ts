import { z } from 'zod';

/** The operations that every server is measured with. */
export const operationNames = ['read', 'list', 'create'] as const;
export type OperationName = (typeof operationNames)[number];

/** A request for an operation, without the server's URL. */
export interface BenchRequest {
  method: 'GET' | 'POST';
  path: string;
  body?: string;
  /** Headers that replace those of all requests. */
  headers?: Record<string, string>;
}

/** How to build requests for a server and read its responses. */
export interface Dialect {
  read(id: string): BenchRequest;
  list(): BenchRequest;
  create(input: NewConnection): BenchRequest;
  parseResponse(operation: OperationName, body: string): unknown;
}

/** The input of a create. */
export interface NewConnection {
  name: string;
  description: string;
  credentials: { instanceUrl: string; apiToken: string };
}

/** The page size of a list. */
export const pageSize = 20;

/** The selected fields of a connection. */
export const fields = `id name description app method orgId projectId version createdAt updatedAt credentialsHash
  credentials { instanceUrl } verification { status checkedAt }`;

/** The product's schema, which Mercurius and Apollo Server use too. */
export const graphql: Dialect = graphqlDialect({
  read: `query Read($id: UUID!) { answer: appConnection(id: $id) { ${fields} } }`,
  list: `query List($first: Int!) {
    answer: appConnections(first: $first) { nodes { ${fields} } pageInfo { hasNextPage endCursor } }
  }`,
  create: `mutation Create($input: CreateOktaConnectionInput!) {
    answer: createOktaConnection(input: $input) { appConnection { ${fields} } }
  }`,
});

const postgraphileFields = fields.replace(/^id/, 'id: rowId');

/** PostGraphile's schema, whose types derive from the tables. */
export const postgraphile: Dialect = graphqlDialect({
  read: `query Read($id: UUID!) { answer: connectionOfCaller(id: $id) { ${postgraphileFields} } }`,
  list: `query List($first: Int!) {
    answer: connectionsOfCaller(first: $first) {
      nodes { ${postgraphileFields} } pageInfo { hasNextPage endCursor }
    }
  }`,
  create: `mutation Create($input: CreateOktaConnectionInput!) {
    answer: createOktaConnection(input: $input) { appConnection { ${postgraphileFields} } }
  }`,
});

/** REST routes. */
export const rest: Dialect = {
  read: (id) => ({ method: 'GET', path: `/connections/${id}` }),
  list: () => ({ method: 'GET', path: '/connections' }),
  create: (input) => ({ method: 'POST', path: '/connections', body: JSON.stringify(input) }),
  parseResponse: (_, body) => JSON.parse(body),
};

function graphqlDialect(documents: Record<OperationName, string>): Dialect {
  const toRequest = (operation: OperationName, variables: object): BenchRequest => ({
    method: 'POST',
    path: '/graphql',
    body: JSON.stringify({ query: documents[operation].replaceAll(/\s+/g, ' '), variables }),
  });
  return {
    read: (id) => toRequest('read', { id }),
    list: () => toRequest('list', { first: pageSize }),
    create: (input) => toRequest('create', { input }),
    parseResponse: (operation, body) => {
      const { data, errors } = JSON.parse(body);
      if (errors) throw new Error(`${operation} failed: ${body}`);
      const { answer } = data;
      return operation === 'create' ? answer.appConnection : answer;
    },
  };
}

/** Normalizes dates and enum values, which servers format differently. */
const timestamp = z.string().transform((text) => new Date(text).toISOString());
const enumValue = z.string().transform((text) => text.toUpperCase().replaceAll('-', '_'));

/** A connection in a response, with exactly the selected fields. */
export const connection = z.strictObject({
  id: z.guid(),
  name: z.string(),
  description: z.string().nullable(),
  app: enumValue,
  method: enumValue,
  orgId: z.guid(),
  projectId: z.guid().nullable(),
  version: z.int(),
  createdAt: timestamp,
  updatedAt: timestamp,
  credentialsHash: z.string(),
  credentials: z.strictObject({ instanceUrl: z.url() }),
  verification: z.strictObject({ status: z.string(), checkedAt: timestamp }),
});

/** A page in a response, with normalized cursors, whose format depends on the server. */
export const page = z.strictObject({
  nodes: z.array(connection).length(pageSize),
  pageInfo: z.strictObject({ hasNextPage: z.boolean(), endCursor: z.string().transform(() => 'a cursor') }),
});
