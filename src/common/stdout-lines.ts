import { write, writeSync } from 'node:fs';
import { errorField } from './error-field.ts';

const stdout = 1;

/** How long a line waits for others, in milliseconds. A write, which another thread does, costs as much as a small response. */
const bufferMs = 10;

/** After how long a write that failed is tried again, in milliseconds. */
const retryMs = 250;

/** How often, and after how many milliseconds, a write to a full pipe is tried again at the exit. */
const maxAttemptsAtExit = 100;
const exitRetryMs = 10;

/** The characters that wait while standard output takes none: its reader is slow, or the disk is full. */
const maxWaiting = 16 * 1024 * 1024;

/**
 * Writes lines to standard output, together with those of the next milliseconds. While it cannot be written, lines wait up to a
 * limit; more are dropped, and counted. Pino's destination keeps all of them, ends the process when the disk is full, and waits for
 * space at its exit for ever.
 */
export class StdoutLines {
  readonly #describeDropped: (lines: number) => string;
  #waiting = '';
  #dropped = 0;
  #writing: Buffer | undefined;
  #isScheduled = false;
  #isClosed = false;
  #isExiting = false;

  /** @param describeDropped returns the line that stands for dropped ones, with its end */
  constructor(describeDropped: (lines: number) => string) {
    this.#describeDropped = describeDropped;
    // The last lines have the reason for the exit.
    process.once('exit', () => {
      this.#isExiting = true;
      this.#writeAllNow();
    });
  }

  /** Adds a line, with its end. */
  write(line: string): void {
    if (this.#isClosed) return;
    if (this.#waiting.length + line.length > maxWaiting) {
      this.#dropped += 1;
      return;
    }
    this.#waiting += line;
    if (this.#isExiting) this.#writeAllNow();
    else if (!this.#writing && !this.#isScheduled) this.#schedule(bufferMs);
  }

  #schedule(ms: number): NodeJS.Timeout {
    this.#isScheduled = true;
    return setTimeout(() => {
      this.#isScheduled = false;
      this.#writeNext();
    }, ms);
  }

  #writeNext(): void {
    const bytes = this.#writing ?? this.#takeAll();
    if (bytes.length === 0) return;
    this.#writing = bytes;
    write(stdout, bytes, (error, written) => {
      if (error) {
        // A full disk must not keep a process that has nothing else to do.
        if (!this.#closeIfUnread(error)) this.#schedule(retryMs).unref();
        return;
      }
      this.#writing = written < bytes.length ? bytes.subarray(written) : undefined;
      if (!this.#isExiting) this.#writeNext();
    });
  }

  /**
   * Writes what waits at the exit. What a thread is writing then is still written, but its end may come after these lines: the end of
   * a write is seen only by the event loop. It gives up if there is no space.
   */
  #writeAllNow(): void {
    // A write that failed waits for its repetition, and is not with a thread.
    const failed = this.#isScheduled ? this.#writing : undefined;
    let bytes = Buffer.concat([failed ?? Buffer.alloc(0), this.#takeAll()]);
    for (let attempts = 0; bytes.length > 0 && attempts < maxAttemptsAtExit; attempts += 1) {
      try {
        bytes = bytes.subarray(writeSync(stdout, bytes));
        attempts = 0;
      } catch (error) {
        // The reader of a pipe may be about to make space.
        if (errorField(error, 'code') !== 'EAGAIN') return;
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, exitRetryMs);
      }
    }
  }

  #takeAll(): Buffer {
    const lost = this.#dropped > 0 ? this.#describeDropped(this.#dropped) : '';
    const bytes = Buffer.from(this.#waiting + lost);
    this.#waiting = '';
    this.#dropped = 0;
    return bytes;
  }

  /** Nothing reads a closed pipe again. */
  #closeIfUnread(error: unknown): boolean {
    this.#isClosed = errorField(error, 'code') === 'EPIPE';
    if (this.#isClosed) this.#waiting = '';
    return this.#isClosed;
  }
}
