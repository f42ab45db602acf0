import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { Organisation } from '../identity/organisation.entity.ts';

const MailOptOutSchema = defineEntity({
  name: 'MailOptOut',
  tableName: 'mail_opt_out',
  ...tenantIsolated('mail_opt_out'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    /** As `toMailbox` returns it. */
    address: p.text().primary(),
    at: p.datetime(3),
  },
});

/** An address to which an organisation sends no e-mails, because its owner has unsubscribed. */
export class MailOptOut extends MailOptOutSchema.class {}
MailOptOutSchema.setClass(MailOptOut);
