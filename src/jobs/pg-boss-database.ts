import type { EntityManager } from '@mikro-orm/postgresql';
import type { Db } from 'pg-boss';
import { roles } from '../database/driver/session.ts';
import type { StatementRunner } from '../database/statement-runner.ts';

/** The database as pg-boss uses it. */
export function toPgBossDatabase(runAsSystem: StatementRunner): Db {
  return { executeSql: (text, values) => runAsSystem(text, values) };
}

/**
 * The transaction of an organisation's request, in which pg-boss adds jobs. Its statements run under the role of the system,
 * because tenants may not use the tables of the queue, and the role of the transaction applies again after each.
 */
export function toPgBossTransaction(em: EntityManager): Db {
  const setRole = (role: string) => em.execute(`select set_config('role', ?, true)`, [role]);
  return {
    async executeSql(text, values = []) {
      if (!em.isInTransaction()) throw new TypeError('Jobs are added in a transaction.');
      const params: unknown[] = [];
      const sql = text.replaceAll('?', '\\?').replaceAll(/\$(\d+)/g, (_, number: string) => {
        params.push(toJson(values[Number(number) - 1]));
        return '?';
      });
      await setRole(roles.system);
      const rows = await em.execute<object[]>(sql, params);
      await setRole(roles.tenant);
      return { rows };
    },
  };
}

/** MikroORM makes a list of values of an array. */
function toJson(value: unknown): unknown {
  return Array.isArray(value) ? `{${value.map((item) => JSON.stringify(item)).join(',')}}` : value;
}
