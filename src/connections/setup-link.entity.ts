import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { AppConnection } from './app-connection.entity.ts';

const SetupLinkSchema = defineEntity({
  name: 'SetupLink',
  tableName: 'connection_setup_link',
  ...tenantIsolated('connection_setup_link'),
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id'),
    connectionId: () =>
      p
        .manyToOne(AppConnection)
        .mapToPk()
        .fieldName('connection_id')
        .deleteRule('cascade')
        .index('connection_setup_link_connection'),
    /** The SHA-256 of the secret in hex. The secret itself is not stored. */
    hash: p.text().hidden().unique('connection_setup_link_hash_unique'),
    createdAt: p.datetime(3),
    /** The id of the API key that created it, with which it ends; null for an access token, and before this was stored. */
    createdByKeyId: p.uuid().nullable(),
    expiresAt: p.datetime(3).index('connection_setup_link_expires'),
    /** When it was first opened; null if it never was. */
    openedAt: p.datetime(3).nullable(),
    /** When it led to working credentials; null if it has not. */
    finishedAt: p.datetime(3).nullable(),
    revokedAt: p.datetime(3).nullable(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
});

/** A one-time link by which a person without a credential of this server sets up the credentials of one connection. */
export class SetupLink extends SetupLinkSchema.class {}
SetupLinkSchema.setClass(SetupLink);
authenticateRows(SetupLink);
