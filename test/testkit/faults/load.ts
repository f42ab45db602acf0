import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { okta } from '../operations.ts';
import { type ConnectionState, LogEntry, type OperationLog } from './operation-log.ts';

/** What an answer says of a change. */
type Outcome =
  | { kind: 'acknowledged'; id: string; version: number }
  /** No answer, or one that says that nobody knows. */
  | { kind: 'in doubt' }
  /** As none of these is while nothing is lost. */
  | { kind: 'refused' };

const createQuery =
  'mutation ($input: CreateOktaConnectionInput!) { change: createOktaConnection(input: $input) { appConnection { id version } } }';
const updateQuery =
  'mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) { change: updateOktaConnection(id: $id, input: $input) { appConnection { id version } } }';

/** Clients that make connections and change them, each its own, and keep a journal of what they were told. */
export class LoadGenerator {
  readonly #journal: OperationLog;
  readonly #apiKey: string;
  readonly #urls: () => readonly string[];
  #isStopped = false;
  #workers: Promise<void>[] = [];

  /** @param urls the servers that are up, as far as is known */
  constructor(journal: OperationLog, apiKey: string, urls: () => readonly string[]) {
    this.#journal = journal;
    this.#apiKey = apiKey;
    this.#urls = urls;
  }

  start(workers: number): void {
    this.#workers = Array.from({ length: workers }, async () => {
      while (!this.#isStopped) await this.#makeAndChange();
    });
  }

  /** Each client finishes what it is about: what is to be repeated is repeated until it is answered. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
  }

  async #makeAndChange(): Promise<void> {
    const entry = new LogEntry(`made-${randomUUID()}`);
    this.#journal.entries.push(entry);
    const made = newState(1);
    const input = okta({ name: entry.name, description: made.description }, { apiToken: made.token });
    await this.#change(entry, made, createQuery, input);
    for (let change = 0; change < 4 && entry.certain && entry.id && !this.#isStopped; change += 1) {
      const { version, description, token } = entry.certain;
      const next = newState(version + 1);
      // A token is asked Okta about; a description is not.
      const isToken = change % 2 === 0;
      const state = isToken ? { ...next, description } : { ...next, token };
      const changed = isToken ? { credentials: { apiToken: next.token } } : { description: next.description };
      await this.#change(entry, state, updateQuery, { id: entry.id, input: changed });
    }
  }

  /** Half of the changes have an idempotency key, and are repeated until there is an answer. */
  async #change(
    entry: LogEntry,
    next: ConnectionState,
    query: string,
    variables: { id?: string; input: object },
  ): Promise<void> {
    const isRepeatable = Math.random() < 0.5;
    const input = { ...variables.input, ...(isRepeatable && { idempotencyKey: randomUUID() }) };
    const before = entry.possible;
    // From the moment on that it is sent.
    entry.possible = [...before, next];
    for (let isFirst = true; ; isFirst = false) {
      const outcome = await this.#send(query, { ...variables, input });
      if (outcome.kind === 'acknowledged') {
        this.#journal.counts.acknowledged += 1;
        if (!isFirst) this.#journal.counts.repeated += 1;
        if (outcome.version !== next.version) {
          this.#journal.wrongAnswers.push(`version ${outcome.version} instead of ${next.version}`);
        }
        entry.id = outcome.id;
        entry.possible = [next];
        return;
      }
      if (outcome.kind === 'refused') return;
      if (!isRepeatable) {
        this.#journal.counts.inDoubt += 1;
        return;
      }
      await sleep(50);
    }
  }

  async #send(query: string, variables: object): Promise<Outcome> {
    const urls = this.#urls();
    const url = urls[Math.floor(Math.random() * urls.length)];
    if (!url) {
      await sleep(50);
      return { kind: 'in doubt' };
    }
    const answer = await sendMutation(url, this.#apiKey, query, variables);
    if (!answer) return { kind: 'in doubt' };
    const { data, errors = [] } = answer;
    if (data?.change) return { kind: 'acknowledged', ...data.change.appConnection };
    const [error] = errors;
    if (error?.extensions.code === 'SERVICE_UNAVAILABLE') return { kind: 'in doubt' };
    this.#journal.wrongAnswers.push(JSON.stringify(errors));
    return { kind: 'refused' };
  }
}

/** An answer of the API to what changes something. */
export interface MutationResponse {
  data?: { change?: { appConnection: { id: string; version: number } } | null } | null;
  errors?: { message: string; extensions: { code: string; remedy?: string } }[];
}

/** Asks the API; undefined when no whole answer came. */
export async function sendMutation(
  url: string,
  apiKey: string,
  query: string,
  variables: object = {},
): Promise<MutationResponse | undefined> {
  try {
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ query, variables }),
    });
    return (await response.json()) as MutationResponse;
  } catch {
    return undefined;
  }
}

/** Makes one connection, and says what came of it. */
export function tryToCreate(
  url: string,
  apiKey: string,
  entry: LogEntry,
): Promise<MutationResponse | undefined> {
  const made = newState(1);
  entry.possible = [undefined, made];
  const input = okta({ name: entry.name, description: made.description }, { apiToken: made.token });
  return sendMutation(url, apiKey, createQuery, input);
}

function newState(version: number): ConnectionState {
  return { version, description: randomUUID(), token: `00${randomBytes(20).toString('base64url')}` };
}
