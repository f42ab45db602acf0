import { AsyncLocalStorage } from 'node:async_hooks';
import type { EntityManager } from '@mikro-orm/postgresql';
import { LRUCache } from 'lru-cache';
import { timed } from '../common/log.ts';
import type { Database, SqlStatement } from '../database/database.ts';
import { currentBackgroundWork } from '../database/driver/background-work.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import type { RowClass } from '../database/row-reader.ts';
import { insertRows } from '../database/row-statements.ts';
import { AuditEvent } from './audit-event.entity.ts';
import { type ChangedRow, ifTrailEndsWith, lockRow } from './conditional-statement.ts';
import { type AuditDeps, chainEvents, limitPauses, type RecordedEvent } from './hash-chain.ts';
import { organisationDisabled, readTrail, type TrailState } from './trail-head.ts';

/** A change of an organisation's rows that is stored together with the audit events that record it. */
export interface AuditedChange<Result> {
  /** The row that the change updates or deletes, if any. */
  row?: ChangedRow;
  /**
   * Reads and computes what to store. It runs again if another change was stored first.
   *
   * @param em reads the current rows
   * @throws errors with which the change fails
   */
  prepare(em: EntityManager, trail: TrailState): Promise<PreparedChange<Result>>;
}

/** A row to insert, with its entity. */
export type InsertedRow = readonly [entity: RowClass<object>, row: object];

/** What a change stores. */
export interface PreparedChange<Result> {
  /** Without events, nothing is stored. */
  events: readonly RecordedEvent[];
  inserts?: readonly InsertedRow[];
  /**
   * Statements for `AuditedChange.row`, and for rows that change only together with it, or with the trail. Each ends with a
   * condition. No two are for the same row, because PostgreSQL applies only one of them.
   */
  updates?: readonly SqlStatement[];
  /** The MAC of the row as it was read: nothing is stored if the row has changed since. */
  readMac?: string;
  result: Result;
}

interface PendingChange {
  change: AuditedChange<unknown>;
  since: number;
  /** Runs a task in the asynchronous context of the caller: its share of the database connections, and its trace. */
  inContext: <T>(task: () => T) => T;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

interface Trail {
  known?: TrailState | undefined;
  waiting: PendingChange[];
  isBusy: boolean;
}

/** The most changes in one statement. */
const maxBatchSize = 50;
/** The number of attempts before a change locks the trail. */
const maxAttempts = 3;
/** The longest wait behind changes that the database does not answer, in milliseconds. */
const maxWaitMs = 5_000;
const maxTrails = 10_000;

const trails = new WeakMap<Database, LRUCache<string, Trail>>();

/**
 * Stores a change and its events in one statement, which does nothing unless the trail ends as this server believes. If
 * another server has appended events, the head is read again and the change is prepared again. So no lock is held while a
 * server and the database wait for each other, and servers that change different organisations do not meet at all.
 *
 * Changes of one organisation on this server wait for each other. Those that only insert rows share a statement
 * (docs/adr/0003-group-commit.md).
 *
 * Locks are taken in this order, as in transactions that call `appendEvents`: rows that exist, the head, new rows and
 * entries of unique indexes. So no two changes wait for each other.
 *
 * While the organisation is disabled, only events without a change are stored: refusals, and what has happened at an app.
 *
 * @throws the errors of `prepare` and of the statement, `ORGANISATION_DISABLED`, and MacMismatch if the head was changed outside
 *   this server
 */
export function storeWithEvents<Result>(
  deps: AuditDeps,
  orgId: string,
  change: AuditedChange<Result>,
): Promise<Result> {
  const ofDatabase = trails.get(deps.database) ?? new LRUCache<string, Trail>({ max: maxTrails });
  trails.set(deps.database, ofDatabase);
  const trail: Trail = ofDatabase.get(orgId) ?? { waiting: [], isBusy: false };
  ofDatabase.set(orgId, trail);
  const stored = new Promise<Result>((resolve, reject) => {
    const inContext = AsyncLocalStorage.snapshot();
    trail.waiting.push({ change, since: performance.now(), inContext, resolve, reject } as PendingChange);
    if (!trail.isBusy) void storeWaiting(deps, orgId, trail);
  });
  return timed('database', () => stored);
}

async function storeWaiting(deps: AuditDeps, orgId: string, trail: Trail): Promise<void> {
  trail.isBusy = true;
  while (trail.waiting.length > 0) {
    const firstUpdate = trail.waiting.findIndex(({ change }) => change.row);
    const size = firstUpdate < 0 ? maxBatchSize : Math.min(Math.max(firstUpdate, 1), maxBatchSize);
    await storeBatch(deps, orgId, trail, trail.waiting.splice(0, size));
  }
  trail.isBusy = false;
}

/**
 * Returns the context in which a batch is stored: that of a request, if it has one. Otherwise changes of requests would have to wait for
 * the share of background work, if that was first.
 */
function findContext(batch: readonly PendingChange[]): PendingChange['inContext'] {
  const ofRequest = batch.find(({ inContext }) => !inContext(currentBackgroundWork));
  return (ofRequest ?? batch[0])?.inContext ?? ((task) => task());
}

async function storeBatch(
  deps: AuditDeps,
  orgId: string,
  trail: Trail,
  batch: readonly PendingChange[],
): Promise<void> {
  try {
    const changes = batch.map(({ change }) => change);
    const results = await findContext(batch)(() => store(deps, orgId, trail, changes));
    for (const [index, { resolve }] of batch.entries()) resolve(results[index]);
  } catch (error) {
    if (isDatabaseUnavailable(error)) {
      // Each would wait as long as this one, and the batch may have been committed.
      const isOverdue = ({ since }: PendingChange) => performance.now() - since > maxWaitMs;
      const overdue = trail.waiting.filter(isOverdue);
      trail.waiting = trail.waiting.filter((pending) => !isOverdue(pending));
      for (const { reject } of [...batch, ...overdue]) reject(error);
    } else if (batch.length === 1) batch[0]?.reject(error);
    // One by one, so that an invalid change does not fail others.
    else for (const pending of batch) await storeBatch(deps, orgId, trail, [pending]);
  }
}

async function store(
  deps: AuditDeps,
  orgId: string,
  trail: Trail,
  changes: readonly AuditedChange<unknown>[],
): Promise<unknown[]> {
  const { database } = deps;
  for (let attempt = 0; attempt < maxAttempts; attempt += 1) {
    const results = await tryToStore(database.forOrganisation(orgId), deps, orgId, trail, changes);
    if (results) return results;
  }
  // Other servers are faster again and again.
  return database.forOrganisation(orgId).transactional(async (em) => {
    const lock = changes[0]?.row && lockRow(em, changes[0].row);
    if (lock) await em.execute(lock.sql, [...lock.params]);
    await em.execute(`select ${limitPauses} from audit_head where org_id = ? for update`, [orgId]);
    trail.known = undefined;
    const results = await tryToStore(em, deps, orgId, trail, changes);
    if (!results) throw new Error('The audit trail or the row has changed in spite of its lock.');
    return results;
  });
}

/** @returns undefined if the trail has another end, or the row has changed */
async function tryToStore(
  em: EntityManager,
  deps: AuditDeps,
  orgId: string,
  trail: Trail,
  changes: readonly AuditedChange<unknown>[],
): Promise<unknown[] | undefined> {
  const known = trail.known ?? (await readTrail(em, deps.vault, orgId));
  // A disabled organisation may be enabled before the next change.
  trail.known = known.disabledAt ? undefined : known;
  if (known.deletionStartedAt) throw organisationDisabled(known);
  const prepared: PreparedChange<unknown>[] = [];
  for (const change of changes) prepared.push(await change.prepare(em, known));
  if (known.disabledAt && prepared.some(changesRows)) throw organisationDisabled(known);
  const results = prepared.map(({ result }) => result);
  const events = prepared.flatMap((each) => each.events);
  if (events.length === 0) return results;
  const { rows, head } = await chainEvents(em, deps.vault, known, orgId, events);

  const inserts = Map.groupBy(
    prepared.flatMap((each) => each.inserts ?? []),
    ([entity]) => entity,
  );
  const readMac = prepared[0]?.readMac;
  const statement = ifTrailEndsWith(
    {
      row: changes[0]?.row && lockRow(em, changes[0].row, readMac),
      isRowRequired: readMac !== undefined,
      head: {
        sql: 'update audit_head set seq = ?, hash = ?, mac = ? where org_id = ? and seq = ? and hash = ? and mac = ?',
        params: [head.seq, head.hash, head.mac, orgId, known.seq, known.hash, known.mac],
      },
    },
    [
      insertRows(em, AuditEvent, rows),
      ...[...inserts].map(([entity, added]) =>
        insertRows(
          em,
          entity,
          added.map(([, row]) => row),
        ),
      ),
      ...prepared.flatMap(({ updates }) => updates ?? []),
    ],
  );
  const [answer] = await em.execute<{ isStored: boolean }[]>(statement.sql, [...statement.params]);
  if (!answer?.isStored) {
    trail.known = undefined;
    return undefined;
  }
  deps.database.announce(em, orgId);
  trail.known = known.disabledAt ? undefined : { ...head, sealKeyId: known.sealKeyId };
  return results;
}

function changesRows({ inserts = [], updates = [] }: PreparedChange<unknown>): boolean {
  return inserts.length > 0 || updates.length > 0;
}
