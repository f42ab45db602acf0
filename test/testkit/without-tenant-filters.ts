import type { EntityManager } from '@mikro-orm/postgresql';
import type { Database } from '../../src/database/database.ts';
import { type Sql, sql } from '../../src/database/sql.ts';
import type { TestServer } from './server.ts';
import { compileSql } from './sql.ts';

/** Switches tenant filters off. */
export interface TenantFilterSwitch {
  isOn: boolean;
}

/** Wraps a database so that queries have no tenant filter while `forgetting` is on. */
export function withoutTenantFilters(database: Database, forgetting: TenantFilterSwitch): Database {
  const forget = (rest: Sql) => (forgetting.isOn ? ofAnyOrganisation(rest) : rest);
  return {
    ...database,
    forOrganisation: (orgId) => forgetfulManager(database.forOrganisation(orgId), forgetting),
    async select(entity, orgId, rest, ...how) {
      const rows = await database.select(entity, orgId, forget(rest), ...how);
      // The server compares the organisation of a row with that of the caller.
      if (forgetting.isOn) for (const row of rows) if ('orgId' in row) Object.assign(row, { orgId });
      return rows as never;
    },
    count: (entity, orgId, rest) => database.count(entity, orgId, forget(rest)),
  };
}

/** Removes the tenant filter from SQL. */
function ofAnyOrganisation(fragment: Sql): Sql {
  const { text, values } = compileSql(fragment);
  const parts = text.split(/\$\d+/);
  const forget = (part: string, index: number) =>
    part
      .replace(/\borg_id = $/, "'' <> ")
      // Row comparisons begin with the tenant column on each side.
      .replace(/\(org_id, ([^()]*\) (?:>=|<) \()$/, `('${values[index]}'::uuid, $1`);
  return sql(Object.assign(parts.map(forget), { raw: parts }), ...values);
}

/** The methods that take conditions as their second argument. */
const conditional = new Set(['find', 'findOne', 'findOneOrFail', 'count', 'nativeUpdate', 'nativeDelete']);

function forgetfulManager(em: EntityManager, forgetting: TenantFilterSwitch): EntityManager {
  return new Proxy(em, {
    get(target, name) {
      const member = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...given: unknown[]) => {
        const [first, second, ...rest] = given;
        if (name === 'transactional' && typeof first === 'function') {
          return member.call(target, (inner: EntityManager) => first(forgetfulManager(inner, forgetting)));
        }
        if (!forgetting.isOn || !conditional.has(String(name))) return member.apply(target, given);
        return member.call(target, first, withoutOrganisation(second), ...rest);
      };
    },
  });
}

function withoutOrganisation(where: unknown): unknown {
  if (Array.isArray(where)) return where.map(withoutOrganisation);
  if (typeof where !== 'object' || where === null || where instanceof Date) return where;
  // Reflect.ownKeys, because conditions in raw SQL are keyed by symbols.
  const names = Reflect.ownKeys(where).filter((name) => name !== 'orgId');
  // MikroORM's findOne refuses an empty condition.
  if (names.length === 0 && 'orgId' in where) return { orgId: { $ne: null } };
  return Object.fromEntries(names.map((name) => [name, withoutOrganisation(Reflect.get(where, name))]));
}

/** Disables or enables row-level security on every table. */
export async function setRowLevelSecurity(server: TestServer, isOn: boolean): Promise<void> {
  const em = server.asOwner();
  for (const { name } of await listTables(em)) {
    await em.execute(`alter table "${name}" ${isOn ? 'enable' : 'disable'} row level security`);
  }
}

/** Every table of the application. */
export async function listTables(em: EntityManager): Promise<{ name: string }[]> {
  return em.execute(`
    select table_name as name from information_schema.tables
    where table_schema = 'public' and table_name <> 'mikro_orm_migrations' order by name`);
}
