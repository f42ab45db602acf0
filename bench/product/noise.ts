/**
 * The load of one organisation while the reads of another one are measured. Runs in a worker thread until the parent
 * posts a message, and posts the number of its responses.
 */
import { randomUUID } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { Pool } from 'undici';
import { encodeEventCursor } from '../../src/audit/event-cursor.ts';
import { generateApiKey } from '../../src/auth/api-keys.ts';

/** The `workerData` of the thread. */
export interface NoiseOptions {
  kind: NoiseKind;
  url: string;
  /** A key with every scope. */
  apiKey: string;
  /** A key with `connections:read` only. */
  readOnlyKey: string;
  /** The host and port of a server that accepts connections and never responds. */
  silentHost: string;
  /** The number of concurrent requests. */
  connections: number;
}

/** A request of the load. */
interface NoisyRequest {
  query: string;
  apiKey?: string;
  /** A text that the response must contain. */
  expected: string;
}

/** Selects a field 15 times, the maximum number of aliases of a document. */
const aliases = (field: (index: number) => string) =>
  Array.from({ length: 15 }, (_, index) => `a${index}: ${field(index)}`).join(' ');
const auditScan = (filter: string) =>
  `{ ${aliases(() => `auditEvents(first: 1, filter: { ${filter} }) { nodes { seq } }`)} }`;

const kinds = {
  'audit scans, one condition': () => ({
    query: auditScan(`subject: "unknown-${randomUUID()}"`),
    expected: '"nodes":[]',
  }),
  'audit scans, two conditions': () => ({
    query: auditScan(`action: VERIFY_CONNECTION, outcome: "OK", projectId: "${randomUUID()}"`),
    expected: '"nodes":[]',
  }),
  refusals: ({ readOnlyKey }) => ({
    query: `mutation { ${aliases(() => `deleteAppConnection(id: "${randomUUID()}") { id }`)} }`,
    apiKey: readOnlyKey,
    expected: 'FORBIDDEN',
  }),
  'subscriptions from the beginning': () => ({
    query: `subscription { appConnectionChanged(after: "${encodeEventCursor('change', 0)}") { eventId appConnection { id name } } }`,
    expected: 'eventId',
  }),
  'hanging hosts': ({ silentHost }) => ({
    query: `mutation { validateOktaCredentials(credentials: { instanceUrl: "http://${silentHost}", apiToken: "any" }) { tokenOwner { id } } }`,
    expected: 'UPSTREAM_UNREACHABLE',
  }),
  'large pages': () => ({
    query: `{ ${aliases(() => 'appConnections(first: 100) { nodes { id name description updatedAt createdAt credentialsHash } }')} }`,
    expected: '"nodes":[{',
  }),
  'sign-in failures': () => ({
    query: '{ viewer { scopes } }',
    apiKey: generateApiKey().reveal(),
    expected: 'UNAUTHENTICATED',
  }),
} satisfies Record<string, (options: NoiseOptions) => NoisyRequest>;

/** A kind of load. */
export type NoiseKind = keyof typeof kinds;

/** Sends requests until it is stopped. */
async function generateNoise(options: NoiseOptions): Promise<void> {
  const stop = new AbortController();
  parentPort?.once('message', () => stop.abort());
  const pool = new Pool(options.url, { connections: options.connections });
  let responseCount = 0;
  const sendOnce = async () => {
    const { query, apiKey, expected } = (kinds[options.kind] as (options: NoiseOptions) => NoisyRequest)(
      options,
    );
    const isSubscription = query.startsWith('subscription');
    const { body } = await pool.request({
      path: '/graphql',
      method: 'POST',
      headers: {
        authorization: `Bearer ${apiKey ?? options.apiKey}`,
        'content-type': 'application/json',
        'user-agent': 'noise',
        ...(isSubscription && { accept: 'text/event-stream' }),
      },
      body: JSON.stringify({ query }),
      signal: stop.signal,
    });
    let text = '';
    for await (const chunk of body) {
      if (isSubscription) responseCount += 1;
      if (text.length < 1_000 || !isSubscription) text += chunk;
    }
    responseCount += 1;
    if (!text.includes(expected)) throw new Error(`${options.kind}: ${text.slice(0, 300)}`);
  };
  const sendUntilStopped = async () => {
    while (!stop.signal.aborted) {
      await sendOnce().catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: options.connections }, sendUntilStopped));
  await pool.destroy();
  parentPort?.postMessage(responseCount);
}

/** All kinds, in the order in which they are measured. */
export const noiseKinds = Object.keys(kinds) as NoiseKind[];

if (parentPort) await generateNoise(workerData);
