import { expect } from 'vitest';
import type { Answer, Change, Order, Reading, Shown } from './transports.ts';

/** A connection as the model knows it. */
export interface Row extends Shown {
  status: string;
  token: string;
  state: 'there' | 'deleted' | 'gone';
}

/** What the model says will come of something. */
type Expected = { code: string; currentVersion?: number } | { row: Row; isChanged: boolean };

/** A request under an idempotency key; `answer` is there if it was carried out. */
interface Named {
  change: Change;
  key: string;
  answer?: Answer;
}

/**
 * What ought to become of the connections of one organisation, in plain memory. It says beforehand what an answer will
 * be; ids, times and hashes it learns from the answers, and holds the server to them from then on.
 */
export class Life {
  readonly rows: Row[] = [];
  /** `[action, outcome]` of every audit event there has to be, the oldest first. */
  readonly events: [string, string][] = [];
  /** The last request that had an idempotency key. */
  named: Named | undefined;
  readonly #projects: ReadonlySet<string>;
  readonly #isDead: (token: string) => boolean;
  readonly #hashes = new Map<string, string>();

  constructor(projects: ReadonlySet<string>, isDead: (token: string) => boolean) {
    this.#projects = projects;
    this.#isDead = isDead;
  }

  /** A change was asked for; is this what had to be answered? */
  changed(change: Change, answer: Answer): void {
    const expected = this.#expect(change);
    if ('row' in expected && change.kind === 'delete') {
      expect(answer).toEqual({ deleted: change.id, isRestorable: !change.purge });
      this.#put({ ...expected.row, updatedAt: new Date().toISOString() });
    } else this.#learn(expected, answer);
    this.#note(actionOf(change), expected);
  }

  /** A deleted connection was asked back, under this name if there is one. */
  restored(id: string, name: string | undefined, answer: Answer): void {
    const expected = this.#expectRestored(id, name);
    this.#learn(expected, answer);
    this.#note('RESTORE_CONNECTION', expected);
  }

  /** The app was to be asked again. */
  verified(id: string, answer: Answer): void {
    const row = this.#find(id, 'there');
    if (!row) {
      expect(answer).toEqual({ code: 'NOT_FOUND' });
      this.events.push(['VERIFY_CONNECTION', 'NOT_FOUND']);
      return;
    }
    const isDead = this.#isDead(row.token);
    row.status = isDead ? 'REJECTED' : 'VERIFIED';
    expect(answer).toEqual({ connection: shownOf(row) });
    this.events.push(['VERIFY_CONNECTION', isDead ? 'CREDENTIALS_REJECTED' : 'OK']);
  }

  /** Something was read. */
  read(reading: Reading, answer: Answer, order: Order = { field: 'NAME', direction: 'ASC' }): void {
    if (reading.kind === 'list') {
      if (!('connections' in answer)) throw new Error(`There was to be a list: ${JSON.stringify(answer)}`);
      const { projectId } = reading;
      const there = this.rows.filter(
        (row) => row.state === 'there' && (projectId === undefined || row.projectId === projectId),
      );
      expectAlike(answer.connections, inOrder(there, order));
      return;
    }
    const row =
      reading.kind === 'by id'
        ? this.#find(reading.id, 'there')
        : this.#named(reading.name, reading.projectId);
    if (!row) expect(answer).toEqual({ code: 'NOT_FOUND' });
    else if ('connection' in answer) expectAlike([answer.connection], [row]);
    else throw new Error(`There was to be ${row.name}: ${JSON.stringify(answer)}`);
  }

  /** The last request with a key was sent again, and it had been carried out. */
  repeated(answer: Answer): void {
    const first = this.named?.answer;
    if (!first) throw new Error('There is nothing to repeat.');
    // The one may have been asked for over REST, which shows less of the same.
    if ('connection' in first && 'connection' in answer) {
      expectAlike([answer.connection], [{ ...answer.connection, ...first.connection }]);
    } else expect(answer).toEqual(first);
  }

  /** Something else was asked for under the last key, under which something had been carried out. */
  misnamed(change: Change, answer: Answer): void {
    expect(answer).toEqual({ code: 'IDEMPOTENCY_CONFLICT' });
    this.#note(actionOf(change), { code: 'IDEMPOTENCY_CONFLICT' });
  }

  #expect(change: Change): Expected {
    if (change.kind === 'create') return this.#expectCreated(change);
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
    const other = this.#named(name, row.projectId);
    if (other && other !== row) return { code: 'NAME_TAKEN' };
    if (token !== undefined && this.#isDead(token)) return { code: 'CREDENTIALS_REJECTED' };
    const isChanged = name !== row.name || description !== row.description || token !== undefined;
    const version = row.version + (isChanged ? 1 : 0);
    const proven = token === undefined ? {} : { token, status: 'VERIFIED' };
    return { row: { ...row, ...proven, name, description, version }, isChanged };
  }

  #expectCreated({ name, projectId, description, token }: Extract<Change, { kind: 'create' }>): Expected {
    if (projectId !== null && !this.#projects.has(projectId)) return { code: 'NOT_FOUND' };
    if (this.#named(name, projectId)) return { code: 'NAME_TAKEN' };
    if (this.#isDead(token)) return { code: 'CREDENTIALS_REJECTED' };
    const learnt = { id: '', createdAt: '', updatedAt: '', credentialsHash: '' };
    const row: Row = {
      ...learnt,
      ...{ name, projectId, token, description: description ?? null },
      ...{ version: 1, status: 'VERIFIED', state: 'there' },
    };
    return { row, isChanged: true };
  }

  #expectRestored(id: string, name: string | undefined): Expected {
    const row = this.#find(id, 'deleted');
    if (!row) return { code: 'NOT_FOUND' };
    const wanted = name ?? row.name;
    if (this.#named(wanted, row.projectId)) return { code: 'NAME_TAKEN' };
    return { row: { ...row, name: wanted, state: 'there', version: row.version + 1 }, isChanged: true };
  }

  /** Compares, and then takes over what only the server could know. */
  #learn(expected: Expected, answer: Answer): void {
    if (!('row' in expected)) {
      expect(answer).toEqual(expected);
      return;
    }
    if (!('connection' in answer)) {
      throw new Error(`${expected.row.name} was to be at ${expected.row.version}: ${JSON.stringify(answer)}`);
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
    expectAlike([answer.connection], [known]);
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

  #named(name: string, projectId: string | null): Row | undefined {
    return this.rows.find((row) => row.name === name && row.projectId === projectId && row.state === 'there');
  }

  #note(action: string, expected: Expected): void {
    if (!('row' in expected)) this.events.push([action, expected.code]);
    else if (expected.isChanged) this.events.push([action, 'OK']);
  }
}

function actionOf(change: Change): string {
  const verb = change.kind === 'delete' && change.purge ? 'purge' : change.kind;
  return `${verb.toUpperCase()}_CONNECTION`;
}

function shownOf({ token: _, state: __, ...shown }: Row): Shown {
  return shown;
}

/** Whether all that is shown is as it has to be, in this order. */
function expectAlike(answered: readonly Shown[], expected: readonly Shown[]): void {
  const names = (all: readonly Shown[]) => all.map(({ name }) => name);
  expect(names(answered)).toEqual(names(expected));
  for (const [index, shown] of answered.entries()) expect(expected[index]).toMatchObject(shown);
}

function inOrder(rows: readonly Row[], { field, direction }: Order): Row[] {
  const key = { NAME: 'name', CREATED_AT: 'createdAt', UPDATED_AT: 'updatedAt' } as const;
  const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  const way = direction === 'ASC' ? 1 : -1;
  const name = key[field];
  return rows.toSorted((a, b) => way * (compare(a[name], b[name]) || compare(a.id, b.id)));
}
