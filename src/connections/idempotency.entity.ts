import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';

const IdempotentRequestSchema = defineEntity({
  name: 'IdempotentRequest',
  tableName: 'idempotent_request',
  ...tenantIsolated('idempotent_request'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    /** `Caller.id`. */
    caller: p.text().primary(),
    /** A keyed hash of what the caller called the request. */
    key: p.text().primary(),
    /** A keyed hash of what was asked, from which nothing can be recovered. */
    fingerprint: p.text(),
    /** What was answered, which holds no secret. */
    outcome: p.json<Record<string, unknown>>(),
    createdAt: p.datetime(3).index('idempotent_request_created'),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
});

/** A request that was carried out, kept for a day so that it can be repeated without doing it twice. */
export class IdempotentRequest extends IdempotentRequestSchema.class {}
IdempotentRequestSchema.setClass(IdempotentRequest);
authenticateRows(IdempotentRequest);
