import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from './row-macs.ts';

/** `SEAL` keys encrypt credentials, `FINGERPRINT` keys make `credentialsHash`, `AUDIT` keys chain events. */
export const dataKeyPurposes = ['SEAL', 'FINGERPRINT', 'AUDIT'] as const;

/** The key under which rows of all organisations are authenticated. There is one, and nothing ever takes over from it. */
export const integrityPurpose = 'INTEGRITY';

/** To whom the integrity key belongs: to no organisation. */
export const integrityOwner = '00000000-0000-0000-0000-000000000000';

export type DataKeyPurpose = (typeof dataKeyPurposes)[number];

const DataKeySchema = defineEntity({
  name: 'DataKey',
  tableName: 'data_key',
  ...tenantIsolated('data_key'),
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    purpose: p.text().$type<DataKeyPurpose | typeof integrityPurpose>(),
    /** The key itself, wrapped by the root key `rootKeyId`; both are empty once it is destroyed. */
    wrapped: p.text().hidden(),
    rootKeyId: p.text(),
    /** The root key that wrapped it at first. Whoever has had that one may know this key, whatever wraps it now. */
    madeUnder: p.text(),
    createdAt: p.datetime(3),
    /** Set once another key has taken over; a retired key only opens. */
    retiredAt: p.datetime(3).nullable(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
  indexes: [{ name: 'data_key_root_key', properties: ['rootKeyId', 'id'] }],
  uniques: [
    { name: 'data_key_active_unique', properties: ['orgId', 'purpose'], where: '"retired_at" is null' },
  ],
});

/** A key that belongs to one organisation, stored wrapped by a root key. */
export class DataKey extends DataKeySchema.class {}
DataKeySchema.setClass(DataKey);
authenticateRows(DataKey);
