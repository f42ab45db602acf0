import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { artefactCommand } from './artefact.ts';
import { serverCommand } from './template-environment.ts';

/** A script of `src/` in a process of its own. Disposing of it kills it. */
export interface ScriptProcess extends AsyncDisposable {
  /** The standard output so far. */
  stdout(): string;
  stderr(): string;
  /** The exit code or the signal, once it has ended. */
  ended(): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  kill(signal: NodeJS.Signals): void;
}

/** A server in a process of its own. */
export interface ServerProcess extends ScriptProcess {
  /** Waits for the line that says it is ready and returns its URL; throws with its output if it ends before. */
  ready(): Promise<string>;
}

/** The folder of the code that processes of the tests have compiled, as in `npm start`. */
export const compileCache = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url));

/** Starts a script with only these environment variables. */
export function spawnScript(
  name: 'main.ts' | 'launch.js',
  environment: Readonly<Record<string, string>>,
  ...args: string[]
): ScriptProcess {
  const child = spawn(process.execPath, buildCommand(name, args), {
    cwd: tmpdir(),
    env: { PATH: process.env.PATH, NODE_COMPILE_CACHE: compileCache, ...environment },
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
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    ended: async () => {
      const [code, signal] = await closed;
      return { code, signal };
    },
    kill: (signal) => void child.kill(signal),
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/**
 * The arguments of Node for a script: the same command of the released package, if that is tested, or of the bundle of this run. Of the
 * second and a half of processor time that a server takes to start from the modules of `src/`, a bundle saves half.
 */
export function buildCommand(script: 'main.ts' | 'launch.js', args: readonly string[] = []): string[] {
  const command = artefactCommand ?? process.env[serverCommand];
  if (!command) return [fileURLToPath(new URL(`../../src/${script}`, import.meta.url)), ...args];
  const [program = '', ...others] = script === 'main.ts' ? ['start', ...args] : args;
  // `audit:verify` is `audit verify`.
  return [command, ...program.split(':'), ...others];
}

/** What a program printed, and its exit code. */
export interface ProgramResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** Runs a script to its end. */
export async function runScript(...given: Parameters<typeof spawnScript>): Promise<ProgramResult> {
  await using script = spawnScript(...given);
  const { code } = await script.ended();
  return { code, stdout: script.stdout(), stderr: script.stderr() };
}

/** Starts a server on a free port with only these environment variables. */
export function spawnServer(environment: Readonly<Record<string, string>>): ServerProcess {
  const server = spawnScript('main.ts', {
    HOST: '127.0.0.1',
    PORT: '0',
    SHUTDOWN_DELAY_SECONDS: '0',
    ...environment,
  });
  let outcome: Awaited<ReturnType<ScriptProcess['ended']>> | undefined;
  void server.ended().then((ended) => {
    outcome = ended;
  });
  return {
    ...server,
    ended: () => until('the server has ended', () => outcome),
    ready: () =>
      until('the server is ready', () => {
        if (outcome) {
          throw new Error(
            `The server ended with ${JSON.stringify(outcome)}: ${server.stdout()}${server.stderr()}`,
          );
        }
        return /(https?:\/\/127\.0\.0\.1:\d+)["/]/.exec(server.stdout())?.[1];
      }),
  };
}

/** Starts a server that fails, by default in a process of its own, and returns the one line that it prints. */
export async function stderrOfFailedStart(
  environment: Readonly<Record<string, string>>,
  start: (environment: Readonly<Record<string, string>>) => ServerProcess = spawnServer,
): Promise<string> {
  await using server = start(environment);
  const outcome = await server.ended();
  expect(server.stderr()).toMatch(/^Cannot start: [^\n]+\n$/);
  expect(server.stderr()).not.toMatch(/(^|\s)at (\S+ \()?(file|node|async)/);
  // Log lines, such as the state of the audit trail, are not part of the error message.
  expect(server.stdout()).not.toMatch(/ready|curl/);
  expect(outcome).toEqual({ code: 1, signal: null });
  return server.stderr();
}

/** A temporary directory that is removed when disposed. */
export function temporaryFolder(parent = tmpdir()): Disposable & { path: string } {
  const path = mkdtempSync(join(parent, 'app-connections-'));
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

/** Whether something listens on a port of 127.0.0.1. */
export async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  const isConnected = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  socket.destroy();
  return isConnected;
}

/** Polls until the function returns a value; fails after 90 s by default. */
export async function until<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
  withinMs = 90_000,
): Promise<T> {
  const deadline = Date.now() + withinMs;
  while (Date.now() < deadline) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`Timed out while waiting until ${what}.`);
}
