import { randomBytes } from 'node:crypto';
import { type ServerProcess, spawnServer } from '../process.ts';

/** Server processes on one database that can be killed and restarted. */
export class ServerProcesses implements AsyncDisposable {
  readonly apiKey = randomBytes(24).toString('hex');
  readonly #settings: Record<string, string>;
  readonly #running = new Map<number, { server: ServerProcess; url: string }>();
  /** How often a server was killed. */
  kills = 0;

  /** @param settings the environment of every server: its database and its keys */
  constructor(settings: Record<string, string>) {
    this.#settings = { ...settings, BOOTSTRAP_API_KEY: this.apiKey, LOG_LEVEL: 'warn' };
  }

  /** The servers that are up. */
  urls(): string[] {
    return [...this.#running.values()].map(({ url }) => url);
  }

  /** Starts a server with its own index. */
  async start(number: number): Promise<void> {
    const server = spawnServer(this.#settings);
    try {
      this.#running.set(number, { server, url: await server.ready() });
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Kills a server with SIGKILL, also during requests. */
  async kill(number: number): Promise<void> {
    const running = this.#running.get(number);
    if (!running) return;
    running.server.kill('SIGKILL');
    this.#running.delete(number);
    await running.server.ended();
    this.kills += 1;
  }

  /** Kills and restarts one server after another, at intervals, until the given number of kills. */
  async killOften(number: number, isTime: () => Promise<unknown>, isEnough: () => boolean): Promise<void> {
    while (!isEnough()) {
      await isTime();
      await this.kill(number);
      await this.start(number);
    }
  }

  async stop(): Promise<void> {
    for (const { server } of this.#running.values()) {
      server.kill('SIGTERM');
      await server.ended();
    }
    this.#running.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { server } of this.#running.values()) await server[Symbol.asyncDispose]();
  }
}
