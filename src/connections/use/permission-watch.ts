import { AppError, OverloadedError } from '../../common/errors.ts';
import { isDatabaseUnavailable } from '../../database/outage.ts';

/**
 * How often a running request is checked, in milliseconds. A revoked key must stop working within five seconds, caches
 * included, and these keep it for up to 1.5 seconds.
 */
const checkEveryMs = 2_000;

/** Codes of errors after which it is still unknown whether the request is allowed. */
const temporaryCodes: ReadonlySet<string> = new Set([
  'UPSTREAM_UNREACHABLE',
  'RATE_LIMITED',
  'SERVICE_UNAVAILABLE',
]);

/**
 * Checks every two seconds whether a running request is still allowed, and aborts its signal if it is not. It polls, so it
 * depends neither on the server that made a change nor on its announcement. While the database is unavailable, the
 * request goes on.
 */
export class PermissionWatch implements Disposable {
  readonly #aborting = new AbortController();
  readonly #check: () => Promise<unknown>;
  readonly #timer: NodeJS.Timeout;
  readonly #app: string;
  #refusal: unknown;
  #hasEnded = false;

  /**
   * @param app the display name of the app
   * @param check throws if the request is no longer allowed
   */
  constructor(app: string, check: () => Promise<unknown>) {
    this.#app = app;
    this.#check = check;
    this.#timer = setTimeout(() => void this.#run(), checkEveryMs).unref();
  }

  get signal(): AbortSignal {
    return this.#aborting.signal;
  }

  /** @throws AppError with the code of the refusal if the check has ended the request; another error if it failed */
  assertNotEnded(): void {
    if (!this.signal.aborted) return;
    if (!(this.#refusal instanceof AppError)) throw this.#refusal;
    const message = `The request to ${this.#app} was ended while it ran, because it is no longer allowed. It may have had an effect.`;
    const { code, remedy = 'Check the connection, and send the request again.' } = this.#refusal;
    throw new AppError(code, message, { remedy });
  }

  /** Stops the checks, because the request has ended. */
  [Symbol.dispose](): void {
    this.#hasEnded = true;
    clearTimeout(this.#timer);
  }

  async #run(): Promise<void> {
    try {
      await this.#check();
    } catch (error) {
      if (!isTemporary(error)) {
        this.#refusal = error;
        this.#aborting.abort();
        return;
      }
    }
    // It would start again although it was cleared.
    if (!this.#hasEnded) this.#timer.refresh();
  }
}

function isTemporary(error: unknown): boolean {
  if (error instanceof AppError) return error instanceof OverloadedError || temporaryCodes.has(error.code);
  return isDatabaseUnavailable(error);
}
