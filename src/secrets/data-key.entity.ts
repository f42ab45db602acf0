import { defineEntity, p } from '@mikro-orm/core';
import { keptApart } from '../database/policies.ts';

/** `SEAL` keys encrypt credentials, `FINGERPRINT` keys make `credentialsHash`, `AUDIT` keys chain events. */
export const dataKeyPurposes = ['SEAL', 'FINGERPRINT', 'AUDIT'] as const;

export type DataKeyPurpose = (typeof dataKeyPurposes)[number];

const DataKeySchema = defineEntity({
  name: 'DataKey',
  tableName: 'data_key',
  ...keptApart('data_key'),
  properties: {
    id: p.uuid().primary(),
    orgId: p.uuid(),
    purpose: p.text().$type<DataKeyPurpose>(),
    /** The key itself, wrapped by the root key `rootKeyId`. */
    wrapped: p.text().hidden(),
    rootKeyId: p.text(),
    /** The root key that wrapped it at first. Whoever has had that one may know this key, whatever wraps it now. */
    madeUnder: p.text(),
    createdAt: p.datetime(3),
    /** Set once another key has taken over; a retired key only opens. */
    retiredAt: p.datetime(3).nullable(),
  },
  indexes: [{ name: 'data_key_root_key', properties: ['rootKeyId', 'id'] }],
  uniques: [
    { name: 'data_key_active_unique', properties: ['orgId', 'purpose'], where: '"retired_at" is null' },
  ],
});

/** A key that belongs to one organisation, stored wrapped by a root key. */
export class DataKey extends DataKeySchema.class {}
DataKeySchema.setClass(DataKey);
