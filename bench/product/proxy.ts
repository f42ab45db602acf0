import { sendOperation } from '../peers/client.ts';
import type { Fixture, Running } from '../peers/fixture.ts';
import { connections } from '../peers/load.ts';
import { type Started, start } from '../peers/processes.ts';
import { buildRequests, measureInTurns, measureRound, type Round, type Rounds } from '../peers/rounds.ts';
import {
  cpuSecondsPer1000,
  formatQuartiles,
  latencyQuantile,
  median,
  ratiosPerRound,
  table,
} from '../peers/summary.ts';

const downloads = 100;
const downloadMiB = 100;
const hanging = 64;

/**
 * Measures requests through the proxy: small ones beside other proxies that check nothing, large responses at once, and
 * reads of the API while requests through the proxy hang.
 */
export async function measureProxy(fixture: Fixture, options: Rounds): Promise<string> {
  await using okta = await start(new URL('servers/fast-okta.ts', import.meta.url));
  const OKTA_URL = okta.url;
  await using replyFrom = await start('reply-from.ts', { OKTA_URL });
  await using httpProxy = await start('http-proxy.ts', { OKTA_URL });
  const environment = { ...fixture.settings, TRUSTED_INSTANCE_HOSTS: new URL(okta.url).host };
  await using server = await fixture.serve('product', await fixture.databases.copy('proxy'), { environment });
  const { id } = await sendOperation(server, 'create', {
    name: 'through-the-proxy',
    description: 'For requests through the proxy.',
    credentials: { instanceUrl: okta.url, apiToken: '00QCjAl4MlV-WPXM_A5B6C7D8E9F0GhIjKlMnOpQrS' },
  });
  const proxied = `/api/v1/app-connections/okta/${id}/proxy`;
  const peer = (name: string, started: Started) => ({ ...server, ...started, name });
  const sides = [
    { server: peer('the stand-in itself', okta), path: '/api/v1/users/me' },
    { server: peer('@fastify/reply-from', replyFrom), path: '/api/v1/users/me' },
    { server: peer('http-proxy', httpProxy), path: '/api/v1/users/me' },
    { server, path: `${proxied}/api/v1/users/me` },
  ];
  return [
    await measureSmall(sides, options),
    await measureDownloads(server, `${proxied}/api/v1/bytes/${downloadMiB * 1_024 * 1_024}`),
    await measureReads(fixture, server, `${proxied}/api/v1/silence`, options),
  ].join('\n\n');
}

type Side = { server: Parameters<typeof measureRound>[0]; path: string };

async function measureSmall(sides: readonly Side[], options: Rounds): Promise<string> {
  const measurements = sides.map(({ server, path }) => {
    const requests = [{ method: 'GET' as const, path }];
    return [server.name, (seconds: number) => measureRound(server, { seconds }, requests)] as const;
  });
  const results = await measureInTurns(new Map(measurements), options);
  const product = results.get('product') ?? [];
  const direct = results.get('the stand-in itself') ?? [];
  const targets: Record<string, string> = { '@fastify/reply-from': '≥ 0.8', 'http-proxy': '≥ 1.5' };
  const added = (share: number) =>
    (latencyQuantile(share, ...product) - latencyQuantile(share, ...direct)).toFixed(2);
  const compared = (rounds: Round[]) => [
    formatQuartiles(ratiosPerRound(product, rounds, ({ perSecond }) => perSecond)),
    formatQuartiles(ratiosPerRound(rounds, product, cpuSecondsPer1000)),
  ];
  return [
    table(
      [
        'GET of 2 KiB',
        'requests/s',
        'p50 ms',
        'p99 ms',
        'CPU s per 1,000',
        'product ÷ it',
        'by CPU',
        'target',
      ],
      [...results].map(([name, rounds]) => [
        name,
        median(rounds.map(({ perSecond }) => perSecond)).toFixed(0),
        latencyQuantile(0.5, ...rounds).toFixed(2),
        latencyQuantile(0.99, ...rounds).toFixed(2),
        median(rounds.map(cpuSecondsPer1000)).toFixed(3),
        ...(name === 'product' ? ['', ''] : compared(rounds)),
        targets[name] ?? '',
      ]),
    ),
    `Added to the stand-in itself: p50 ${added(0.5)} ms (target < 1.5), p99 ${added(0.99)} ms (target < 5).`,
  ].join('\n\n');
}

async function measureDownloads(server: Running<string>, path: string): Promise<string> {
  const before = server.residentMiB();
  let peak = before;
  const sampling = setInterval(() => {
    peak = Math.max(peak, server.residentMiB());
  }, 50);
  const started = performance.now();
  const download = async () => {
    const response = await fetch(server.url + path, { headers: server.headers });
    let bytes = 0;
    for await (const chunk of response.body ?? []) bytes += chunk.length;
    return bytes;
  };
  const lengths = await Promise.all(Array.from({ length: downloads }, download)).finally(() => {
    clearInterval(sampling);
  });
  const seconds = (performance.now() - started) / 1_000;
  if (lengths.some((length) => length !== downloadMiB * 1_024 * 1_024))
    throw new Error('a download was cut off');
  return table(
    ['downloads at once', 'MiB/s', 'resident MiB before', 'at most', 'more', 'target'],
    [
      [
        `${downloads} of ${downloadMiB} MiB`,
        ((downloads * downloadMiB) / seconds).toFixed(0),
        before.toFixed(0),
        peak.toFixed(0),
        (peak - before).toFixed(0),
        '< 100',
      ],
    ],
  );
}

async function measureReads(
  fixture: Fixture,
  server: Running<string>,
  path: string,
  options: Rounds,
): Promise<string> {
  const requests = buildRequests(fixture, server.dialect, 'read');
  const alone = (seconds: number) => measureRound(server, { seconds }, requests);
  const crowded = async (seconds: number) => {
    const ending = new AbortController();
    const waiting = Array.from({ length: hanging }, () =>
      fetch(server.url + path, { headers: server.headers, signal: ending.signal }).then(
        ({ status }) => {
          throw new Error(`a request that was to hang was answered with ${status}`);
        },
        () => undefined,
      ),
    );
    const round = await alone(seconds);
    ending.abort();
    await Promise.all(waiting);
    return round;
  };
  const beside = `beside ${hanging} requests through the proxy that hang`;
  const results = await measureInTurns(
    new Map([
      ['alone', alone],
      [beside, crowded],
    ]),
    options,
  );
  const p99 = (round: Round) => latencyQuantile(0.99, round);
  const [without, during] = [results.get('alone') ?? [], results.get(beside) ?? []];
  return table(
    [`read one by id over ${connections} connections`, 'p50 ms', 'p99 ms', 'p99 ÷ alone', 'target'],
    [...results].map(([name, rounds]) => [
      name,
      latencyQuantile(0.5, ...rounds).toFixed(1),
      latencyQuantile(0.99, ...rounds).toFixed(1),
      name === beside ? formatQuartiles(ratiosPerRound(during, without, p99)) : '',
      name === beside ? '≤ 1.5' : '',
    ]),
  );
}
