import { defineEntity, p } from '@mikro-orm/core';
import { systemOnly } from '../database/row-level-security.ts';

const RateLimitSchema = defineEntity({
  name: 'RateLimit',
  tableName: 'rate_limit',
  ...systemOnly('rate_limit'),
  properties: {
    /** The name of the limit, and the key of the caller, the organisation or the client address. */
    key: p.text().primary(),
    /** The points that servers have leased. */
    points: p.integer(),
    /** The end of the window, in milliseconds since the epoch. */
    expire: p.bigint('number'),
  },
  indexes: [{ name: 'rate_limit_expire', properties: ['expire'] }],
});

/** A window that all servers share. The table is unlogged, so PostgreSQL empties it after a crash. */
export class RateLimit extends RateLimitSchema.class {}
RateLimitSchema.setClass(RateLimit);
