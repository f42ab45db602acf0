import { StartupError } from '../common/errors.ts';
import { type Logger, safeErrorFields } from '../common/log.ts';
import { OutboundError } from '../outbound/outbound-error.ts';
import type { Checkpoint } from './checkpoint-file.ts';

/** A place elsewhere that takes checkpoints. */
export interface CheckpointSink {
  /**
   * Sends lines of JSON, and returns once they were taken.
   *
   * @throws Error when they were not
   */
  send(lines: string): Promise<void>;
  close(): Promise<void>;
}

const maxLines = 1_000;

/**
 * Sends checkpoints to a receiver. What it does not take is sent again the next time, of each trail the newest checkpoint
 * alone. The log has one error for as long as it takes none, and a line when it takes them again.
 */
export class CheckpointSender {
  readonly #receiver: CheckpointSink;
  readonly #log: Logger;
  /** By organisation. */
  readonly #unsent: Map<string, Checkpoint>;
  #isFailing = false;

  constructor(receiver: CheckpointSink, log: Logger, unsent: Iterable<Checkpoint>) {
    this.#receiver = receiver;
    this.#log = log;
    this.#unsent = new Map([...unsent].map((checkpoint) => [checkpoint.orgId, checkpoint]));
  }

  add(checkpoints: readonly Checkpoint[]): void {
    for (const checkpoint of checkpoints) this.#unsent.set(checkpoint.orgId, checkpoint);
  }

  /** Sends what was not taken yet. Nothing is thrown. */
  async send(): Promise<void> {
    const due = [...this.#unsent.values()];
    try {
      for (let first = 0; first < due.length; first += maxLines) {
        const some = due.slice(first, first + maxLines);
        await this.#receiver.send(some.map((checkpoint) => `${JSON.stringify(checkpoint)}\n`).join(''));
        for (const checkpoint of some) this.#unsent.delete(checkpoint.orgId);
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
    await this.#receiver.close();
  }
}
