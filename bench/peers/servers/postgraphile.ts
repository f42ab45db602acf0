/**
 * PostGraphile on `node:http`. Its types derive from the tables. The three operations are extensions, because the API key
 * determines the visible rows, and because a create calls Okta.
 */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { postgraphile } from 'postgraphile';
import type { PgSelectSingleStep } from 'postgraphile/@dataplan/pg';
import { pgInsertSingle } from 'postgraphile/@dataplan/pg';
import { makePgService } from 'postgraphile/adaptors/pg';
import { access, connection, context, get, object, sideEffect } from 'postgraphile/grafast';
import { grafserv } from 'postgraphile/grafserv/node';
import { PostGraphileAmberPreset } from 'postgraphile/presets/amber';
import { extendSchema, gql } from 'postgraphile/utils';
import { createKeyCheck } from './work/access.ts';
import { announce } from './work/announce.ts';
import { makeConnection, type NewConnection } from './work/make.ts';
import { openTable } from './work/sql.ts';
import { inputs } from './work/type-defs.ts';

declare global {
  namespace Grafast {
    interface Context {
      orgId: string;
    }
  }
}

// PostGraphile uses the same pool.
const { pool, findKey } = openTable();
const authenticate = createKeyCheck(findKey);

const operations = extendSchema((build) => {
  const table = build.pgResources.app_connection;
  if (!table) throw new Error('the table app_connection was not found');
  const { sql } = build;
  const $orgId = () => context().get('orgId');
  const findRows = (where: object = {}) => {
    const $rows = table.find({ ...where, org_id: $orgId() });
    $rows.where(sql`${$rows.alias}.deleted_at is null`);
    return $rows;
  };
  return {
    typeDefs: gql`
      type AppConnectionCredentials { instanceUrl: String }
      type ConnectionVerification { status: String! checkedAt: Datetime }
      extend type AppConnection { credentials: AppConnectionCredentials! verification: ConnectionVerification! }
      extend type Query {
        connectionOfCaller(id: UUID!): AppConnection
        connectionsOfCaller: AppConnectionConnection
      }
      ${inputs}
      type CreateOktaConnectionPayload { appConnection: AppConnection }
      extend type Mutation { createOktaConnection(input: CreateOktaConnectionInput!): CreateOktaConnectionPayload }
    `,
    objects: {
      AppConnection: {
        plans: { credentials: ($row) => $row, verification: ($row) => $row },
      },
      AppConnectionCredentials: {
        plans: {
          instanceUrl: ($row: PgSelectSingleStep) => get($row.get('public_credentials'), 'instanceUrl'),
        },
      },
      ConnectionVerification: {
        plans: {
          status: ($row: PgSelectSingleStep) => $row.get('verification_status'),
          checkedAt: ($row: PgSelectSingleStep) => $row.get('verification_checked_at'),
        },
      },
      Query: {
        plans: {
          connectionOfCaller: (_, args) => findRows({ id: args.getRaw('id') }).single(),
          // PostGraphile adds the limit and the cursor.
          connectionsOfCaller: () => {
            const $rows = findRows();
            $rows.orderBy({ attribute: 'name', direction: 'ASC' });
            $rows.orderBy({ attribute: 'id', direction: 'ASC' });
            $rows.setOrderIsUnique();
            return connection($rows);
          },
        },
      },
      Mutation: {
        plans: {
          createOktaConnection: (_, args) => {
            const $made = sideEffect([$orgId(), args.getRaw('input')], ([orgId, input]) =>
              makeConnection(orgId, input),
            );
            return object({ appConnection: pgInsertSingle(table, columnsOf($made)) });
          },
        },
      },
      CreateOktaConnectionPayload: {
        plans: { appConnection: ($payload) => get($payload, 'appConnection') },
      },
    },
  };
});

const columns = {
  id: 'id',
  org_id: 'orgId',
  project_id: 'projectId',
  name: 'name',
  description: 'description',
  app: 'app',
  method: 'method',
  version: 'version',
  created_at: 'createdAt',
  updated_at: 'updatedAt',
  is_platform_managed_credentials: 'isPlatformManagedCredentials',
  credentials_hash: 'credentialsHash',
  public_credentials: 'publicCredentials',
  account: 'account',
  sealed_credentials: 'sealedCredentials',
  data_key_id: 'dataKeyId',
  verification_status: 'verificationStatus',
  verification_checked_at: 'verificationCheckedAt',
  last_verified_at: 'lastVerifiedAt',
  upstream_request_id: 'upstreamRequestId',
} satisfies Record<string, keyof NewConnection>;

function columnsOf($made: Parameters<typeof access>[0]) {
  return Object.fromEntries(Object.entries(columns).map(([column, name]) => [column, access($made, name)]));
}

const pgl = postgraphile({
  extends: [PostGraphileAmberPreset],
  plugins: [operations],
  pgServices: [makePgService({ pool, schemas: ['public'] })],
  // Exposes only the measured operations.
  schema: { defaultBehavior: '-query:resource:single -query:resource:connection -insert -update -delete' },
  grafast: {
    explain: false,
    context: async ({ node }) => ({ orgId: await authenticate(node?.req.headers.authorization) }),
  },
  grafserv: { graphqlPath: '/graphql', graphiql: false, watch: false },
});
await pgl.getSchema();
const server = createServer();
await pgl.createServ(grafserv).addTo(server);
server.listen(0, '127.0.0.1', () => {
  announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
