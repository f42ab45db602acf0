import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';

const AuditRetentionSchema = defineEntity({
  name: 'AuditRetention',
  tableName: 'audit_retention',
  ...tenantIsolated('audit_retention'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id').deleteRule('restrict'),
    /** The newest event that was deleted. */
    seq: p.integer(),
    /** Its hash, which the first event that is left has as `previousHash`. */
    hash: p.text(),
    /** Its time. */
    lastAt: p.datetime(3),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
});

/**
 * Up to which event the audit trail of an organisation was deleted, because the events were older than the retention. Its MAC is what
 * tells this from events that something else has deleted.
 */
export class AuditRetention extends AuditRetentionSchema.class {}
AuditRetentionSchema.setClass(AuditRetention);
authenticateRows(AuditRetention);
