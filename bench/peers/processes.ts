import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A server in a process of its own, with its resource usage. */
export interface Started extends AsyncDisposable {
  url: string;
  /** Processor time of the process and its children, in seconds. */
  cpuSeconds(): number;
  residentMiB(): number;
}

/** The unit of `/proc/PID/stat`: USER_HZ, which is 100 on Linux. */
const ticksPerSecond = 100;

/** Starts a script of `servers/` or elsewhere with only these environment variables, and waits until it sends its URL. */
export async function start(
  script: string | URL,
  environment: Record<string, string> = {},
  flags: readonly string[] = [],
): Promise<Started> {
  const file = fileURLToPath(new URL(script, new URL('servers/', import.meta.url)));
  const child = spawn(process.execPath, [...process.execArgv, ...flags, file], {
    env: { PATH: process.env.PATH, NODE_ENV: 'production', ...environment },
    // Logs are written as in production, and discarded.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  let stderrTail = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderrTail = (stderrTail + text).slice(-2_000);
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.once('message', (message) => resolve(String(message)));
    child.once('close', () => reject(new Error(`${script} ended before it was ready: ${stderrTail}`)));
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill();
    await ended;
  };
  return {
    url,
    cpuSeconds: () => cpuSecondsOf(requirePid(child)),
    residentMiB: () => withChildren(requirePid(child)).reduce((sum, pid) => sum + readResidentMiB(pid), 0),
    [Symbol.asyncDispose]: stop,
  };
}

/** The processor time of a process and its children, also of those that have ended, in seconds. */
export function cpuSecondsOf(pid: number): number {
  return withChildren(pid).reduce((sum, each) => sum + readCpuSeconds(each), 0);
}

function requirePid({ pid }: ChildProcess): number {
  if (pid === undefined) throw new Error('the process did not start');
  return pid;
}

function withChildren(pid: number): number[] {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...children.flatMap(withChildren)];
}

function readCpuSeconds(pid: number): number {
  // The process name in parentheses may contain spaces and parentheses.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  const [user, system, userOfEnded, systemOfEnded] = fields.slice(11, 15).map(Number);
  return (
    [user, system, userOfEnded, systemOfEnded].reduce<number>((sum, ticks) => sum + (ticks ?? 0), 0) /
    ticksPerSecond
  );
}

function readResidentMiB(pid: number): number {
  const kib = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) / 1_024;
}
