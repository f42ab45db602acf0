import { defineEntity, p } from '@mikro-orm/core';
import { ApiKey } from '../access/api-key.entity.ts';
import { Organisation } from '../access/organisation.entity.ts';

const IdempotentRequestSchema = defineEntity({
  name: 'IdempotentRequest',
  tableName: 'idempotent_request',
  properties: {
    apiKeyId: () => p.manyToOne(ApiKey).mapToPk().primary().fieldName('api_key_id').deleteRule('cascade'),
    /** What the caller called the request. */
    key: p.text().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id').index('idempotent_request_org'),
    /** A keyed hash of what was asked, from which nothing can be recovered. */
    fingerprint: p.text(),
    /** What was answered, which holds no secret. */
    outcome: p.json<Record<string, unknown>>(),
    createdAt: p.datetime(3).index('idempotent_request_created'),
  },
});

/** A request that was carried out, kept for a day so that it can be repeated without doing it twice. */
export class IdempotentRequest extends IdempotentRequestSchema.class {}
IdempotentRequestSchema.setClass(IdempotentRequest);
