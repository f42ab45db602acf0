import { defineEntity, p } from '@mikro-orm/core';
import { systemOnly } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';

const AuditStreamSchema = defineEntity({
  name: 'AuditStream',
  tableName: 'audit_stream',
  ...systemOnly('audit_stream'),
  properties: {
    /** Always 1: all servers share the row. */
    id: p.integer().primary().autoincrement(false),
    /** The server that streams now; null if none does. */
    leaseId: p.uuid().nullable(),
    /** When another server may stream. */
    leaseUntil: p.datetime(3).nullable(),
    /** The time of the first of the failures since the last delivery; null if the last attempt has succeeded. */
    failingSince: p.datetime(3).nullable(),
    /** The last failure, as a clause without secrets. */
    failure: p.text().nullable(),
    /** The AUDIT_STREAM of the server that has streamed last. */
    target: p.text().nullable(),
  },
});

/** The state of the stream of audit events, which one server at a time delivers. */
export class AuditStream extends AuditStreamSchema.class {}
AuditStreamSchema.setClass(AuditStream);

const AuditStreamPositionSchema = defineEntity({
  name: 'AuditStreamPosition',
  tableName: 'audit_stream_position',
  ...systemOnly('audit_stream_position'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id').deleteRule('restrict'),
    /** The last event that was delivered. */
    seq: p.integer(),
    /** Its hash, which the next event has as `previousHash`. */
    hash: p.text(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
});

/**
 * Up to which event the audit trail of an organisation was streamed. Its MAC keeps a user with write access to the database from moving
 * it past events.
 */
export class AuditStreamPosition extends AuditStreamPositionSchema.class {}
AuditStreamPositionSchema.setClass(AuditStreamPosition);
authenticateRows(AuditStreamPosition);
