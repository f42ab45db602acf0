import { randomBytes } from 'node:crypto';
import { type ConnectionFields, createMutation, okta } from './operations.ts';

/** A connection with the values that its creator expects. */
export interface KnownConnection {
  id: string;
  orgKey: string;
  name: string;
  token: string;
  /** Fields that stay the same until the connection changes. */
  initial: Pick<ConnectionFields, 'version' | 'updatedAt' | 'credentialsHash'> | undefined;
  isDeleted: boolean;
}

/** Runs a function this many times, with a limited concurrency. */
export async function inParallel(
  workers: number,
  count: number,
  work: (index: number) => Promise<unknown>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      await work(index);
    }
  };
  await Promise.all(Array.from({ length: workers }, worker));
}

/** Sends a mix of operations, and records the state that they must leave. */
export class Traffic {
  readonly kept: KnownConnection[] = [];
  readonly requests: Record<string, number> = {};
  readonly failures: string[] = [];
  urls: readonly string[];
  isCounting = false;
  readonly #orgKeys: readonly string[];
  readonly #instanceUrl: string;
  readonly #valid: Set<string>;
  #isStopped = false;
  #asked = 0;

  constructor(urls: readonly string[], orgKeys: readonly string[], instanceUrl: string, valid: Set<string>) {
    this.urls = urls;
    this.#orgKeys = orgKeys;
    this.#instanceUrl = instanceUrl;
    this.#valid = valid;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** All workers read and verify the unchanged connections; each worker changes connections of its own. */
  async work(workers: number): Promise<void> {
    const there = this.kept.filter(({ isDeleted }) => !isDeleted);
    const still = there.filter((_, index) => index % 7 !== 0);
    const worker = async (number: number) => {
      const own = there.filter((_, index) => index % 7 === 0 && (index / 7) % workers === number);
      for (let turn = 0; !this.#isStopped; turn += 1) {
        const [any, mine] = [still[(turn * 31 + number * 7) % still.length], own[turn % own.length]];
        if (!any || !mine) throw new Error('There are fewer connections than workers.');
        await this.read(any);
        await this.verify(any);
        await this.replaceToken(mine);
        await this.verify(mine);
        await this.make(number, `made-${number}-${turn}`);
        await this.makeAndPurge(number, `purged-${number}-${turn}`);
        await this.remove(mine);
        await this.restore(mine);
        await this.list(mine);
      }
    };
    await Promise.all(Array.from({ length: workers }, (_, number) => worker(number)));
  }

  async make(index: number, name: string): Promise<KnownConnection | undefined> {
    const orgKey = this.#orgKeys[index % this.#orgKeys.length] ?? '';
    const token = this.#newToken();
    const variables = okta({ name }, { instanceUrl: this.#instanceUrl, apiToken: token });
    const data = await this.#ask('create', orgKey, createMutation, variables);
    if (!data) return undefined;
    const { appConnection } = data.createOktaConnection as { appConnection: ConnectionFields };
    const { id, version, updatedAt, credentialsHash } = appConnection;
    const initial = { version, updatedAt, credentialsHash };
    const kept: KnownConnection = { id, orgKey, name, token, initial, isDeleted: false };
    this.kept.push(kept);
    return kept;
  }

  async read({ id, orgKey }: KnownConnection): Promise<void> {
    const query = 'query ($id: UUID!) { appConnection(id: $id) { id name version } }';
    await this.#ask('read', orgKey, query, { id });
  }

  async list({ orgKey }: KnownConnection): Promise<void> {
    await this.#ask('list', orgKey, '{ appConnections(first: 20) { nodes { id } } }', {});
  }

  /** Returns whether the app accepts the stored credentials. */
  async verify({ id, orgKey }: KnownConnection): Promise<boolean> {
    const query =
      'mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { verification { status } } } }';
    const answer = JSON.stringify((await this.#ask('verify', orgKey, query, { id })) ?? null);
    const isGood = answer.includes('"VERIFIED"');
    if (!isGood) this.failures.push(`verify: ${answer}`);
    return isGood;
  }

  async replaceToken(kept: KnownConnection): Promise<void> {
    const query =
      'mutation ($id: UUID!, $input: UpdateOktaConnectionInput!) { updateOktaConnection(id: $id, input: $input) { appConnection { id } } }';
    const apiToken = this.#newToken();
    const variables = { id: kept.id, input: { credentials: { apiToken } } };
    if (!(await this.#ask('update', kept.orgKey, query, variables))) return;
    this.#valid.delete(kept.token);
    kept.token = apiToken;
    kept.initial = undefined;
  }

  async remove(kept: KnownConnection): Promise<void> {
    const query = 'mutation ($id: UUID!) { deleteAppConnection(id: $id) { restorableUntil } }';
    kept.initial = undefined;
    if (await this.#ask('delete', kept.orgKey, query, { id: kept.id })) kept.isDeleted = true;
  }

  async restore(kept: KnownConnection): Promise<void> {
    const query = 'mutation ($id: UUID!) { restoreAppConnection(id: $id) { appConnection { id } } }';
    if (await this.#ask('restore', kept.orgKey, query, { id: kept.id })) kept.isDeleted = false;
  }

  async makeAndPurge(index: number, name: string): Promise<void> {
    const kept = await this.make(index, name);
    if (!kept) return;
    const query = 'mutation ($id: UUID!) { deleteAppConnection(id: $id, purge: true) { id } }';
    await this.#ask('purge', kept.orgKey, query, { id: kept.id });
    this.kept.splice(this.kept.indexOf(kept), 1);
  }

  #newToken(): string {
    const token = `00${randomBytes(20).toString('base64url')}`;
    this.#valid.add(token);
    return token;
  }

  async #ask(what: string, orgKey: string, query: string, variables: object) {
    const url = this.urls[this.#asked % this.urls.length] ?? '';
    this.#asked += 1;
    if (this.isCounting) this.requests[what] = (this.requests[what] ?? 0) + 1;
    try {
      const response = await fetch(`${url}/graphql`, {
        method: 'POST',
        headers: { authorization: `Bearer ${orgKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ query, variables }),
      });
      const { data, errors } = (await response.json()) as {
        data?: Record<string, unknown>;
        errors?: unknown;
      };
      if (data && !errors) return data;
      this.failures.push(`${what}: ${response.status} ${JSON.stringify(errors)}`);
    } catch (error) {
      this.failures.push(`${what}: ${error}`);
    }
    return undefined;
  }
}
