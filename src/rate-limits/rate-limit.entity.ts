import { defineEntity, p } from '@mikro-orm/core';
import { systemOnly } from '../database/row-level-security.ts';

const RateLimitSchema = defineEntity({
  name: 'RateLimit',
  tableName: 'rate_limit',
  ...systemOnly('rate_limit'),
  // The names, the types and the order of these are those that rate-limiter-flexible writes to.
  properties: {
    /** What is counted, and of whom. */
    key: p.text().primary(),
    /** How much of it has been handed out to servers. */
    points: p.integer(),
    /** When the window ends, in milliseconds since 1970. */
    expire: p.bigint('number'),
  },
});

/** What all servers together have counted in one window. PostgreSQL does not log it, and so forgets it in a crash. */
export class RateLimit extends RateLimitSchema.class {}
RateLimitSchema.setClass(RateLimit);
