import { execFile } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { connect, type SecureVersion, TLSSocket } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { StartupError } from '../src/common/errors.ts';
import { createLog } from '../src/common/log.ts';
import { readConfig } from '../src/config/read-config.ts';
import { createTlsServer, type TlsFiles } from '../src/http/tls.ts';
import { type Certificates, type KeyPair, makeCertificates, trust } from './testkit/certificates.ts';
import { dataFolder } from './testkit/database.ts';
import { errorOfStart } from './testkit/in-process.ts';
import { spawnServer, temporaryFolder } from './testkit/process.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { subscribe } from './testkit/sse-client.ts';

// Some changes are only found by polling, and some tests start processes.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let first: Certificates;
let second: Certificates;
let trusted: Disposable[];
beforeAll(async () => {
  first = await makeCertificates();
  second = await makeCertificates();
  trusted = [trust(first.ca), trust(second.ca)];
});
afterAll(() => {
  for (const each of trusted.reverse()) each[Symbol.dispose]();
});

const fingerprint = ({ cert }: KeyPair) => new X509Certificate(cert).fingerprint256;
const fingerprintIn = (socket: TLSSocket) => socket.getPeerCertificate().fingerprint256;

/** Writes a key pair to a folder, as `tls.crt` and `tls.key`. */
function put(folder: string, { cert, key }: KeyPair): TlsFiles {
  const files = { cert: join(folder, 'tls.crt'), key: join(folder, 'tls.key') };
  writeFileSync(files.cert, cert);
  writeFileSync(files.key, key, { mode: 0o600 });
  return files;
}

/** Performs a TLS handshake over a new connection, without verifying the certificate. */
async function shakeHands({ url }: TestServer, version: SecureVersion = 'TLSv1.3') {
  const socket = connect({
    host: '127.0.0.1',
    port: Number(new URL(url).port),
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
  });
  try {
    await once(socket, 'secureConnect');
    return { fingerprint: fingerprintIn(socket), protocol: socket.getProtocol() };
  } finally {
    socket.destroy();
  }
}

const servedFingerprint = async (server: TestServer) => (await shakeHands(server)).fingerprint;

/** Longer than the polling interval, for changes without a file event. */
const patience = { timeout: 40_000, interval: 50 };

const becomes = (server: TestServer, pair: KeyPair) =>
  expect.poll(() => servedFingerprint(server), patience).toBe(fingerprint(pair));

describe('server with TLS_CERT and TLS_KEY', () => {
  const folder = temporaryFolder();
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ config: { tls: put(folder.path, first.good), host: '0.0.0.0' } });
  });
  afterAll(async () => {
    await server.close();
    folder[Symbol.dispose]();
  });
  const here = () => server.url.replace('0.0.0.0', 'localhost');

  test('serves everything over TLS with the certificate', async () => {
    expect(server.url).toMatch(/^https:\/\/0\.0\.0\.0:\d+$/);
    expect(await servedFingerprint(server)).toBe(fingerprint(first.good));
    expect(await (await fetch(`${here()}/health/ready`)).text()).toBe('ready\n');
    const { apiKey } = await server.newOrganisation();
    const rest = restClient(here(), apiKey);
    await createConnectionOverRest(rest);
    const { headers, text } = await rest('POST', '/graphql', { query: '{ appConnections { totalCount } }' });
    expect(JSON.parse(text)).toEqual({ data: { appConnections: { totalCount: 1 } } });
    expect(headers.get('strict-transport-security')).toBe('max-age=31536000');
  });

  test('serves nothing without TLS', async () => {
    const { text } = await sendRaw(
      server.url.replace('https', 'http'),
      'GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n',
    );
    expect(text).not.toContain('HTTP/1.1');
    expect(server.logs()).not.toContain('"level":"error"');
  });

  test('supports TLS 1.2 and 1.3 and nothing older', async () => {
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      expect((await shakeHands(server, version)).protocol).toBe(version);
    }
    await expect(shakeHands(server, 'TLSv1.1')).rejects.toMatchObject({
      code: expect.stringMatching(/^ERR_SSL/),
    });
  });

  test('rejects malformed requests as without TLS', async () => {
    const { port } = new URL(server.url);
    const socket = connect({ host: '127.0.0.1', port: Number(port), servername: 'localhost' });
    socket.write('nonsense\r\n\r\n');
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
    socket.destroy();
  });
});

describe('certificate reload without a restart', () => {
  const folder = temporaryFolder();
  const within = (name: string) => join(folder.path, name);
  let server: TestServer;
  let logged: number;
  beforeAll(async () => {
    server = await startTestServer({ config: { tls: put(folder.path, first.good) } });
  });
  afterAll(async () => {
    await server.close();
    folder[Symbol.dispose]();
  });
  beforeEach(async () => {
    put(folder.path, first.good);
    await becomes(server, first.good);
    logged = server.logs().length;
  });
  const complaints = () =>
    server
      .logs()
      .slice(logged)
      .match(/.*kept the current certificate.*/g) ?? [];

  test('applies when both files are renamed into place', async () => {
    mkdirSync(within('new'));
    const { cert, key } = put(within('new'), second.good);
    renameSync(cert, within('tls.crt'));
    renameSync(key, within('tls.key'));
    await becomes(server, second.good);
    expect(server.logs().slice(logged)).toContain('new connections use this certificate');
  });

  test('applies when one file is written after the other, and keeps the old pair until both match', async () => {
    writeFileSync(within('tls.crt'), second.good.cert);
    await expect.poll(complaints, patience).toHaveLength(1);
    expect(complaints()[0]).toContain('TLS_KEY');
    expect(await servedFingerprint(server)).toBe(fingerprint(first.good));
    writeFileSync(within('tls.key'), second.good.key);
    await becomes(server, second.good);
    expect(complaints()).toHaveLength(1);
  });

  test.each<[string, () => void, string]>([
    [
      'half of a certificate',
      () => writeFileSync(within('tls.crt'), first.good.cert.slice(0, 300)),
      'TLS_CERT',
    ],
    ['half of a key', () => writeFileSync(within('tls.key'), first.good.key.slice(0, 100)), 'TLS_KEY'],
    [
      'half of a chain',
      () => {
        const chain = `${second.good.cert.trim()}\n${second.ca.cert.slice(0, 200)}`;
        put(folder.path, { cert: chain, key: second.good.key });
      },
      'TLS_CERT',
    ],
    ['nothing in a file', () => writeFileSync(within('tls.crt'), ''), 'TLS_CERT'],
    ['no file', () => rmSync(within('tls.key')), 'TLS_KEY'],
  ])(
    'does not apply when there is %s, and logs the reason without the content of the files',
    async (_, damage, variable) => {
      damage();
      await expect.poll(() => complaints().join('\n'), patience).toContain(variable);
      expect(await servedFingerprint(server)).toBe(fingerprint(first.good));
      put(folder.path, second.good);
      await becomes(server, second.good);
      expect(server.logs()).not.toMatch(/BEGIN|PRIVATE/);
    },
  );

  test('does not apply in production while everybody may read the key, until its permissions are corrected', async () => {
    using own = temporaryFolder();
    const tls = put(own.path, first.good);
    chmodSync(tls.key, 0o600);
    const production = await startTestServer({ config: { tls, production: true } });
    const refusals = () => production.logs().match(/.*kept the current certificate.*/g) ?? [];
    mkdirSync(join(own.path, 'new'));
    const next = put(join(own.path, 'new'), second.good);
    chmodSync(next.key, 0o644);
    renameSync(next.key, tls.key);
    renameSync(next.cert, tls.cert);
    await expect.poll(() => refusals().join('\n'), patience).toContain('every user can read it');
    expect(await servedFingerprint(production)).toBe(fingerprint(first.good));
    chmodSync(tls.key, 0o600);
    await becomes(production, second.good);
    expect(refusals().filter((line) => line.includes('every user can read it'))).toHaveLength(1);
    await production.close();
  });

  test('does not disturb open connections', async () => {
    const { apiKey } = await server.newOrganisation();
    await using subscription = await subscribe(
      server.graphqlUrl,
      apiKey,
      'subscription { appConnectionChanged { kind } }',
    );
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const kept = async () => {
      const asked = request(`${server.url}/health/live`, { agent }).end();
      const [response] = await once(asked, 'response');
      const { socket } = asked;
      await response.toArray();
      return socket instanceof TLSSocket ? [socket.localPort, fingerprintIn(socket)] : [];
    };
    const before = await kept();
    expect(before[1]).toBe(fingerprint(first.good));

    put(folder.path, second.good);
    await becomes(server, second.good);

    expect(await kept()).toEqual(before);
    agent.destroy();
    await createConnectionOverRest(restClient(server.url, apiKey));
    expect(await subscription.next()).toEqual({ data: { appConnectionChanged: { kind: 'CREATED' } } });
  });
});

test('certificate reload follows a swapped symbolic link, as in Kubernetes, repeatedly', async () => {
  using folder = temporaryFolder();
  const within = (name: string) => join(folder.path, name);
  const swap = (name: string, pair: KeyPair) => {
    mkdirSync(within(name));
    put(within(name), pair);
    symlinkSync(name, within('..data_tmp'));
    renameSync(within('..data_tmp'), within('..data'));
  };
  swap('..2026_01', first.good);
  symlinkSync('..data/tls.crt', within('tls.crt'));
  symlinkSync('..data/tls.key', within('tls.key'));
  const server = await startTestServer({
    config: { tls: { cert: within('tls.crt'), key: within('tls.key') } },
  });
  for (const [name, pair] of [
    ['..2026_02', second.good],
    ['..2026_03', first.selfSigned],
    ['..2026_04', first.good],
  ] as const) {
    swap(name, pair);
    await becomes(server, pair);
  }
  await server.close();
});

test('certificate reload follows a swapped directory, for which there is no file event', async () => {
  using folder = temporaryFolder();
  const within = (name: string) => join(folder.path, name);
  const swap = (name: string, pair: KeyPair) => {
    mkdirSync(within(name));
    put(within(name), pair);
    symlinkSync(name, within('next'));
    renameSync(within('next'), within('current'));
  };
  swap('old', first.good);
  const files = { cert: within('current/tls.crt'), key: within('current/tls.key') };
  const server = await startTestServer({ config: { tls: files } });
  swap('new', second.good);
  await becomes(server, second.good);
  await server.close();
});

describe('server start with TLS', () => {
  test('prints its https URL and a command that works', async () => {
    using folder = temporaryFolder();
    using data = dataFolder();
    const { cert, key } = put(folder.path, first.selfSigned);
    await using server = spawnServer({ DATA_DIR: data.path, TLS_CERT: cert, TLS_KEY: key });
    const url = await server.ready();
    expect(url).toMatch(/^https:/);
    expect(server.stdout()).toContain(`GraphiQL   ${url}/graphql`);
    const command = server.stdout().slice(server.stdout().indexOf('curl '));
    const { stdout } = await promisify(execFile)('sh', ['-c', command], { env: { PATH: process.env.PATH } });
    expect(JSON.parse(stdout)).toHaveProperty('data.createOktaConnection.appConnection.id');
    server.kill('SIGTERM');
    expect(await server.ended()).toEqual({ code: 0, signal: null });
  });

  test('requires both variables or neither', () => {
    expect(readConfig({}).tls).toBeUndefined();
    for (const variables of [{ TLS_CERT: 'a' }, { TLS_KEY: 'a' }]) {
      expect(() => readConfig(variables)).toThrow(/^TLS_CERT and TLS_KEY must be set together/);
    }
  });

  test.each<[string, (folder: string) => TlsFiles, RegExp]>([
    [
      'the certificate is not there',
      (folder) => ({ ...put(folder, first.good), cert: join(folder, 'nowhere') }),
      /^TLS_CERT \S+nowhere: cannot be read \(ENOENT\)$/,
    ],
    [
      'the key is a directory',
      (folder) => ({ ...put(folder, first.good), key: folder }),
      /^TLS_KEY \S+: is a folder, a pipe or a device; name a regular file$/,
    ],
    [
      'the certificate is something else',
      (folder) => put(folder, { ...first.good, cert: first.good.key }),
      /^TLS_CERT \S+: is not a certificate/,
    ],
    [
      'the key is something else',
      (folder) => put(folder, { ...first.good, key: first.good.cert }),
      /^TLS_KEY \S+: is not a private key/,
    ],
    [
      'the key needs a passphrase',
      (folder) => put(folder, { ...first.good, key: withPassphrase(first.good.key) }),
      /^TLS_KEY \S+: is not a private key/,
    ],
  ])('fails when %s, without printing the content of the files', async (_, filesIn, message) => {
    using folder = temporaryFolder();
    const serve = () => createTlsServer(filesIn(folder.path), {}, createLog('silent'), () => {});
    expect(serve).toThrow(StartupError);
    expect(serve).toThrow(message);
    expect(serve).not.toThrow(/BEGIN|[A-Za-z0-9+/]{40}/);
  });

  test('fails with one line when the key belongs to another certificate', async () => {
    using folder = temporaryFolder();
    using data = dataFolder();
    const { cert, key } = put(folder.path, { ...first.good, key: second.good.key });
    const line = await errorOfStart({ DATA_DIR: data.path, TLS_CERT: cert, TLS_KEY: key });
    expect(line).toContain(`TLS_KEY ${key}: does not belong to the certificate in TLS_CERT`);
  });
});

function withPassphrase(key: string): string {
  const encryption = { cipher: 'aes-256-cbc', passphrase: 'passphrase' };
  return createPrivateKey(key)
    .export({ type: 'pkcs8', format: 'pem', ...encryption })
    .toString();
}
