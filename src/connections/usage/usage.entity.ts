import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../../database/row-level-security.ts';
import { Organisation } from '../../identity/organisation.entity.ts';

// There is no foreign key to the connection: counting would wait for changes of its row, and a purge would delete all rows in
// one transaction. `deleteUsageOfPurged` removes them in batches.

const ConnectionUsageSchema = defineEntity({
  name: 'ConnectionUsage',
  tableName: 'connection_usage',
  ...tenantIsolated('connection_usage'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    connectionId: p.uuid().primary(),
    /** The beginning of the hour. */
    hour: p.datetime(3).primary().index('connection_usage_hour'),
    /** `UsageOutcome`. */
    outcome: p.text().primary(),
    /** The first digit of the status of the app's response; 0 if there was none. */
    statusClass: p.smallint().primary(),
    calls: p.integer(),
    bytesUp: p.bigint('number'),
    bytesDown: p.bigint('number'),
    /** The calls in each bucket of `durations.ts`, without zeros at the end; null without a response. */
    durations: p.type('int[]').$type<number[]>().nullable(),
  },
});

/** The calls through a connection in an hour with the same outcome and class of status. */
export class ConnectionUsage extends ConnectionUsageSchema.class {}
ConnectionUsageSchema.setClass(ConnectionUsage);

const CallerUsageSchema = defineEntity({
  name: 'CallerUsage',
  tableName: 'connection_usage_caller',
  ...tenantIsolated('connection_usage_caller'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    connectionId: p.uuid().primary(),
    hour: p.datetime(3).primary().index('connection_usage_caller_hour'),
    /** `Caller.id`; empty for callers beyond those that are told apart. */
    caller: p.text().primary(),
    /** What the program calls itself; empty if it says nothing, or if the callers are not told apart. */
    label: p.text().primary().default(''),
    calls: p.integer(),
    /** The calls with another outcome than OK. */
    failedCalls: p.integer(),
    bytesUp: p.bigint('number'),
    bytesDown: p.bigint('number'),
    /** When the app last answered one of them; null if it did not, and in rows of earlier versions. */
    lastUsedAt: p.datetime(3).nullable(),
  },
});

/** The calls of a caller through a connection in an hour with the same label. */
export class CallerUsage extends CallerUsageSchema.class {}
CallerUsageSchema.setClass(CallerUsage);

const LastUseSchema = defineEntity({
  name: 'LastUse',
  tableName: 'connection_last_use',
  ...tenantIsolated('connection_last_use'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    connectionId: p.uuid().primary(),
    /** When the last response of the app ended; null if it never answered. */
    at: p.datetime(3).nullable(),
    /** `Caller.id`; null if the app never answered. */
    caller: p.text().nullable(),
  },
});

/** The last call through a connection that the app answered. Every connection with usage has one, as long as it exists. */
export class LastUse extends LastUseSchema.class {}
LastUseSchema.setClass(LastUse);
