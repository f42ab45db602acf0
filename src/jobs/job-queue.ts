import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { EntityManager } from '@mikro-orm/postgresql';
import type { PgBoss } from 'pg-boss';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { type Tracer, tracedRoot } from '../common/tracing.ts';
import type { Database } from '../database/database.ts';
import { jobSchema } from '../database/job-schema.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import { toPgBossDatabase, toPgBossTransaction } from './pg-boss-database.ts';
import type { JobIds, NewJob, Queue } from './queue.ts';

/** A server that dies is noticed after this many seconds, and its jobs fail. */
const heartbeatSeconds = 30;
/** Rows of jobs that have ended are kept for this many seconds. */
const keptSeconds = 3_600;
/** `start` waits between attempts for 1 second, and for up to 30. */
const startAttempts = 1_000_000;

/** The dependencies of the job queue. */
export interface JobQueueDeps {
  database: Pick<Database, 'runAsSystem' | 'schema'>;
  log: Logger;
  /** Absent: jobs are not traced. */
  tracer?: Tracer | undefined;
}

/**
 * Jobs in the database that all servers share: each job runs on one server, and on another one if that server dies
 * (docs/adr/0016-pg-boss.md).
 */
export class JobQueue {
  readonly #database: Pick<Database, 'runAsSystem' | 'schema'>;
  readonly #log: Logger;
  readonly #tracer: Tracer | undefined;
  readonly #queues: readonly Queue[];
  #boss: PgBoss | undefined;
  readonly #workerIds = new Map<string, string>();
  #isStopping = false;
  /** Resolves when jobs can be added, or when the server stops before. */
  readonly ready: Promise<void>;

  /** Starts workers in the background, also if the database is not available yet. */
  constructor({ database, log, tracer }: JobQueueDeps, queues: readonly Queue[]) {
    this.#database = database;
    this.#log = log;
    this.#tracer = tracer;
    this.#queues = queues;
    this.ready = this.#start().catch((error: unknown) => {
      if (!this.#isStopping) this.#report(error, 'the job queue could not be started');
    });
  }

  /**
   * Adds jobs, except those whose key another job has.
   *
   * @param em a transaction of an organisation, in which the jobs are added; without it, they are added at once. Await `ready`
   *   before the transaction begins, because the embedded database has one connection.
   */
  async add(queue: string, jobs: readonly NewJob[], em?: EntityManager): Promise<void> {
    if (!em) await this.ready;
    const inserts = jobs.map(({ ids, key, group }) => ({
      data: ids,
      singletonKey: createHash('sha256').update(key).digest('base64url'),
      group: { id: group },
    }));
    await this.#boss?.insert(queue, inserts, em ? { db: toPgBossTransaction(em) } : {});
    const workerId = this.#workerIds.get(queue);
    // One of them: workers that ask at the same time would exceed the limit of a group.
    if (workerId && !em) this.#boss?.notifyWorker(workerId);
  }

  /** Takes no further job, and waits for the running ones for up to 5 seconds. Then they run again later. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#boss?.stop({ timeout: 5_000 });
    await this.ready;
  }

  async #start(): Promise<void> {
    // It takes a fifth of a second to load, and the server can serve requests without it.
    await setImmediate();
    const { PgBoss } = await import('pg-boss');
    const boss = new PgBoss({
      db: toPgBossDatabase(this.#database.runAsSystem),
      schema: jobSchema(this.#database.schema),
      // Migrations create the tables, and the role of the system may not change them.
      ...{ migrate: false, createSchema: false, reindex: false, monitorVacuum: false },
      ...{ schedule: false, registerInstance: false, persistWarnings: false, flowIntervalSeconds: 60 },
      openTelemetry: { enabled: false },
    });
    this.#boss = boss;
    // Workers report copies of errors, which are no instances of Error.
    boss.on('error', (error) =>
      this.#report(Object.assign(new Error(error.message), error), 'the job queue failed'),
    );
    boss.on('warning', ({ message }) => this.#log.debug({ warning: message }, 'the job queue warns'));
    if (this.#isStopping) return;
    await boss.start({ attempts: startAttempts });
    for (const queue of this.#queues) await this.#startWorkers(boss, queue);
  }

  async #startWorkers(boss: PgBoss, queue: Queue): Promise<void> {
    const { name, expireSeconds, retryLimit, workers, batchSize, pollSeconds, groupConcurrency } = queue;
    const options = {
      ...{ expireInSeconds: expireSeconds, retryLimit, retryBackoff: retryLimit > 0, heartbeatSeconds },
      deleteAfterSeconds: keptSeconds,
    };
    await boss.createQueue(name, { policy: 'exclusive', ...options });
    // The queue may be that of an older version.
    await boss.updateQueue(name, options);
    // pg-boss reads the queue now, and not when a transaction has the connection of the embedded database.
    await boss.findJobs(name, { limit: 1 });
    for (let count = 1; count <= workers; count += 1) {
      const id: string = await boss.work<JobIds>(
        name,
        { batchSize, groupConcurrency, pollingIntervalSeconds: pollSeconds, perJobResults: true },
        async (jobs) => {
          const results = await Promise.all(jobs.map((job) => this.#run(queue, job)));
          // It asks again at once. pg-boss does that only after full batches, and those of a busy group never are.
          boss.notifyWorker(id);
          return results;
        },
      );
      if (count === 1) this.#workerIds.set(name, id);
    }
  }

  async #run(queue: Queue, job: { id: string; data: JobIds; signal: AbortSignal }) {
    try {
      await tracedRoot(this.#tracer, queue.name, () => queue.work(job.data, job.signal));
      return { id: job.id, status: 'completed' as const };
    } catch (error) {
      // The row of the job gets no error, which might contain secrets.
      if (!job.signal.aborted) this.#report(error, 'a job failed', { queue: queue.name, ...job.data });
      return { id: job.id, status: 'failed' as const };
    }
  }

  /** An outage of the database is in the log of the requests that it fails. */
  #report(error: unknown, message: string, context: object = {}): void {
    const level = isDatabaseUnavailable(error) ? 'debug' : 'error';
    this.#log[level]({ ...context, error: safeErrorFields(error) }, message);
  }
}
