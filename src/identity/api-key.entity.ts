import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import type { Scope } from './caller.ts';
import { Organisation } from './organisation.entity.ts';

const ApiKeySchema = defineEntity({
  name: 'ApiKey',
  tableName: 'api_key',
  ...tenantIsolated('api_key'),
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id').index('api_key_org'),
    name: p.text(),
    /** The SHA-256 of the key in hex. The key itself is not stored. */
    hash: p.text().hidden().unique('api_key_hash_unique'),
    scopes: p.array().$type<Scope[]>(),
    /** The projects that it is limited to; null if it is not limited. */
    projectIds: p.type('uuid[]').$type<string[]>().nullable(),
    /** The connections that it is limited to; null if it is not limited. */
    connectionIds: p.type('uuid[]').$type<string[]>().nullable(),
    createdAt: p.datetime(3),
    /** `Caller.id` of the creator; null if it is the operator or unknown. */
    createdBy: p.text().nullable(),
    /** The time at which it expires; null if it does not. */
    expiresAt: p.datetime(3).nullable(),
    /** The time of revocation; null if it is not revoked. */
    revokedAt: p.datetime(3).nullable(),
    /** The time of the last use, to the minute; null if it was never used. */
    lastUsedAt: p.datetime(3).nullable(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
  // One for each list: with and without revoked keys.
  indexes: [
    { name: 'api_key_newest', properties: ['orgId', 'createdAt', 'id'] },
    {
      name: 'api_key_newest_active',
      properties: ['orgId', 'createdAt', 'id'],
      where: '"revoked_at" is null',
    },
  ],
});

/** The bearer credential of a caller. */
export class ApiKey extends ApiKeySchema.class {}
ApiKeySchema.setClass(ApiKey);
authenticateRows(ApiKey, {
  lastUsedAt: 'It is only displayed, and each use of the key updates it without loading the row.',
});
