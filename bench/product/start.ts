import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Fixture } from '../peers/fixture.ts';
import { median, table } from '../peers/summary.ts';
import type { Options } from './options.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
/** The output of a server that is ready: a message in development, a log line in production. */
const ready = /App Connections is ready|"msg":"ready"/;
const patienceMs = 60_000;

/** Measures the time from `npm start` to the first response, on an empty and on an existing database. */
export async function measureStart(
  { databases, settings }: Fixture,
  { starts }: Pick<Options, 'starts'>,
): Promise<string> {
  const durations = {
    embedded: { first: [] as number[], second: [] as number[], target: 2_000 },
    PostgreSQL: { first: [] as number[], second: [] as number[], target: 1_500 },
  };
  for (let index = 0; index < starts; index += 1) {
    const folder = mkdtempSync(join(tmpdir(), 'app-connections-bench-'));
    try {
      const environment = { DATA_DIR: folder, PORT: '0' };
      durations.embedded.first.push(await startOnce(environment));
      durations.embedded.second.push(await startOnce(environment));
    } finally {
      rmSync(folder, { recursive: true });
    }
    const DATABASE_URL = await databases.empty(`start_${index}`);
    const environment = { ...settings, NODE_ENV: 'production', DATABASE_URL };
    durations.PostgreSQL.first.push(await startOnce(environment));
    durations.PostgreSQL.second.push(await startOnce(environment));
  }
  const range = (values: number[]) =>
    `${inSeconds(median(values))} (${inSeconds(Math.min(...values))} to ${inSeconds(Math.max(...values))})`;
  return table(
    [`start to ready, s, median of ${starts} (range)`, 'first', 'second', 'target of the second'],
    Object.entries(durations).map(([name, { first, second, target }]) => [
      name,
      range(first),
      range(second),
      `< ${inSeconds(target)}`,
    ]),
  );
}

/** Starts a server, waits for its ready message, checks that it responds, and stops it. */
async function startOnce(environment: Record<string, string>): Promise<number> {
  const started = performance.now();
  const server = spawn('sh', ['-c', scripts.start], {
    cwd: root,
    env: { PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`, ...environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(server, 'exit');
  const kill = () => server.kill();
  // Also when a signal ends this process.
  process.once('exit', kill);
  try {
    const { text, ms } = await new Promise<{ text: string; ms: number }>((resolve, reject) => {
      let text = '';
      server.stdout.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (ready.test(text)) resolve({ text, ms: performance.now() - started });
      });
      server.once('exit', () => reject(new Error(`the server did not start: ${text}`)));
      setTimeout(() => reject(new Error(`the server is not ready yet: ${text}`)), patienceMs).unref();
    });
    const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(text) ?? [];
    const { status } = await fetch(`${url}/health/ready`);
    if (status !== 200) throw new Error(`a server that reported to be ready answered ${status}`);
    return ms;
  } finally {
    kill();
    await ended;
    process.off('exit', kill);
  }
}

function inSeconds(ms: number): string {
  return (ms / 1_000).toFixed(2);
}
