import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'undici';
import { buildRequest, type Client } from '../peers/client.ts';

/** The reads of a measurement. */
export interface Reads {
  /** In milliseconds. */
  latencies: number[];
}

/** The rate of the reads, which does not depend on their latency. */
const readsPerSecond = 100;

/**
 * Reads a connection at a fixed rate, without waiting for responses, until a time or a signal.
 *
 * @throws if a response is not the connection
 */
export async function readAtRate(
  pool: Pool,
  client: Client,
  id: string,
  until: { seconds: number } | { signal: AbortSignal },
): Promise<Reads> {
  const { path, method, body = '' } = buildRequest(client.dialect, 'read', id);
  const latencies: number[] = [];
  const readOnce = async () => {
    const sent = performance.now();
    const response = await pool.request({ path, method, headers: client.headers, body });
    const text = await response.body.text();
    latencies.push(performance.now() - sent);
    if (!text.includes(id)) throw new Error(`a read was not answered: ${text}`);
  };
  const start = performance.now();
  const all: Promise<void>[] = [];
  const isOver = (index: number) =>
    'signal' in until ? until.signal.aborted : index >= readsPerSecond * until.seconds;
  for (let index = 0; !isOver(index); index += 1) {
    await sleep(Math.max(0, start + (index * 1_000) / readsPerSecond - performance.now()));
    all.push(readOnce());
  }
  await Promise.all(all);
  return { latencies };
}
