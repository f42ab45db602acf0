/** Mercurius on Fastify with compiled queries and handwritten SQL. */
import Fastify from 'fastify';
import { DateTimeResolver, UUIDResolver } from 'graphql-scalars';
import mercurius from 'mercurius';
import { createKeyCheck } from './work/access.ts';
import { announce } from './work/announce.ts';
import { makeConnection } from './work/make.ts';
import { show, showPage } from './work/shape.ts';
import { openTable } from './work/sql.ts';
import { type Context, maxPage, typeDefs } from './work/type-defs.ts';

declare module 'mercurius' {
  interface MercuriusContext extends Context {}
}

const table = openTable();
const authenticate = createKeyCheck(table.findKey);

const fastify = Fastify();
await fastify.register(mercurius, {
  schema: typeDefs,
  resolvers: {
    UUID: UUIDResolver,
    DateTime: DateTimeResolver,
    Query: {
      appConnection: async (_: unknown, { id }: { id: string }, { orgId }: Context) => {
        const row = await table.get(orgId, id);
        return row ? show(row) : null;
      },
      appConnections: async (_: unknown, { first }: { first: number }, { orgId }: Context) => {
        const size = Math.min(first, maxPage);
        return showPage(await table.list(orgId, size), size);
      },
    },
    Mutation: {
      createOktaConnection: async (_: unknown, { input }: { input: unknown }, { orgId }: Context) => {
        const row = await makeConnection(orgId, input);
        await table.add(row);
        return { appConnection: show(row) };
      },
    },
  },
  context: async (request) => ({ orgId: await authenticate(request.headers.authorization) }),
  // Compiles a query at its second execution.
  jit: 1,
  graphiql: false,
});
announce(await fastify.listen({ host: '127.0.0.1', port: 0 }));
