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
    /** SHA-256 of the key, in hex. The key itself is not kept. */
    hash: p.text().hidden().unique('api_key_hash_unique'),
    scopes: p.array().$type<Scope[]>(),
    /** The projects that it is limited to; null for all of the organisation. */
    projectIds: p.type('uuid[]').$type<string[]>().nullable(),
    createdAt: p.datetime(3),
    /** `Caller.id` of who made it; null for the operator, or when that is not known. */
    createdBy: p.text().nullable(),
    /** From then on it lets nobody in; null for never. */
    expiresAt: p.datetime(3).nullable(),
    /** Set once it has been revoked. */
    revokedAt: p.datetime(3).nullable(),
    /** When it was last used, to the minute; null if it never was. */
    lastUsedAt: p.datetime(3).nullable(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
  // The orders of the two lists that there are: with revoked keys, and without.
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
  lastUsedAt: 'It is shown and decides nothing, and is written while the key is used.',
});
