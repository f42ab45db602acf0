import { Migrator } from '@mikro-orm/migrations';
import type { MikroORM, Options } from '@mikro-orm/postgresql';
import type { Logger } from '../common/log.ts';
import { TenantUsage } from '../common/tenant-usage.ts';
import { withBoundParameters } from './driver/bind-parameters.ts';
import type { Pool } from './driver/types.ts';
import { openEmbedded } from './embedded.ts';
import { connectionTimeoutMs } from './find-server.ts';
import { jobSchema } from './job-schema.ts';
import type { DatabaseLocation } from './location.ts';
import { migrations } from './migrations/list.ts';
import { Primary } from './primary.ts';

/** The entity classes to map. */
export type Entities = NonNullable<Options['entities']>;

/** Options of connections to PostgreSQL. */
interface OrmOptions {
  /** The server that was found at the location. */
  primary?: Primary | undefined;
  usage?: TenantUsage;
  /** Whether frequent statements are prepared, which needs connections without a pooler in between. */
  preparesStatements?: boolean;
}

/** Connects without applying migrations. */
export async function openOrm(
  location: DatabaseLocation,
  entities: Entities,
  log: Logger,
  { primary, usage = new TenantUsage(), preparesStatements = false }: OrmOptions = {},
): Promise<MikroORM> {
  const shared = {
    entities,
    extensions: [Migrator],
    migrations: { migrationsList: migrations, snapshot: false, silent: true },
    // Migrations create triggers and functions. MikroORM does not recognise its own triggers when it reads the schema.
    // Those of the job queue are not of entities.
    schemaGenerator: { ignoreTriggers: true, ignoreRoutines: true, ignoreSchema: [jobSchema('public')] },
    debug: log.isLevelEnabled('trace') ? ['query'] : false,
    colors: false,
    logger: (message: string) => log.trace(message),
  } satisfies Partial<Options>;

  if (location.kind === 'postgresql') {
    const [{ MikroORM, PostgreSqlConnection, PostgreSqlDriver }, { instrumentPool }] = await Promise.all([
      import('@mikro-orm/postgresql'),
      import('./driver/pool.ts'),
    ]);
    const { Client, server } = primary ?? (await Primary.find(location, log));
    return MikroORM.init({
      ...shared,
      // MikroORM looks for its table in this schema, and not in the search path.
      migrations: { ...shared.migrations, tableName: `${server.schema}.mikro_orm_migrations` },
      driver: withBoundParameters(PostgreSqlDriver, PostgreSqlConnection),
      // Without it, MikroORM takes missing parts from a default of its own.
      clientUrl: `postgresql:///${encodeURIComponent(server.options.database)}`,
      ensureDatabase: false,
      driverOptions: {
        ...server.options,
        Client,
        max: location.poolSize ?? 10,
        connectionTimeoutMillis: connectionTimeoutMs,
        onPoolCreated: (pool: Pool) => instrumentPool(pool, usage, preparesStatements),
      },
    });
  }
  return openEmbedded(shared, location);
}
