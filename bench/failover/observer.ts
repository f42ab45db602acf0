import { randomUUID } from 'node:crypto';
import { type MutationResponse, tryToCreate } from '../../test/testkit/faults/load.ts';
import { LogEntry, type OperationLog } from '../../test/testkit/faults/operation-log.ts';
import type { PatroniCluster } from './patroni.ts';

/** The time between two samples of each kind, in milliseconds. */
const intervalMs = 100;

/** A create that takes less shows that the server could create when it was sent. It may also have waited for the end of a fault. */
const fastMs = 2_000;

/** A create that takes longer shows that the server could not create when it was sent, also on a busy computer. */
const slowMs = 5_000;

/** How many connections, one after the other, have to lead to a primary until the address leads to it. */
const steadyProbes = 10;

/** What was seen of one server, in milliseconds of `performance.now()`. */
interface ServerSamples {
  creates: { sentAt: number; answeredAt: number; isAcknowledged: boolean }[];
  readiness: { at: number; isReady: boolean }[];
}

/** What was seen of a fault, in seconds. */
export interface Recovery {
  /** The median time of a create before the fault. */
  usualCreate: number;
  /** Between the last create before the fault and the first after it, on the slower server. */
  outage: number;
  /** From the moment at which the address led to a primary until both servers had created. */
  untilCreate: number;
  /** The same from the moment at which that primary committed a change, for which it may wait for its standby. */
  commitToCreate: number;
  /** The longest time for which a server said that it was ready while creates through it failed. */
  readyInVain: number;
  /** The longest time for which a server said that it was not ready while creates through it succeeded. */
  readyLate: number;
}

/**
 * Sends each server a create and a request to `/health/ready` ten times a second, whether or not the ones before have been answered. As
 * often, it connects to the address of the database, and commits a change there.
 */
export class Observer {
  readonly #journal: OperationLog;
  readonly #apiKey: string;
  readonly #cluster: PatroniCluster;
  readonly #samples = new Map<string, ServerSamples>();
  readonly #timer: NodeJS.Timeout;
  readonly #pending = new Set<Promise<void>>();
  /** The connections to the address, with the address of the primary to which they led. */
  #probes: { sentAt: number; endedAt: number; primary: string | undefined }[] = [];
  #ledAt: number | undefined;
  /** When changes through the address were committed. */
  #commits: number[] = [];
  #faultAt = 0;

  constructor(journal: OperationLog, apiKey: string, urls: readonly string[], cluster: PatroniCluster) {
    this.#journal = journal;
    this.#apiKey = apiKey;
    this.#cluster = cluster;
    for (const url of urls) this.#samples.set(url, { creates: [], readiness: [] });
    this.#timer = setInterval(() => {
      this.#keep(this.#connect());
      this.#keep(this.#commit());
      for (const [url, samples] of this.#samples) {
        this.#keep(this.#create(url, samples));
        this.#keep(this.#askReadiness(url, samples));
      }
    }, intervalMs);
  }

  /** Forgets all samples. */
  reset(): void {
    this.forgetPrimary();
    for (const samples of this.#samples.values()) Object.assign(samples, { creates: [], readiness: [] });
  }

  /** Waits for the address to lead to a primary again. */
  forgetPrimary(): void {
    this.#probes = [];
    this.#commits = [];
    this.#ledAt = undefined;
  }

  /** Whether all connections to the address of the database lead to this primary, and both servers have created since. */
  hasRecovered(primary: string): boolean {
    const probes = this.#probes.toSorted((one, other) => one.sentAt - other.sentAt);
    // While a balancer also leads to the former primary, some connections are not answered.
    const since = probes.findLastIndex((probe) => probe.primary !== primary) + 1;
    if (probes.length - since < steadyProbes) return false;
    this.#ledAt ??= probes[since]?.endedAt;
    return this.#firstCreates() !== undefined;
  }

  /** Tells the creates before the fault from those after it. */
  markFault(): void {
    this.#faultAt = performance.now();
  }

  /** What was seen since `reset`. */
  recovery(): Recovery {
    const firstCreates = this.#firstCreates();
    const ledAt = this.#ledAt;
    if (ledAt === undefined || !firstCreates) throw new Error('the servers have not recovered');
    const lastFirst = Math.max(...firstCreates);
    const firstCommit = Math.min(lastFirst, ...this.#commits.filter((at) => at >= ledAt));
    const all = [...this.#samples.values()].map(judge);
    const longest = (key: keyof ReturnType<typeof judge>) =>
      Math.max(...all.map((each) => each[key])) / 1_000;
    const before = [...this.#samples.values()]
      .flatMap(({ creates }) => creates)
      .filter(({ answeredAt }) => answeredAt < this.#faultAt)
      .map(({ sentAt, answeredAt }) => answeredAt - sentAt)
      .toSorted((one, other) => one - other);
    return {
      usualCreate: (before[Math.floor(before.length / 2)] ?? 0) / 1_000,
      outage: longest('outageMs'),
      untilCreate: (lastFirst - ledAt) / 1_000,
      commitToCreate: (lastFirst - firstCommit) / 1_000,
      readyInVain: longest('readyInVainMs'),
      readyLate: longest('readyLateMs'),
    };
  }

  /** Ends, once all creates have been answered. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#pending);
  }

  #firstCreates(): number[] | undefined {
    const ledAt = this.#ledAt;
    if (ledAt === undefined) return undefined;
    const first = [...this.#samples.values()].map(({ creates }) => {
      const times = creates
        .filter(({ isAcknowledged }) => isAcknowledged)
        .map(({ answeredAt }) => answeredAt);
      return Math.min(...times.filter((time) => time >= ledAt));
    });
    return first.every(Number.isFinite) ? first : undefined;
  }

  #keep(work: Promise<void>): void {
    this.#pending.add(work);
    void work.finally(() => this.#pending.delete(work));
  }

  async #create(url: string, { creates }: ServerSamples): Promise<void> {
    const entry = new LogEntry(`seen-${randomUUID()}`);
    this.#journal.entries.push(entry);
    const sentAt = performance.now();
    const isAcknowledged = this.#record(entry, await tryToCreate(url, this.#apiKey, entry));
    creates.push({ sentAt, answeredAt: performance.now(), isAcknowledged });
  }

  #record(entry: LogEntry, answer: MutationResponse | undefined): boolean {
    const id = answer?.data?.change?.appConnection.id;
    if (id !== undefined) {
      entry.id = id;
      entry.possible = entry.possible.slice(-1);
      this.#journal.counts.acknowledged += 1;
      return true;
    }
    const [error] = answer?.errors ?? [];
    if (!error || error.extensions.code === 'SERVICE_UNAVAILABLE') {
      this.#journal.counts.inDoubt += 1;
    } else {
      entry.possible = [undefined];
      this.#journal.wrongAnswers.push(JSON.stringify(answer?.errors));
    }
    return false;
  }

  async #askReadiness(url: string, { readiness }: ServerSamples): Promise<void> {
    let isReady = false;
    try {
      const response = await fetch(`${url}/health/ready`);
      await response.text();
      isReady = response.ok;
    } catch {
      // The server is not there.
    }
    readiness.push({ at: performance.now(), isReady });
  }

  async #connect(): Promise<void> {
    const statement = 'select host(inet_server_addr()) as address, pg_is_in_recovery() as "isStandby"';
    const sentAt = performance.now();
    let primary: string | undefined;
    try {
      const rows = await this.#cluster.query<{ address: string; isStandby: boolean }>(statement, 2_000);
      primary = rows.find(({ isStandby }) => !isStandby)?.address;
    } catch {
      // The address leads nowhere.
    }
    this.#probes.push({ sentAt, endedAt: performance.now(), primary });
  }

  async #commit(): Promise<void> {
    try {
      await this.#cluster.query(`select pg_logical_emit_message(true, 'failover', '')`, 2_000);
      this.#commits.push(performance.now());
    } catch {
      // The address leads nowhere, or to a server that does not commit.
    }
  }
}

/** Compares what a server said about itself with its creates. */
function judge({ creates, readiness }: ServerSamples) {
  const sent = creates.toSorted((one, other) => one.sentAt - other.sentAt);
  const sampled = readiness.toSorted((one, other) => one.at - other.at);
  let [outageMs, readyInVainMs, readyLateMs] = [0, 0, 0];
  let lastAnswer: number | undefined;
  /** The time of the first create of those that failed one after the other. */
  let failingSince: number | undefined;
  let workingSince: number | undefined;
  const longestRun = (from: number, to: number, isReady: boolean) => {
    let [longest, since]: [number, number | undefined] = [0, undefined];
    for (const sample of sampled.filter(({ at }) => at > from && at < to)) {
      since = sample.isReady === isReady ? (since ?? sample.at) : undefined;
      if (since !== undefined) longest = Math.max(longest, sample.at - since);
    }
    return longest;
  };
  for (const { sentAt, answeredAt, isAcknowledged } of sent) {
    const durationMs = answeredAt - sentAt;
    if (isAcknowledged && durationMs < fastMs) {
      if (lastAnswer !== undefined) outageMs = Math.max(outageMs, answeredAt - lastAnswer);
      lastAnswer = answeredAt;
      workingSince ??= sentAt;
      if (failingSince !== undefined)
        readyInVainMs = Math.max(readyInVainMs, longestRun(failingSince, sentAt, true));
      failingSince = undefined;
    } else {
      if (!isAcknowledged || durationMs > slowMs) failingSince ??= sentAt;
      if (workingSince !== undefined)
        readyLateMs = Math.max(readyLateMs, longestRun(workingSince, sentAt, false));
      workingSince = undefined;
    }
  }
  if (workingSince !== undefined)
    readyLateMs = Math.max(readyLateMs, longestRun(workingSince, Number.POSITIVE_INFINITY, false));
  return { outageMs, readyInVainMs, readyLateMs };
}
