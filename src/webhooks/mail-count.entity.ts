import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { Organisation } from '../identity/organisation.entity.ts';

const MailCountSchema = defineEntity({
  name: 'MailCount',
  tableName: 'mail_count',
  ...tenantIsolated('mail_count'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    /** As `toMailbox` returns it. */
    address: p.text().primary(),
    /** When the first of these e-mails was sent. */
    since: p.datetime(3).index('mail_count_since'),
    sent: p.integer(),
  },
});

/** The e-mails that an organisation has sent to an address within a day. They are counted apart from messages, which can be deleted. */
export class MailCount extends MailCountSchema.class {}
MailCountSchema.setClass(MailCount);
