import pg from 'pg';
import type { StoredKey } from './access.ts';
import type { NewConnection } from './make.ts';
import { poolSize, settings } from './settings.ts';
import type { ConnectionRow } from './shape.ts';

const shown = `id, name, description, app, method, org_id as "orgId", project_id as "projectId", version,
  created_at as "createdAt", updated_at as "updatedAt", credentials_hash as "credentialsHash",
  public_credentials as "publicCredentials", verification_status as "verificationStatus",
  verification_checked_at as "verificationCheckedAt"`;

const statements = {
  key: `select org_id as "orgId", expires_at as "expiresAt", revoked_at as "revokedAt" from api_key where hash = $1`,
  get: `select ${shown} from app_connection where id = $1 and org_id = $2 and deleted_at is null`,
  list: `select ${shown} from app_connection where org_id = $1 and deleted_at is null order by name, id limit $2`,
  add: `insert into app_connection (id, org_id, project_id, name, description, app, method, version, created_at,
    updated_at, is_platform_managed_credentials, credentials_hash, public_credentials, account, sealed_credentials,
    data_key_id, verification_status, verification_checked_at, last_verified_at, upstream_request_id)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)`,
};

/** Access to the table with statements that PostgreSQL prepares once per connection. */
export function openTable() {
  const pool = new pg.Pool({ connectionString: settings.databaseUrl, max: poolSize });
  const run = async <Row extends pg.QueryResultRow>(name: keyof typeof statements, values: unknown[]) =>
    (await pool.query<Row>({ name, text: statements[name], values })).rows;
  return {
    pool,
    findKey: async (hash: string) => (await run<StoredKey & pg.QueryResultRow>('key', [hash]))[0],
    get: async (orgId: string, id: string) => (await run<ConnectionRow>('get', [id, orgId]))[0],
    /** Returns one row more than the page if there are more. */
    list: (orgId: string, first: number) => run<ConnectionRow>('list', [orgId, first + 1]),
    add: (row: NewConnection) =>
      run('add', [
        row.id,
        row.orgId,
        row.projectId,
        row.name,
        row.description,
        row.app,
        row.method,
        row.version,
        row.createdAt,
        row.updatedAt,
        row.isPlatformManagedCredentials,
        row.credentialsHash,
        row.publicCredentials,
        row.account,
        row.sealedCredentials,
        row.dataKeyId,
        row.verificationStatus,
        row.verificationCheckedAt,
        row.lastVerifiedAt,
        row.upstreamRequestId,
      ]),
  };
}
