/** A resolver of users by hand, in Mercurius with undici: no key of callers, policy, limit, check or count. */
import Fastify from 'fastify';
import { DateTimeResolver, UUIDResolver } from 'graphql-scalars';
import mercurius from 'mercurius';
import { Pool } from 'undici';
import { announce } from './work/announce.ts';

const { OKTA_URL = '', OKTA_TOKEN = '' } = process.env;
const okta = new Pool(OKTA_URL);

interface Arguments {
  first: number;
  after?: string;
}

const fastify = Fastify();
await fastify.register(mercurius, {
  schema: `
    scalar UUID
    scalar DateTime
    type Query { oktaUsers(connectionId: UUID!, first: Int! = 20, after: String): OktaUserPage }
    type OktaUserPage { nodes: [OktaUser!]! pageInfo: PageInfo! }
    type PageInfo { hasNextPage: Boolean! endCursor: String }
    type OktaUser { id: String! status: String created: DateTime lastLogin: DateTime profile: OktaUserProfile }
    type OktaUserProfile {
      login: String email: String firstName: String lastName: String title: String department: String
    }
  `,
  resolvers: {
    UUID: UUIDResolver,
    DateTime: DateTimeResolver,
    Query: {
      oktaUsers: async (_: unknown, { first, after }: Arguments) => {
        const query = new URLSearchParams({ limit: String(first), ...(after && { after }) });
        const { statusCode, headers, body } = await okta.request({
          method: 'GET',
          path: `/api/v1/users?${query}`,
          headers: { authorization: `SSWS ${OKTA_TOKEN}`, accept: 'application/json' },
        });
        const nodes = await body.json();
        if (statusCode !== 200) throw new Error(`Okta answered with status ${statusCode}`);
        const [, next] = /<([^>]*)>; rel="next"/.exec(String(headers.link)) ?? [];
        const endCursor = next === undefined ? null : new URL(next).searchParams.get('after');
        return { nodes, pageInfo: { hasNextPage: endCursor !== null, endCursor } };
      },
    },
  },
  // Compiles a query at its second execution.
  jit: 1,
  graphiql: false,
});
announce(await fastify.listen({ host: '127.0.0.1', port: 0 }));
