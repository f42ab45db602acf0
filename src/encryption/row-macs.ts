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

/** A stored row is not as this server wrote it. Nobody may act on it; the message names the table and nothing else. */
export class MacMismatch extends Error {
  override readonly name = 'MacMismatch';

  constructor(table: string) {
    super(`A row of ${table} was changed by something else than this server.`);
  }
}

/** A row of a table whose rows are authenticated. */
export interface Authenticated {
  /** HMAC-SHA-256 over the columns that decide something, in base64url. */
  mac: string;
}

/** Which properties of an entity the MAC leaves out, and why, by the entity's name. */
const exempt = new Map<string, Readonly<Record<string, string>>>();

/**
 * Has the rows of an entity carry a MAC over every column but these.
 *
 * A nullable column that is added to the table later leaves existing MACs valid, because a MAC leaves out what is null; any
 * other needs a migration that has the rows signed again.
 *
 * @param decidingNothing the properties that are left out, each with the reason
 */
export function authenticateRows<Entity extends Authenticated>(
  entity: EntityClass<Entity>,
  decidingNothing: { readonly [property in keyof Entity]?: string } = {},
): void {
  exempt.set(entity.name, decidingNothing as Readonly<Record<string, string>>);
}

/** A column that the MAC covers. */
interface Column {
  name: string;
  property: string;
  isUuid: boolean;
}

/** Rows that were verified after they were read, by whichever instance, or written. */
const verified = new WeakSet<object>();

const columns = new WeakMap<EntityMetadata, readonly Column[]>();

/**
 * Authenticates rows with MACs under the integrity key, which is wrapped by a root key and so is nothing that an editor of
 * the database has. A MAC covers the table, the id, the organisation, the version and everything that decides what a row
 * is used for.
 *
 * As a subscriber of MikroORM's, this signs every row that a flush writes, and refuses to sign again a row that was not
 * verified after it was read: to sign it would make good whatever an editor has written into it. Statements that MikroORM
 * does not build from entities take their MAC from `signed`.
 */
export class RowMacs implements EventSubscriber {
  readonly #key: KeyObject;
  readonly #log: Logger;

  constructor(key: KeyObject, log: Logger) {
    this.#key = key;
    this.#log = log;
  }

  /** A MAC over a value that is no row, in base64url. `use` keeps what is for one use from serving another. */
  mac(use: string, value: object): string {
    return createHmac('sha256', this.#key).update(canonicalJson({ use, value })).digest('base64url');
  }

  /** Whether `mac` is the MAC over a value. */
  isMac(mac: string, use: string, value: object): boolean {
    return isSame(mac, this.mac(use, value));
  }

  /** The row with its MAC. */
  signed<Entity extends Authenticated, Row extends Omit<Entity, 'mac'>>(
    em: EntityManager,
    entity: EntityClass<Entity>,
    row: Row,
  ): Row & Authenticated {
    return { ...row, mac: this.#compute(em.getMetadata(entity), row) };
  }

  /** Whether a stored row is as this server wrote it. If not, the log says which. Everything of it has to be loaded. */
  isAuthentic<Entity extends Authenticated>(
    em: EntityManager,
    entity: EntityClass<Entity>,
    row: Entity,
  ): boolean {
    const meta = em.getMetadata(entity);
    assertLoaded(meta, row);
    if (isSame(row.mac, this.#compute(meta, row))) {
      verified.add(row);
      return true;
    }
    this.#log.error(
      { table: meta.tableName, row: rowId(meta, row) },
      'a row was changed by something else than this server, and is not used',
    );
    return false;
  }

  /** @throws MacMismatch when a stored row is not as this server wrote it; the log says which */
  verify<Entity extends Authenticated>(em: EntityManager, entity: EntityClass<Entity>, row: Entity): void {
    if (!this.isAuthentic(em, entity, row)) throw new MacMismatch(em.getMetadata(entity).tableName);
  }

  onFlush({ uow }: FlushEventArgs): void {
    for (const { entity, meta, type, payload } of uow.getChangeSets()) {
      const left = exempt.get(meta.className);
      if (!left) continue;
      const isNew = type === 'create';
      const isDecisive = type !== 'update' || Object.keys(payload).some((property) => !(property in left));
      if (!isNew && isDecisive && !verified.has(entity)) {
        throw new TypeError(`A ${meta.className} is changed that was not verified after it was read.`);
      }
      if (type === 'delete' || !isDecisive) continue;
      (entity as Authenticated).mac = this.#compute(meta, entity);
      verified.add(entity);
      uow.recomputeSingleChangeSet(entity);
    }
  }

  #compute(meta: EntityMetadata, row: object): string {
    const known = columns.get(meta) ?? authenticatedColumns(meta);
    columns.set(meta, known);
    const values: Record<string, unknown> = {};
    for (const { name, property, isUuid } of known) {
      const value = toStoredForm((row as Record<string, unknown>)[property], isUuid);
      if (value != null) values[name] = value;
    }
    return this.mac('row', { table: meta.tableName, values });
  }
}

/** The properties of an entity that identify a row, by their names. */
export function rowId(meta: EntityMetadata, row: object): Record<string, unknown> {
  return Object.fromEntries(
    meta.primaryKeys.map((property) => [property, (row as Record<string, unknown>)[property]]),
  );
}

function assertLoaded({ className, props }: EntityMetadata, row: object): void {
  const missing = props.find(
    ({ name, lazy }) => lazy && (row as Record<string, unknown>)[name] === undefined,
  );
  if (missing)
    throw new TypeError(`${className}.${missing.name} has to be loaded for the row to be verified.`);
}

/** Every column but the MAC and what is left out of it. */
function authenticatedColumns({ className, props }: EntityMetadata): Column[] {
  const left = exempt.get(className);
  if (!left) throw new TypeError(`The rows of ${className} carry no MAC.`);
  return props
    .filter(({ name, persist }) => persist !== false && name !== 'mac' && !(name in left))
    .map(({ name, fieldNames, columnTypes }: EntityProperty) => ({
      name: fieldNames[0] as string,
      property: name,
      isUuid: columnTypes[0]?.startsWith('uuid') ?? false,
    }));
}

/** A value as PostgreSQL gives it back. */
function toStoredForm(value: unknown, isUuid: boolean): unknown {
  if (typeof value === 'string') return isUuid ? value.toLowerCase() : value.toWellFormed();
  if (Array.isArray(value)) return value.map((item) => toStoredForm(item, isUuid));
  return value;
}

function isSame(one: unknown, other: string): boolean {
  const [a, b] = [Buffer.from(String(one)), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}
