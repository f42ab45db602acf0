import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from './row-macs.ts';

/** `SEAL` keys encrypt credentials, `FINGERPRINT` keys compute `credentialsHash`, `AUDIT` keys chain events. */
export const dataKeyPurposes = ['SEAL', 'FINGERPRINT', 'AUDIT'] as const;

/** The key that authenticates the rows of all organisations. There is one, and it is never replaced. */
export const integrityPurpose = 'INTEGRITY';

/** The private key that opens exports from other servers. There is one, and it is created when it is first needed. */
export const importPurpose = 'IMPORT';

/** The `org_id` of the keys that belong to no organisation: the integrity key and the import key. */
export const integrityOwner = '00000000-0000-0000-0000-000000000000';

export type DataKeyPurpose = (typeof dataKeyPurposes)[number];

/** The purposes of keys that belong to no organisation. */
export type SystemKeyPurpose = typeof integrityPurpose | typeof importPurpose;

const DataKeySchema = defineEntity({
  name: 'DataKey',
  tableName: 'data_key',
  ...tenantIsolated('data_key'),
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    purpose: p.text().$type<DataKeyPurpose | SystemKeyPurpose>(),
    /** The key, wrapped by the root key `rootKeyId`. Both are empty once the key is destroyed. */
    wrapped: p.text().hidden(),
    rootKeyId: p.text(),
    /** The root key that wrapped it first. A former holder of that root key may know this data key. */
    madeUnder: p.text(),
    createdAt: p.datetime(3),
    /** Set once another key has replaced it. A retired key only decrypts. */
    retiredAt: p.datetime(3).nullable(),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
  indexes: [
    { name: 'data_key_root_key', properties: ['rootKeyId', 'id'] },
    { name: 'data_key_by_purpose', properties: ['orgId', 'purpose', 'createdAt', 'id'] },
  ],
  uniques: [
    { name: 'data_key_active_unique', properties: ['orgId', 'purpose'], where: '"retired_at" is null' },
  ],
});

/** A data key of one organisation, stored wrapped by a root key. */
export class DataKey extends DataKeySchema.class {}
DataKeySchema.setClass(DataKey);
authenticateRows(DataKey);
