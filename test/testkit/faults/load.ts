import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { okta } from '../operations.ts';
import { type ConnectionState, LogEntry, type OperationLog } from './operation-log.ts';

/** The result of a change according to its response. */
type Outcome =
  | { kind: 'acknowledged'; id: string; version: number }
  /** No response, or one that leaves the result open. */
  | { kind: 'in doubt' }
  /** A response that only a lost change can cause. */
  | { kind: 'refused' };

const createQuery =
  'mutation ($input: CreateOktaConnectionInput!) { change: createOktaConnection(input: $input) { appConnection { id version } } }';
const updateQuery =
  'mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) { change: updateOktaConnection(id: $id, input: $input) { appConnection { id version } } }';

/** Clients that create and change connections of their own, and log every response. */
export class LoadGenerator {
  readonly #journal: OperationLog;
  readonly #apiKey: string;
  readonly #urls: () => readonly string[];
  readonly #pauseMs: number;
  #isStopped = false;
  #workers: Promise<void>[] = [];

  /**
   * @param urls returns the URLs of the servers that are probably up
   * @param pauseMs the time for which a client waits before each change, in milliseconds
   */
  constructor(journal: OperationLog, apiKey: string, urls: () => readonly string[], pauseMs = 0) {
    this.#journal = journal;
    this.#apiKey = apiKey;
    this.#urls = urls;
    this.#pauseMs = pauseMs;
  }

  start(workers: number): void {
    this.#workers = Array.from({ length: workers }, async () => {
      while (!this.#isStopped) await this.#createAndUpdate();
    });
  }

  /** Stops the clients after their current change, including its retries. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
  }

  async #createAndUpdate(): Promise<void> {
    const entry = new LogEntry(`created-${randomUUID()}`);
    this.#journal.entries.push(entry);
    const state = newState(1);
    const input = okta({ name: entry.name, description: state.description }, { apiToken: state.token });
    await this.#change(entry, state, createQuery, input);
    for (let change = 0; change < 4 && entry.certain && entry.id && !this.#isStopped; change += 1) {
      const { version, description, token } = entry.certain;
      const next = newState(version + 1);
      // A new token causes a request to Okta; a new description does not.
      const replacesToken = change % 2 === 0;
      const state = replacesToken ? { ...next, description } : { ...next, token };
      const changed = replacesToken
        ? { credentials: { apiToken: next.token } }
        : { description: next.description };
      await this.#change(entry, state, updateQuery, { id: entry.id, input: changed });
    }
  }

  /** Sends half of the changes with an idempotency key, and retries these until there is a response. */
  async #change(
    entry: LogEntry,
    next: ConnectionState,
    query: string,
    variables: { id?: string; input: object },
  ): Promise<void> {
    if (this.#pauseMs > 0) await sleep(this.#pauseMs);
    const hasIdempotencyKey = Math.random() < 0.5;
    const input = { ...variables.input, ...(hasIdempotencyKey && { idempotencyKey: randomUUID() }) };
    const before = entry.possible;
    // Recorded before the request is sent, because the server may apply it from then on.
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
      if (outcome.kind === 'refused') {
        // An attempt before this one may have been applied.
        if (isFirst) entry.possible = before;
        return;
      }
      if (!hasIdempotencyKey) {
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

/** The response to a mutation. */
export interface MutationResponse {
  data?: { change?: { appConnection: { id: string; version: number } } | null } | null;
  errors?: { message: string; extensions: { code: string; remedy?: string } }[];
}

/** Sends a request; returns undefined when there is no complete response. */
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

/** Creates one connection and returns the result. */
export function tryToCreate(
  url: string,
  apiKey: string,
  entry: LogEntry,
): Promise<MutationResponse | undefined> {
  const state = newState(1);
  entry.possible = [undefined, state];
  const input = okta({ name: entry.name, description: state.description }, { apiToken: state.token });
  return sendMutation(url, apiKey, createQuery, input);
}

function newState(version: number): ConnectionState {
  return { version, description: randomUUID(), token: `00${randomBytes(20).toString('base64url')}` };
}
