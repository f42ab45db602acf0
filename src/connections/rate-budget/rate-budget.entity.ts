import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../../database/row-level-security.ts';
import { Organisation } from '../../identity/organisation.entity.ts';
import type { BudgetState } from './budget-state.ts';

const RateBudgetSchema = defineEntity({
  name: 'RateBudget',
  tableName: 'rate_budget',
  ...tenantIsolated('rate_budget'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    connectionId: p.uuid().primary(),
    /** The bucket of the app's rate limits. */
    bucket: p.text().primary(),
    /** Plus 1 with each change. A server changes only the revision that it knows. */
    revision: p.bigint('number'),
    state: p.json<BudgetState>(),
    /** When the row may be deleted, in milliseconds since the epoch. */
    expire: p.bigint('number'),
  },
  indexes: [{ name: 'rate_budget_expire', properties: ['expire'] }],
});

/** The rate budget of a connection in one bucket. The table is unlogged, so PostgreSQL empties it after a crash. */
export class RateBudget extends RateBudgetSchema.class {}
RateBudgetSchema.setClass(RateBudget);
