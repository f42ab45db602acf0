import { defineEntity, p } from '@mikro-orm/core';
import { systemOnly } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';

const OrganisationDeletionSchema = defineEntity({
  name: 'OrganisationDeletion',
  tableName: 'organisation_deletion',
  ...systemOnly('organisation_deletion'),
  properties: {
    /** The id of the organisation. */
    id: p.uuid().primary(),
    name: p.text(),
    /** Why it is deleted, in the words of the operator; null without a reason. */
    reason: p.text().nullable(),
    /** The user and the machine of the command. */
    requestedBy: p.text(),
    requestedAt: p.datetime(3),
    /** The time from which it cannot be cancelled; null before. */
    startedAt: p.datetime(3).nullable(),
    /** The time at which nothing of the organisation was left; null before. */
    completedAt: p.datetime(3).nullable(),
    /** The number of events of its audit trail; null before the start. */
    seq: p.integer().nullable(),
    /** The hash of the last event of its audit trail; null before the start. */
    hash: p.text().nullable(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
});

/**
 * The deletion of an organisation: scheduled, running or completed. It belongs to no organisation, and is all that is kept of one
 * that was deleted: the end of its audit trail, and who deleted it when and why.
 */
export class OrganisationDeletion extends OrganisationDeletionSchema.class {}
OrganisationDeletionSchema.setClass(OrganisationDeletion);
authenticateRows(OrganisationDeletion);
