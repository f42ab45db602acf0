/** What one organisation does while another one reads; runs in a thread of its own, until it is told to stop. */
import { randomUUID } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { Pool } from 'undici';
import { encodeEventCursor } from '../../src/audit/event-cursor.ts';
import { generateApiKey } from '../../src/auth/api-keys.ts';

/** What a thread of noise is given. */
export interface NoiseOptions {
  kind: NoiseKind;
  url: string;
  /** With every scope. */
  apiKey: string;
  /** With `connections:read` alone. */
  readOnlyKey: string;
  /** A host that accepts connections and never answers. */
  silentHost: string;
}

/** One request of the noise. */
interface NoisyRequest {
  query: string;
  apiKey?: string;
  /** What each answer has in it. */
  expected: string;
}

/** As many connections as the other parts have. */
const connections = 16;
/** As many aliases as one request may have. */
const aliases = (field: (index: number) => string) =>
  Array.from({ length: 15 }, (_, index) => `a${index}: ${field(index)}`).join(' ');
const auditScan = (filter: string) =>
  `{ ${aliases(() => `auditEvents(first: 1, filter: { ${filter} }) { nodes { seq } }`)} }`;

const kinds = {
  'audit scans, one condition': () => ({
    query: auditScan(`subject: "nobody-${randomUUID()}"`),
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

/** What one organisation can do while another one reads. */
export type NoiseKind = keyof typeof kinds;

/** Sends requests over and over, and counts the answers. */
async function makeNoise(options: NoiseOptions): Promise<void> {
  const stop = new AbortController();
  parentPort?.once('message', () => stop.abort());
  const pool = new Pool(options.url, { connections });
  let answers = 0;
  const askOnce = async () => {
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
      if (isSubscription) answers += 1;
      if (text.length < 1_000 || !isSubscription) text += chunk;
    }
    answers += 1;
    if (!text.includes(expected)) throw new Error(`${options.kind}: ${text.slice(0, 300)}`);
  };
  const askUntilStopped = async () => {
    while (!stop.signal.aborted) {
      await askOnce().catch((error: unknown) => {
        if (!stop.signal.aborted) throw error;
      });
    }
  };
  await Promise.all(Array.from({ length: connections }, askUntilStopped));
  await pool.destroy();
  parentPort?.postMessage(answers);
}

/** All of them, in the order in which they are measured. */
export const noiseKinds = Object.keys(kinds) as NoiseKind[];

if (parentPort) await makeNoise(workerData);
