/** Apollo Server on Fastify, its fastest integration, with Prisma. */
import { ApolloServer } from '@apollo/server';
import { fastifyApolloDrainPlugin, fastifyApolloHandler } from '@as-integrations/fastify';
import { PrismaPg } from '@prisma/adapter-pg';
import Fastify from 'fastify';
import { DateTimeResolver, UUIDResolver } from 'graphql-scalars';
import { PrismaClient } from './prisma/client/client.ts';
import { createKeyCheck } from './work/access.ts';
import { announce } from './work/announce.ts';
import { makeConnection } from './work/make.ts';
import { poolSize, settings } from './work/settings.ts';
import { type ConnectionRow, show, showPage } from './work/shape.ts';
import { type Context, maxPage, typeDefs } from './work/type-defs.ts';

// Prepared statements are reused only when they have names.
const names = new Map<string, string>();
const statementNameGenerator = ({ sql }: { sql: string }) => {
  const name = names.get(sql) ?? `statement-${names.size}`;
  names.set(sql, name);
  return name;
};
const prisma = new PrismaClient({
  adapter: new PrismaPg(
    { connectionString: settings.databaseUrl, max: poolSize },
    { statementNameGenerator },
  ),
});
const authenticate = createKeyCheck((hash) =>
  prisma.apiKey.findUnique({ where: { hash }, select: { orgId: true, expiresAt: true, revokedAt: true } }),
);
const select = {
  id: true,
  name: true,
  description: true,
  app: true,
  method: true,
  orgId: true,
  projectId: true,
  version: true,
  createdAt: true,
  updatedAt: true,
  credentialsHash: true,
  publicCredentials: true,
  verificationStatus: true,
  verificationCheckedAt: true,
} as const;

const fastify = Fastify();
const apollo = new ApolloServer<Context>({
  typeDefs,
  resolvers: {
    UUID: UUIDResolver,
    DateTime: DateTimeResolver,
    Query: {
      appConnection: async (_, { id }, { orgId }) => {
        const row = await prisma.appConnection.findUnique({ where: { id, orgId, deletedAt: null }, select });
        return row ? show(row as ConnectionRow) : null;
      },
      appConnections: async (_, { first }, { orgId }) => {
        const size = Math.min(first, maxPage);
        const rows = await prisma.appConnection.findMany({
          where: { orgId, deletedAt: null },
          orderBy: [{ name: 'asc' }, { id: 'asc' }],
          take: size + 1,
          select,
        });
        return showPage(rows as ConnectionRow[], size);
      },
    },
    Mutation: {
      createOktaConnection: async (_, { input }, { orgId }) => {
        const data = await makeConnection(orgId, input);
        return {
          appConnection: show((await prisma.appConnection.create({ data, select })) as ConnectionRow),
        };
      },
    },
  },
  introspection: false,
  plugins: [fastifyApolloDrainPlugin(fastify)],
});
await apollo.start();
fastify.post('/graphql', {
  handler: fastifyApolloHandler(apollo, {
    context: async (request) => ({ orgId: await authenticate(request.headers.authorization) }),
  }),
});
announce(await fastify.listen({ host: '127.0.0.1', port: 0 }));
