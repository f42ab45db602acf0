/** What a job is about: ids, and nothing that must not be readable in the database. */
export type JobIds = Readonly<Record<string, string>>;

/** A queue of jobs, and how servers work on them. */
export interface Queue {
  /** Stored in the database. */
  name: string;
  /** The longest time of a job, in seconds. Then it counts as failed, and `signal` aborts. */
  expireSeconds: number;
  /** How often a failed job is tried again. */
  retryLimit: number;
  /** How often an idle worker asks for jobs, in seconds. */
  pollSeconds: number;
  /** How many workers each server has. */
  workers: number;
  /** How many jobs a worker takes at once. It takes the next ones, without waiting, when all of them have ended. */
  batchSize: number;
  /** The most jobs of a group that run at the same time on all servers. */
  groupConcurrency: number;
  /** Does a job. It runs again if the server dies meanwhile, so it must be repeatable. */
  work(ids: JobIds, signal: AbortSignal): Promise<void>;
}

/** A job to add. */
export interface NewJob {
  ids: JobIds;
  /** While a job with this key waits or runs, another one is not added. */
  key: string;
  /** Jobs of a group share `Queue.groupConcurrency`: the organisation. */
  group: string;
}
