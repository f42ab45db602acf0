import { defineEntity, p } from '@mikro-orm/core';
import type { ErrorCode } from '../common/errors.ts';
import { tenantIsolated } from '../database/row-level-security.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation, Project } from '../identity/organisation.entity.ts';

/** What can come of asking the app. */
export const verificationStatuses = ['VERIFIED', 'REJECTED', 'UNREACHABLE'] as const;

/** What came of the last time the app was asked. */
export type VerificationStatus = (typeof verificationStatuses)[number];

/** The unique indexes that keep names apart: one within a project, one for connections without a project. */
export const nameIndexes = ['app_connection_project_name_unique', 'app_connection_org_name_unique'] as const;

/** An index of the connections that are not deleted. */
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
    // The "C" collation orders names alike on every database, whatever its locale.
    name: p.text().collation('C'),
    description: p.text().nullable(),
    app: p.text(),
    method: p.text(),
    // Counted by updateLocked under a lock, not by the ORM, which would count verifications as changes too.
    version: p.integer().default(1),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    /** Set while it is hidden and can still be restored. */
    deletedAt: p.datetime(3).nullable(),
    isPlatformManagedCredentials: p.boolean(),
    credentialsHash: p.text(),
    publicCredentials: p.json<Record<string, string>>(),
    account: p.json<Record<string, string | null>>().nullable(),
    // Read only where credentials are used: never selected unless asked for, never serialised.
    sealedCredentials: p.text().hidden().lazy(),
    dataKeyId: () => p.manyToOne(DataKey).mapToPk().fieldName('data_key_id'),
    verificationStatus: p.text().$type<VerificationStatus>(),
    verificationCheckedAt: p.datetime(3),
    /** When the app last accepted the credentials. */
    lastVerifiedAt: p.datetime(3).nullable(),
    /** Since when every check has failed; null while they work. */
    failingSince: p.datetime(3).nullable(),
    verificationCode: p.text().$type<ErrorCode>().nullable(),
    verificationMessage: p.text().nullable(),
    verificationRemedy: p.text().nullable(),
    upstreamRequestId: p.text().nullable(),
    // Read only where the row is verified, which takes the sealed credentials too.
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
    // In the order in which they are sealed again under another data key.
    { name: 'app_connection_data_key', properties: ['dataKeyId', 'id'] },
    { name: 'app_connection_deleted', properties: ['deletedAt', 'id'], where: '"deleted_at" is not null' },
    // Each order that a list can be in, read either way round, for an organisation and for a project.
    index('by_name', ['orgId', 'name', 'id']),
    index('by_created', ['orgId', 'createdAt', 'id']),
    index('by_updated', ['orgId', 'updatedAt', 'id']),
    index('project_by_name', ['orgId', 'projectId', 'name', 'id']),
    index('project_by_created', ['orgId', 'projectId', 'createdAt', 'id']),
    index('project_by_updated', ['orgId', 'projectId', 'updatedAt', 'id']),
    // What is rare is gathered by these and then sorted; what is not is met soon enough in the order asked for.
    index('by_app', ['orgId', 'app']),
    index('by_method', ['orgId', 'method']),
    index('by_status', ['orgId', 'verificationStatus']),
  ],
});

/** A connection to a third-party product. */
export class AppConnection extends AppConnectionSchema.class {}
AppConnectionSchema.setClass(AppConnection);

const ofTheLastCheck = 'It is shown and decides nothing, and is written whenever the app is asked.';
authenticateRows(AppConnection, {
  account: ofTheLastCheck,
  verificationStatus: ofTheLastCheck,
  verificationCheckedAt: ofTheLastCheck,
  lastVerifiedAt: ofTheLastCheck,
  failingSince: ofTheLastCheck,
  verificationCode: ofTheLastCheck,
  verificationMessage: ofTheLastCheck,
  verificationRemedy: ofTheLastCheck,
  upstreamRequestId: ofTheLastCheck,
});

/** What is read for a list in which nobody asks for more, which is as much again. */
export const summaryColumns = [
  ...(['id', 'orgId', 'projectId', 'name', 'description', 'app', 'method', 'version'] as const),
  ...(['createdAt', 'updatedAt', 'credentialsHash', 'publicCredentials'] as const),
  ...(['verificationStatus', 'verificationCheckedAt'] as const),
] as const satisfies readonly (keyof AppConnection)[];
