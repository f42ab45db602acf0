import { defineEntity, p } from '@mikro-orm/core';
import type { UseRule } from '../apps/app.ts';
import type { ErrorCode } from '../common/errors.ts';
import { tenantIsolated } from '../database/row-level-security.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation, Project } from '../identity/organisation.entity.ts';

/** The results of verifying credentials with the app. */
export const verificationStatuses = ['VERIFIED', 'REJECTED', 'UNREACHABLE'] as const;

/** The result of the last verification. */
export type VerificationStatus = (typeof verificationStatuses)[number];

/** A use policy as it is stored: a preset by name, or rules. */
export interface StoredUsePolicy {
  /** 2 after the first change, and one more after each. */
  version: number;
  preset?: string;
  rules?: UseRule[];
}

/** The unique indexes of names: one for connections of a project, one for connections without a project. */
export const nameIndexes = ['app_connection_project_name_unique', 'app_connection_org_name_unique'] as const;

/** A partial index of the connections that are not deleted. */
function index<const Properties extends string[]>(name: string, properties: Properties) {
  return { name: `app_connection_${name}`, properties, where: '"deleted_at" is null' };
}

const AppConnectionSchema = defineEntity({
  name: 'AppConnection',
  tableName: 'app_connection',
  ...tenantIsolated('app_connection'),
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id'),
    projectId: () => p.manyToOne(Project).mapToPk().fieldName('project_id').nullable().deleteRule('restrict'),
    // The "C" collation gives the same order on every database, whatever its locale.
    name: p.text().collation('C'),
    description: p.text().nullable(),
    app: p.text(),
    method: p.text(),
    // changeConnection increments it. The ORM would count verifications as changes too.
    version: p.integer().default(1),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    /** Set while the connection is soft-deleted and can be restored. */
    deletedAt: p.datetime(3).nullable(),
    isPlatformManagedCredentials: p.boolean(),
    credentialsHash: p.text(),
    publicCredentials: p.json<Record<string, string>>(),
    account: p.json<Record<string, string | null>>().nullable(),
    /** Who may send which requests through the connection; null for the app's first preset. */
    usePolicy: p.json<StoredUsePolicy>().nullable(),
    /** The part of the app's rate limit that may be spent, in percent; null for the default. */
    maxShareOfRateLimit: p.integer().nullable(),
    // Lazy and hidden: loaded only where credentials are used, never serialised.
    sealedCredentials: p.text().hidden().lazy(),
    dataKeyId: () => p.manyToOne(DataKey).mapToPk().fieldName('data_key_id'),
    verificationStatus: p.text().$type<VerificationStatus>(),
    verificationCheckedAt: p.datetime(3),
    /** When the app last accepted the credentials. */
    lastVerifiedAt: p.datetime(3).nullable(),
    /** Since when every verification has failed; null while the credentials work. */
    failingSince: p.datetime(3).nullable(),
    verificationCode: p.text().$type<ErrorCode>().nullable(),
    verificationMessage: p.text().nullable(),
    verificationRemedy: p.text().nullable(),
    upstreamRequestId: p.text().nullable(),
    // Loaded only where the row is verified, together with the sealed credentials.
    mac: p
      .text()
      .hidden()
      .lazy()
      .onCreate(() => ''),
  },
  uniques: [
    {
      name: nameIndexes[0],
      properties: ['orgId', 'projectId', 'name'],
      where: '"project_id" is not null and "deleted_at" is null',
    },
    {
      name: nameIndexes[1],
      properties: ['orgId', 'name'],
      where: '"project_id" is null and "deleted_at" is null',
    },
  ],
  indexes: [
    // The order in which reencrypt.ts reads connections.
    { name: 'app_connection_data_key', properties: ['dataKeyId', 'id'] },
    { name: 'app_connection_deleted', properties: ['deletedAt', 'id'], where: '"deleted_at" is not null' },
    // Every order of a list, in both directions, for an organisation and for a project.
    index('by_name', ['orgId', 'name', 'id']),
    index('by_created', ['orgId', 'createdAt', 'id']),
    index('by_updated', ['orgId', 'updatedAt', 'id']),
    index('project_by_name', ['orgId', 'projectId', 'name', 'id']),
    index('project_by_created', ['orgId', 'projectId', 'createdAt', 'id']),
    index('project_by_updated', ['orgId', 'projectId', 'updatedAt', 'id']),
    // For rare values PostgreSQL uses these and sorts; for frequent ones it scans an index of the order.
    index('by_app', ['orgId', 'app']),
    index('by_method', ['orgId', 'method']),
    index('by_status', ['orgId', 'verificationStatus']),
  ],
});

/** A connection to a third-party product. */
export class AppConnection extends AppConnectionSchema.class {}
AppConnectionSchema.setClass(AppConnection);

const isVerificationResult = 'It is only shown, and each verification writes it.';
authenticateRows(AppConnection, {
  account: isVerificationResult,
  verificationStatus: isVerificationResult,
  verificationCheckedAt: isVerificationResult,
  lastVerifiedAt: isVerificationResult,
  failingSince: isVerificationResult,
  verificationCode: isVerificationResult,
  verificationMessage: isVerificationResult,
  verificationRemedy: isVerificationResult,
  upstreamRequestId: isVerificationResult,
});

/** The columns that a list reads if the client selects nothing else; the others double the size of a row. */
export const summaryColumns = [
  ...(['id', 'orgId', 'projectId', 'name', 'description', 'app', 'method', 'version'] as const),
  ...(['createdAt', 'updatedAt', 'credentialsHash', 'publicCredentials'] as const),
  ...(['verificationStatus', 'verificationCheckedAt'] as const),
] as const satisfies readonly (keyof AppConnection)[];
