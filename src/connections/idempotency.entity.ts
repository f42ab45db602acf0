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
    /** A MAC of the idempotency key. */
    key: p.text().primary(),
    /** A MAC of the request. */
    fingerprint: p.text(),
    /** The result, without secrets. */
    outcome: p.json<Record<string, unknown>>(),
    createdAt: p.datetime(3).index('idempotent_request_created'),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
});

/** The outcome of a request with an idempotency key, stored for a day. */
export class IdempotentRequest extends IdempotentRequestSchema.class {}
IdempotentRequestSchema.setClass(IdempotentRequest);
authenticateRows(IdempotentRequest);
