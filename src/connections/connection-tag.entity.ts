import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { AppConnection } from './app-connection.entity.ts';

const ConnectionTagSchema = defineEntity({
  name: 'ConnectionTag',
  tableName: 'connection_tag',
  ...tenantIsolated('connection_tag'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id'),
    connectionId: () =>
      p.manyToOne(AppConnection).mapToPk().primary().fieldName('connection_id').deleteRule('cascade'),
    key: p.text().primary(),
    value: p.text(),
  },
  indexes: [{ name: 'connection_tag_by_value', properties: ['orgId', 'key', 'value', 'connectionId'] }],
});

/**
 * A tag of a connection, for the filter of lists. A trigger writes it from `AppConnection.tags`. With row-level security, PostgreSQL
 * uses no GIN index on that column, because its operators are not leakproof.
 */
export class ConnectionTag extends ConnectionTagSchema.class {}
ConnectionTagSchema.setClass(ConnectionTag);
