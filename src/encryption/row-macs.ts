import { createHmac, type KeyObject, timingSafeEqual } from 'node:crypto';
import type {
  EntityClass,
  EntityManager,
  EntityMetadata,
  EntityProperty,
  EventSubscriber,
  FlushEventArgs,
} from '@mikro-orm/core';
import { canonicalJson } from '../common/canonical-json.ts';
import type { Logger } from '../common/log.ts';

/** The MAC of a stored row does not match, so the row must not be used. The message contains only the table's name. */
export class MacMismatch extends Error {
  override readonly name = 'MacMismatch';

  constructor(table: string) {
    super(`A row of ${table} was changed by something other than this server.`);
  }
}

/** A row that carries a MAC. */
export interface Authenticated {
  /** HMAC-SHA-256 over the security-relevant columns, in base64url. */
  mac: string;
}

/** The properties that the MAC excludes, with the reason, by entity name. */
const excluded = new Map<string, Readonly<Record<string, string>>>();

/**
 * Adds a MAC over every column, except the excluded ones, to the rows of an entity.
 *
 * A nullable column that is added to the table later keeps existing MACs valid, because a MAC omits null values. Any other
 * new column needs a migration that signs the rows again.
 *
 * @param exclusions the excluded properties, each with the reason
 */
export function authenticateRows<Entity extends Authenticated>(
  entity: EntityClass<Entity>,
  exclusions: { readonly [property in keyof Entity]?: string } = {},
): void {
  excluded.set(entity.name, exclusions as Readonly<Record<string, string>>);
}

/** A column that the MAC covers. */
interface Column {
  name: string;
  property: string;
  isUuid: boolean;
}

/** Rows that any instance verified after reading them, or wrote. */
const verified = new WeakSet<object>();

const columns = new WeakMap<EntityMetadata, readonly Column[]>();

/**
 * Authenticates rows with MACs under the integrity key. A root key wraps that key, so a user who can only write into the
 * database does not have it. A MAC covers the table, the id, the organisation, the version and every other column that
 * is not excluded.
 *
 * As a MikroORM subscriber, it signs every row that a flush writes. It refuses to sign a row that was read but not
 * verified, because that would legitimise a forged row. Statements that MikroORM does not build from entities take
 * their MAC from `signed`.
 */
export class RowMacs implements EventSubscriber {
  readonly #key: KeyObject;
  readonly #log: Logger;

  constructor(key: KeyObject, log: Logger) {
    this.#key = key;
    this.#log = log;
  }

  /** Computes a MAC over a value that is not a row, in base64url. `use` separates domains: a MAC is valid for one use. */
  mac(use: string, value: object): string {
    return createHmac('sha256', this.#key).update(canonicalJson({ use, value })).digest('base64url');
  }

  /** Checks the MAC of a value that is not a row, in constant time. */
  isMac(mac: string, use: string, value: object): boolean {
    return isSame(mac, this.mac(use, value));
  }

  /** Returns the row with its MAC. */
  signed<Entity extends Authenticated, Row extends Omit<Entity, 'mac'>>(
    em: EntityManager,
    entity: EntityClass<Entity>,
    row: Row,
  ): Row & Authenticated {
    return { ...row, mac: this.#compute(em.getMetadata(entity), row) };
  }

  /** Checks the MAC of a stored row, and logs a mismatch. Every column must be loaded. */
  isAuthentic<Entity extends Authenticated>(
    em: EntityManager,
    entity: EntityClass<Entity>,
    row: Entity,
  ): boolean {
    if (this.matches(em, entity, row)) {
      verified.add(row);
      return true;
    }
    const meta = em.getMetadata(entity);
    this.#log.error(
      { table: meta.tableName, row: rowId(meta, row) },
      'a row was changed by something other than this server, and is not used',
    );
    return false;
  }

  /** As `isAuthentic`, for a check that reports the row itself: it neither logs a mismatch nor trusts the row afterwards. */
  matches<Entity extends Authenticated>(
    em: EntityManager,
    entity: EntityClass<Entity>,
    row: Entity,
  ): boolean {
    const meta = em.getMetadata(entity);
    assertLoaded(meta, row);
    return isSame(row.mac, this.#compute(meta, row));
  }

  /** @throws MacMismatch when the MAC of a stored row does not match, which is logged */
  verify<Entity extends Authenticated>(em: EntityManager, entity: EntityClass<Entity>, row: Entity): void {
    if (!this.isAuthentic(em, entity, row)) throw new MacMismatch(em.getMetadata(entity).tableName);
  }

  onFlush({ uow }: FlushEventArgs): void {
    for (const { entity, meta, type, payload } of uow.getChangeSets()) {
      const exclusions = excluded.get(meta.className);
      if (!exclusions) continue;
      const isNew = type === 'create';
      const isCovered =
        type !== 'update' || Object.keys(payload).some((property) => !(property in exclusions));
      if (!isNew && isCovered && !verified.has(entity)) {
        throw new TypeError(`A ${meta.className} is changed that was not verified after it was read.`);
      }
      if (type === 'delete' || !isCovered) continue;
      (entity as Authenticated).mac = this.#compute(meta, entity);
      verified.add(entity);
      uow.recomputeSingleChangeSet(entity);
    }
  }

  #compute(meta: EntityMetadata, row: object): string {
    const cached = columns.get(meta) ?? authenticatedColumns(meta);
    columns.set(meta, cached);
    const values: Record<string, unknown> = {};
    for (const { name, property, isUuid } of cached) {
      const value = toStoredForm((row as Record<string, unknown>)[property], isUuid);
      if (value != null) values[name] = value;
    }
    return this.mac('row', { table: meta.tableName, values });
  }
}

/** Returns the primary key of a row, by property name. */
export function rowId(meta: EntityMetadata, row: object): Record<string, unknown> {
  return Object.fromEntries(
    meta.primaryKeys.map((property) => [property, (row as Record<string, unknown>)[property]]),
  );
}

function assertLoaded({ className, props }: EntityMetadata, row: object): void {
  const missing = props.find(
    ({ name, lazy }) => lazy && (row as Record<string, unknown>)[name] === undefined,
  );
  if (missing) throw new TypeError(`${className}.${missing.name} must be loaded to verify the row.`);
}

/** Lists the columns that the MAC covers. */
function authenticatedColumns({ className, props }: EntityMetadata): Column[] {
  const exclusions = excluded.get(className);
  if (!exclusions) throw new TypeError(`The rows of ${className} carry no MAC.`);
  return props
    .filter(({ name, persist }) => persist !== false && name !== 'mac' && !(name in exclusions))
    .map(({ name, fieldNames, columnTypes }: EntityProperty) => ({
      name: fieldNames[0] as string,
      property: name,
      isUuid: columnTypes[0]?.startsWith('uuid') ?? false,
    }));
}

/** Converts a value to the form in which PostgreSQL returns it. */
function toStoredForm(value: unknown, isUuid: boolean): unknown {
  if (typeof value === 'string') return isUuid ? value.toLowerCase() : value.toWellFormed();
  if (Array.isArray(value)) return value.map((item) => toStoredForm(item, isUuid));
  return value;
}

function isSame(one: unknown, other: string): boolean {
  const [a, b] = [Buffer.from(String(one)), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
