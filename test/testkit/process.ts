import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** `src/main.ts` in a process of its own. Disposing of it kills it. */
export interface ServerProcess extends AsyncDisposable {
  /** What it has printed so far. */
  stdout(): string;
  stderr(): string;
  /** Its address once it has said that it is ready; throws with its last words if it ends before. */
  ready(): Promise<string>;
  /** How it ended, once it has. */
  ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
}

/** Starts a server on a free port with nothing in its environment but what is given. */
export function spawnServer(environment: Readonly<Record<string, string>>): ServerProcess {
  const child = spawn(process.execPath, [main], {
    cwd: tmpdir(),
    env: { PATH: process.env.PATH, HOST: '127.0.0.1', PORT: '0', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  // Both streams have been read to their ends by then.
  const closed = once(child, 'close');
  let outcome: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  child.once('close', (code, signal) => {
    outcome = { code, signal };
  });

  return {
    stdout: () => stdout,
    stderr: () => stderr,
    ready: () =>
      until('the server is ready', () => {
        if (outcome) throw new Error(`The server ended with ${JSON.stringify(outcome)}: ${stdout}${stderr}`);
        return /(http:\/\/127\.0\.0\.1:\d+)["/]/.exec(stdout)?.[1];
      }),
    ended: () => until('the server has ended', () => outcome),
    kill: (signal) => void child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** A folder that goes away when disposed of. */
export function temporaryFolder(): Disposable & { path: string } {
  const path = mkdtempSync(join(tmpdir(), 'app-connections-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A port of 127.0.0.1 on which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('there was no port');
  return address.port;
}

/** Asks again and again until there is an answer; gives up after 40 s. */
export async function until<T>(what: string, ask: () => T | undefined | Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + 40_000;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`Waited in vain until ${what}.`);
}
