import type { Secret } from '../common/secret.ts';
import type { EmbeddedLocation } from './embedded.ts';

/** The location of a database on a PostgreSQL server. */
export interface PostgresqlLocation {
  kind: 'postgresql';
  url: Secret;
  /** The URL of the same database past a pooler. */
  directUrl?: Secret | undefined;
  /** The schema of the tables. Absent: the first existing one in the search path. */
  schema?: string | undefined;
  /** The most connections of the pool, by default 10. */
  poolSize?: number;
  /** The longest time of a statement in milliseconds, by default 10,000. */
  statementTimeoutMs?: number;
}

/** The location of the database. */
export type DatabaseLocation = PostgresqlLocation | EmbeddedLocation;
