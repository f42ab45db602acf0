import { defineEntity, p } from '@mikro-orm/core';
import type { ErrorCode } from '../../common/errors.ts';
import { tenantIsolated } from '../../database/row-level-security.ts';
import { Organisation } from '../../identity/organisation.entity.ts';
import { AppConnection, type VerificationStatus } from '../app-connection.entity.ts';

const PastStatusSchema = defineEntity({
  name: 'PastStatus',
  tableName: 'connection_status_history',
  ...tenantIsolated('connection_status_history'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id'),
    connectionId: () =>
      p.manyToOne(AppConnection).mapToPk().primary().fieldName('connection_id').deleteRule('cascade'),
    /** Null if it began in an earlier version, which did not store it. */
    since: p.datetime(3).nullable(),
    until: p.datetime(3).primary().index('connection_status_history_until'),
    status: p.text().$type<VerificationStatus>(),
    /** The last reason, while it had this status. */
    code: p.text().$type<ErrorCode>().nullable(),
  },
});

/** A status that a connection had. A trigger adds a row when the status changes, and keeps the last 100. */
export class PastStatus extends PastStatusSchema.class {}
PastStatusSchema.setClass(PastStatus);

const PastOutageSchema = defineEntity({
  name: 'PastOutage',
  tableName: 'host_outage_history',
  ...tenantIsolated('host_outage_history'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    origin: p.text().primary(),
    since: p.datetime(3),
    until: p.datetime(3).primary().index('host_outage_history_until'),
    code: p.text().$type<ErrorCode>().nullable(),
  },
});

/** An outage of a host that is over. It is stored once, and not for each connection to the host. */
export class PastOutage extends PastOutageSchema.class {}
PastOutageSchema.setClass(PastOutage);
