import { StartupError } from '../common/errors.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import type { Checkpoint } from './checkpoint-file.ts';

/** A remote destination of checkpoints. */
export interface CheckpointSink {
  /**
   * Sends lines of JSON.
   *
   * @throws Error if they are not accepted
   */
  send(lines: string): Promise<void>;
  close(): Promise<void>;
}

const chunkLines = 1_000;

/**
 * Sends checkpoints to a remote destination. After a failure, the next call sends the newest unsent checkpoint of each
 * trail. The log has one error per outage, and a line when deliveries succeed again.
 */
export class CheckpointSender {
  readonly #sink: CheckpointSink;
  readonly #log: Logger;
  /** The newest unsent checkpoint of each organisation. */
  readonly #unsent: Map<string, Checkpoint>;
  #isFailing = false;

  constructor(sink: CheckpointSink, log: Logger, unsent: Iterable<Checkpoint>) {
    this.#sink = sink;
    this.#log = log;
    this.#unsent = new Map([...unsent].map((checkpoint) => [checkpoint.orgId, checkpoint]));
  }

  /** Queues checkpoints for the next call of `send`. */
  add(checkpoints: readonly Checkpoint[]): void {
    for (const checkpoint of checkpoints) this.#unsent.set(checkpoint.orgId, checkpoint);
  }

  /** Sends all unsent checkpoints. It does not throw. */
  async send(): Promise<void> {
    const due = [...this.#unsent.values()];
    try {
      for (let first = 0; first < due.length; first += chunkLines) {
        const chunk = due.slice(first, first + chunkLines);
        await this.#sink.send(chunk.map((checkpoint) => `${JSON.stringify(checkpoint)}\n`).join(''));
        for (const checkpoint of chunk) this.#unsent.delete(checkpoint.orgId);
        if (this.#isFailing) this.#log.info('AUDIT_CHECKPOINT_URL takes audit checkpoints again');
        this.#isFailing = false;
      }
    } catch (error) {
      if (!this.#isFailing) {
        this.#log.error(
          error instanceof OutboundError || error instanceof StartupError
            ? { why: error.message }
            : { error: safeErrorFields(error) },
          'audit checkpoints could not be sent to AUDIT_CHECKPOINT_URL; they are sent again once a minute',
        );
      }
      this.#isFailing = true;
    }
  }

  async close(): Promise<void> {
    await this.#sink.close();
  }
}
