import { defineEntity, p } from '@mikro-orm/core';
import type { ErrorCode } from '../common/errors.ts';
import { tenantIsolated } from '../database/row-level-security.ts';
import { Organisation } from '../identity/organisation.entity.ts';

const HostOutageSchema = defineEntity({
  name: 'HostOutage',
  tableName: 'host_outage',
  ...tenantIsolated('host_outage'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    /** `https://example.okta.com`. */
    origin: p.text().primary(),
    since: p.datetime(3),
    checkedAt: p.datetime(3),
    nextCheckAt: p.datetime(3),
    message: p.text(),
    /** Null for outages that an earlier version has found. */
    code: p.text().$type<ErrorCode>().nullable(),
  },
});

/** A host that does not answer. As long as it exists, one of the organisation's connections to it is checked, and no other. */
export class HostOutage extends HostOutageSchema.class {}
HostOutageSchema.setClass(HostOutage);
