import { safeErrorFields } from '../common/log.ts';
import { inBackground } from '../database/driver/background-work.ts';
import { isDatabaseUnavailable } from '../database/outage.ts';
import { JobQueue, type JobQueueDeps } from './job-queue.ts';
import type { NewJob, Queue } from './queue.ts';

/** Work that all servers look for, and that one of them does in a job. */
export interface ScheduledWork {
  queue: Queue;
  /** How often this server looks for work, in milliseconds. */
  intervalMs: number;
  /** Finds the work that is due. What a job leaves undone is still due. */
  findDue(): Promise<NewJob[]>;
  /** The message of the log if the work could not be found. */
  failure: string;
}

/** The scheduled work of a server. */
export interface Schedule {
  /** Starts no further job, and waits for the running ones for a few seconds. */
  stop(): Promise<void>;
}

/** Looks for work that is due, now and at the interval of each kind, and does it in jobs of one queue. */
export function startSchedule(deps: JobQueueDeps, works: readonly ScheduledWork[]): Schedule {
  const stopping = new AbortController();
  const jobs = new JobQueue(
    deps,
    works.map(({ queue }) => untilStopped(queue, stopping.signal)),
  );
  const loops = works.map(({ queue, intervalMs, findDue, failure }) => {
    const dispatch = async () => {
      await jobs.ready;
      const due = await inBackground('jobs', findDue);
      if (due.length > 0 && !stopping.signal.aborted) await jobs.add(queue.name, due);
    };
    const dispatchSafely = () =>
      dispatch().catch((error: unknown) => {
        const level = isDatabaseUnavailable(error) ? 'debug' : 'error';
        deps.log[level]({ error: safeErrorFields(error) }, failure);
      });
    return repeat(dispatchSafely, intervalMs);
  });
  return {
    async stop() {
      const ended = loops.map(({ end }) => end());
      stopping.abort();
      await jobs.stop();
      await Promise.all(ended);
    },
  };
}

/** A queue whose jobs are aborted when the server stops, which is no failure of theirs. */
function untilStopped(queue: Queue, stopping: AbortSignal): Queue {
  return {
    ...queue,
    work: (ids, signal) =>
      inBackground('jobs', () => queue.work(ids, AbortSignal.any([signal, stopping]))).catch(
        (error: unknown) => {
          if (!stopping.aborted) throw error;
        },
      ),
  };
}

/** Runs a task now and at an interval, except while it is running. */
function repeat(task: () => Promise<void>, intervalMs: number): { end(): Promise<void> } {
  let running = task();
  let isIdle = true;
  const timer = setInterval(() => {
    if (!isIdle) return;
    isIdle = false;
    running = task().finally(() => {
      isIdle = true;
    });
  }, intervalMs).unref();
  return {
    end() {
      clearInterval(timer);
      return running;
    },
  };
}
