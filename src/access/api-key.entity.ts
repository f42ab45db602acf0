import { defineEntity, p } from '@mikro-orm/core';
import type { Scope } from './caller.ts';
import { Organisation } from './organisation.entity.ts';

const ApiKeySchema = defineEntity({
  name: 'ApiKey',
  tableName: 'api_key',
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id').index('api_key_org'),
    name: p.text(),
    /** SHA-256 of the key, in hex. The key itself is not kept. */
    hash: p.text().hidden().unique('api_key_hash_unique'),
    scopes: p.array().$type<Scope[]>(),
    createdAt: p.datetime(3),
  },
});

/** The bearer credential of a caller. */
export class ApiKey extends ApiKeySchema.class {}
ApiKeySchema.setClass(ApiKey);
