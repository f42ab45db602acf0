import { expect } from 'vitest';
import type {
  ChangeOperation,
  ConnectionView,
  Order,
  ReadOperation,
  TransportResponse,
} from './transports.ts';

/** A connection in the model. */
export interface Row extends ConnectionView {
  status: string;
  token: string;
  state: 'there' | 'deleted' | 'gone';
}

/** The outcome that the model expects. */
type Expected = { code: string; currentVersion?: number } | { row: Row; isChanged: boolean };

/** A request under an idempotency key; `answer` is there if it was carried out. */
interface IdempotentRequest {
  change: ChangeOperation;
  key: string;
  answer?: TransportResponse;
}

/**
 * A model of the connections of one organisation in memory. It predicts each response. Ids, times and hashes, which it
 * cannot predict, it takes from the first response, and expects them to stay the same.
 */
export class ReferenceModel {
  readonly rows: Row[] = [];
  /** `[action, outcome]` of every expected audit event, the oldest first. */
  readonly events: [string, string][] = [];
  /** The last request that had an idempotency key. */
  lastRequest: IdempotentRequest | undefined;
  readonly #projects: ReadonlySet<string>;
  readonly #isRejected: (token: string) => boolean;
  readonly #hashes = new Map<string, string>();

  constructor(projects: ReadonlySet<string>, isRejected: (token: string) => boolean) {
    this.#projects = projects;
    this.#isRejected = isRejected;
  }

  /** Compares the response to a change with the model. Returns whether the change was carried out. */
  expectChange(change: ChangeOperation, answer: TransportResponse): boolean {
    const expected = this.#changeOutcome(change);
    if ('row' in expected && change.kind === 'delete') {
      expect(answer).toEqual({ deleted: change.id, isRestorable: !change.purge });
      this.#put({ ...expected.row, updatedAt: new Date().toISOString() });
    } else this.#compareAndStore(expected, answer);
    this.#recordEvent(toAction(change), expected);
    return 'row' in expected && expected.isChanged;
  }

  /** Compares the response to a restore with the model. */
  expectRestore(id: string, name: string | undefined, answer: TransportResponse): void {
    const expected = this.#restoreOutcome(id, name);
    this.#compareAndStore(expected, answer);
    this.#recordEvent('RESTORE_CONNECTION', expected);
  }

  /** Compares the response to a verification with the model. */
  expectVerification(id: string, answer: TransportResponse): void {
    const row = this.#find(id, 'there');
    if (!row) {
      expect(answer).toEqual({ code: 'NOT_FOUND' });
      this.events.push(['VERIFY_CONNECTION', 'NOT_FOUND']);
      return;
    }
    const isRejected = this.#isRejected(row.token);
    row.status = isRejected ? 'REJECTED' : 'VERIFIED';
    expect(answer).toEqual({ connection: toView(row) });
    this.events.push(['VERIFY_CONNECTION', isRejected ? 'CREDENTIALS_REJECTED' : 'OK']);
  }

  /** Compares the response to a read with the model. */
  expectRead(
    reading: ReadOperation,
    answer: TransportResponse,
    order: Order = { field: 'NAME', direction: 'ASC' },
  ): void {
    if (reading.kind === 'list') {
      if (!('connections' in answer)) throw new Error(`expected a list: ${JSON.stringify(answer)}`);
      const { projectId } = reading;
      const there = this.rows.filter(
        (row) => row.state === 'there' && (projectId === undefined || row.projectId === projectId),
      );
      expectConnections(answer.connections, sortRows(there, order));
      return;
    }
    const row =
      reading.kind === 'by id'
        ? this.#find(reading.id, 'there')
        : this.#findByName(reading.name, reading.projectId);
    if (!row) expect(answer).toEqual({ code: 'NOT_FOUND' });
    else if ('connection' in answer) expectConnections([answer.connection], [row]);
    else throw new Error(`expected ${row.name}: ${JSON.stringify(answer)}`);
  }

  /** Compares the response to a retry with that to the first request. */
  expectRetry(answer: TransportResponse): void {
    const first = this.lastRequest?.answer;
    if (!first) throw new Error('no request to repeat');
    // One of the two may come from REST, which returns fewer fields.
    if ('connection' in first && 'connection' in answer) {
      expectConnections([answer.connection], [{ ...answer.connection, ...first.connection }]);
    } else expect(answer).toEqual(first);
  }

  /** Expects a conflict for another request under a used idempotency key. */
  expectIdempotencyConflict(change: ChangeOperation, answer: TransportResponse): void {
    expect(answer).toEqual({ code: 'IDEMPOTENCY_CONFLICT' });
    this.#recordEvent(toAction(change), { code: 'IDEMPOTENCY_CONFLICT' });
  }

  #changeOutcome(change: ChangeOperation): Expected {
    if (change.kind === 'create') return this.#createOutcome(change);
    const isPurge = change.kind === 'delete' && change.purge;
    const row = this.#find(change.id, 'there') ?? (isPurge ? this.#find(change.id, 'deleted') : undefined);
    if (!row) return { code: 'NOT_FOUND' };
    if (change.version !== undefined && change.version !== row.version) {
      return { code: 'VERSION_CONFLICT', currentVersion: row.version };
    }
    if (change.kind === 'delete') {
      return {
        row: { ...row, state: isPurge ? 'gone' : 'deleted', version: row.version + 1 },
        isChanged: true,
      };
    }
    const { name = row.name, description = row.description, token } = change;
    const other = this.#findByName(name, row.projectId);
    if (other && other !== row) return { code: 'NAME_TAKEN' };
    if (token !== undefined && this.#isRejected(token)) return { code: 'CREDENTIALS_REJECTED' };
    const isChanged = name !== row.name || description !== row.description || token !== undefined;
    const version = row.version + (isChanged ? 1 : 0);
    const proven = token === undefined ? {} : { token, status: 'VERIFIED' };
    return { row: { ...row, ...proven, name, description, version }, isChanged };
  }

  #createOutcome({
    name,
    projectId,
    description,
    token,
  }: Extract<ChangeOperation, { kind: 'create' }>): Expected {
    if (projectId !== null && !this.#projects.has(projectId)) return { code: 'NOT_FOUND' };
    if (this.#findByName(name, projectId)) return { code: 'NAME_TAKEN' };
    if (this.#isRejected(token)) return { code: 'CREDENTIALS_REJECTED' };
    const learnt = { id: '', createdAt: '', updatedAt: '', credentialsHash: '' };
    const row: Row = {
      ...learnt,
      ...{ name, projectId, token, description: description ?? null },
      ...{ version: 1, status: 'VERIFIED', state: 'there' },
    };
    return { row, isChanged: true };
  }

  #restoreOutcome(id: string, name: string | undefined): Expected {
    const row = this.#find(id, 'deleted');
    if (!row) return { code: 'NOT_FOUND' };
    const wanted = name ?? row.name;
    if (this.#findByName(wanted, row.projectId)) return { code: 'NAME_TAKEN' };
    return { row: { ...row, name: wanted, state: 'there', version: row.version + 1 }, isChanged: true };
  }

  /** Compares, and then stores ids, times and hashes that the server chose. */
  #compareAndStore(expected: Expected, answer: TransportResponse): void {
    if (!('row' in expected)) {
      expect(answer).toEqual(expected);
      return;
    }
    if (!('connection' in answer)) {
      throw new Error(
        `${expected.row.name} expected at version ${expected.row.version}: ${JSON.stringify(answer)}`,
      );
    }
    const { row, isChanged } = expected;
    const { id, createdAt, updatedAt, credentialsHash } = answer.connection;
    const isNew = row.id === '';
    if (isNew) expect(this.rows.map((each) => each.id)).not.toContain(id);
    if (isNew) expect(updatedAt).toBe(createdAt);
    else if (isChanged) expect(updatedAt >= row.createdAt).toBe(true);
    const hash = this.#hashes.get(row.token);
    if (hash === undefined) expect([...this.#hashes.values()]).not.toContain(credentialsHash);
    const known: Row = {
      ...row,
      credentialsHash: hash ?? credentialsHash,
      ...(isNew && { id, createdAt }),
      ...(isChanged && { updatedAt }),
    };
    expectConnections([answer.connection], [known]);
    this.#hashes.set(row.token, credentialsHash);
    this.#put(known);
  }

  #put(row: Row): void {
    const index = this.rows.findIndex(({ id }) => id === row.id);
    if (index < 0) this.rows.push(row);
    else this.rows[index] = row;
  }

  #find(id: string, state: Row['state']): Row | undefined {
    return this.rows.find((row) => row.id === id && row.state === state);
  }

  #findByName(name: string, projectId: string | null): Row | undefined {
    return this.rows.find((row) => row.name === name && row.projectId === projectId && row.state === 'there');
  }

  #recordEvent(action: string, expected: Expected): void {
    if (!('row' in expected)) this.events.push([action, expected.code]);
    else if (expected.isChanged) this.events.push([action, 'OK']);
  }
}

function toAction(change: ChangeOperation): string {
  const verb = change.kind === 'delete' && change.purge ? 'purge' : change.kind;
  return `${verb.toUpperCase()}_CONNECTION`;
}

function toView({ token: _, state: __, ...shown }: Row): ConnectionView {
  return shown;
}

/** Whether the response has the expected connections, in this order. */
function expectConnections(answered: readonly ConnectionView[], expected: readonly ConnectionView[]): void {
  const names = (all: readonly ConnectionView[]) => all.map(({ name }) => name);
  expect(names(answered)).toEqual(names(expected));
  for (const [index, shown] of answered.entries()) expect(expected[index]).toMatchObject(shown);
}

function sortRows(rows: readonly Row[], { field, direction }: Order): Row[] {
  const key = { NAME: 'name', CREATED_AT: 'createdAt', UPDATED_AT: 'updatedAt' } as const;
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  const way = direction === 'ASC' ? 1 : -1;
  const name = key[field];
  return rows.toSorted((a, b) => way * (compare(a[name], b[name]) || compare(a.id, b.id)));
}
