import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Certificates, makeCertificates, trust } from './testkit/certificates.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

const MiB = 1024 * 1024;
let folder: string;
let certificates: Certificates;
let trusted: Disposable;
const servers: Partial<Record<string, TestServer>> = {};
const keys: Partial<Record<string, string>> = {};
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'app-connections-'));
  certificates = await makeCertificates();
  trusted = trust(certificates.ca);
  const tls = { cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
  writeFileSync(tls.cert, certificates.good.cert);
  writeFileSync(tls.key, certificates.good.key);
  writeFileSync(join(folder, 'ca.pem'), certificates.ca.cert);
  servers.HTTP = await startTestServer();
  servers.TLS = await startTestServer({ config: { tls } });
  for (const [over, server] of Object.entries(servers)) {
    keys[over] = (await server?.newOrganisation())?.apiKey;
  }
});
afterAll(async () => {
  await servers.TLS?.close();
  await servers.HTTP?.close();
  trusted[Symbol.dispose]();
  rmSync(folder, { recursive: true });
});

interface Answer {
  status: number | undefined;
  text: string;
}
type Headers = Record<string, string>;
type Upload = (url: string, headers: Headers, size: number) => Promise<Answer>;

/** A client that sends as fast as possible, and reads the response once it has sent everything or is blocked. */
function sendWhole(options: { isChunked?: boolean; keepAlive?: boolean } = {}): Upload {
  return async (url, headers, size) => {
    const { Agent, request } = url.startsWith('https') ? https : http;
    const agent = new Agent({ keepAlive: options.keepAlive ?? false });
    const length = options.isChunked ? {} : { 'content-length': size };
    const sending = request(url, { agent, method: 'POST', headers: { ...headers, ...length } });
    const answer = new Promise<Answer>((resolve, reject) => {
      sending.once('error', reject).once('response', (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => {
          text += part;
        });
        response.once('error', reject).once('end', () => resolve({ status: response.statusCode, text }));
      });
    });
    const chunk = Buffer.alloc(64 * 1024, 0x20);
    let left = size;
    const send = () => {
      while (left > 0) {
        const next = chunk.subarray(0, left);
        left -= next.length;
        if (!sending.write(next)) return void sending.once('drain', send);
      }
      sending.end();
    };
    send();
    return answer.finally(() => agent.destroy());
  };
}

/** A simple client that reads only after it has sent everything, so that an early close is an error. */
const sendBeforeReading: Upload = async (url, headers, size) => {
  const { protocol, hostname, port, pathname } = new URL(url);
  const options = { host: hostname, port: Number(port), allowHalfOpen: true };
  const socket =
    protocol === 'https:' ? tlsConnect({ ...options, servername: 'localhost' }) : connect(options);
  const failed = new Promise<never>((_, reject) => socket.once('error', reject));
  const send = (bytes: string | Buffer) =>
    Promise.race([failed, new Promise<void>((resolve) => socket.write(bytes, () => resolve()))]);
  const lines = Object.entries({
    ...headers,
    host: 'localhost',
    connection: 'close',
    'content-length': size,
  });
  await send(
    `POST ${pathname} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
  );
  const chunk = Buffer.alloc(64 * 1024, 0x20);
  for (let left = size; left > 0; left -= chunk.length) await send(chunk.subarray(0, left));
  let answer = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    answer += part;
  });
  await Promise.race([failed, new Promise((resolve) => socket.once('end', resolve))]);
  socket.destroy();
  const [, status, text = ''] = /^HTTP\/1.1 (\d+) .*?\r\n\r\n(.*)$/s.exec(answer) ?? [];
  return { status: Number(status), text };
};

const withFetch: Upload = async (url, headers, size) => {
  const response = await fetch(url, { method: 'POST', headers, body: Buffer.alloc(size, 0x20) });
  return { status: response.status, text: await response.text() };
};

const withCurl: Upload = (url, headers, size) =>
  new Promise((resolve, reject) => {
    const given = Object.entries(headers).flatMap(([name, value]) => ['--header', `${name}: ${value}`]);
    const options = ['--silent', '--show-error', '--cacert', join(folder, 'ca.pem'), ...given];
    const curl = execFile(
      'curl',
      [...options, '--write-out', '\n%{http_code}', '--data-binary', '@-', url],
      (error, stdout) => {
        if (error) return reject(error);
        const [, text = '', status] = /^(.*)\n(\d+)$/s.exec(stdout) ?? [];
        resolve({ status: Number(status), text });
      },
    );
    // curl stops sending once it has a response.
    curl.stdin?.on('error', () => {}).end(Buffer.alloc(size, 0x20));
  });

const clients: [string, Upload][] = [
  ['node:http', sendWhole()],
  ['node:http in chunks', sendWhole({ isChunked: true })],
  ['node:http with keep-alive', sendWhole({ keepAlive: true })],
  ['a client that sends all before it reads', sendBeforeReading],
  ['fetch', withFetch],
  ['curl', withCurl],
];

const json = { 'content-type': 'application/json' };
const signedIn = (over: string) => ({ authorization: `Bearer ${keys[over]}` });
const refusals: [string, number, string, (over: string) => Headers][] = [
  ['GraphQL', 413, '/graphql', (over) => ({ ...json, ...signedIn(over) })],
  ['REST', 413, '/api/v1/app-connections/okta', (over) => ({ ...json, ...signedIn(over) })],
  ['REST', 401, '/api/v1/app-connections/okta', () => ({ ...json, authorization: 'Bearer unknown-key' })],
  ['GraphQL', 415, '/graphql', (over) => ({ 'content-type': 'application/octet-stream', ...signedIn(over) })],
  ['no route', 404, '/upload', () => json],
];

/** From less than a socket buffer to more than all buffers. */
const sizes = times > 1 ? [200_000, 2 * MiB, 8 * MiB, 20 * MiB] : [200_000, 20 * MiB];

describe.each(['HTTP', 'TLS'])('refused upload over %s:', (over) => {
  describe.each(clients)('%s reads the response', (_, upload) => {
    test.each(refusals)('for %s: %i', async (_, status, path, headers) => {
      for (const size of sizes) {
        const answer = await upload(new URL(path, servers[over]?.url).href, headers(over), size);
        expect([size, answer.status]).toEqual([size, status]);
        expect(answer.text).not.toBe('');
        if (status === 413) expect(answer.text).toContain('The body is larger than 100000 bytes.');
      }
    });
  });
});

test('connection is reused for the next request after a refused upload was read completely', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set<number | undefined>();
  for (const size of [2 * MiB, 0, 2 * MiB, 0]) {
    const sending = http.request(`${servers.HTTP?.url}/${size ? 'upload' : 'health/live'}`, {
      agent,
      method: size ? 'POST' : 'GET',
    });
    sending.end(Buffer.alloc(size));
    const [response] = await once(sending, 'response');
    expect(response.statusCode).toBe(size ? 404 : 200);
    await once(response.resume(), 'end');
    ports.add(sending.socket?.localPort);
  }
  agent.destroy();
  expect(ports.size).toBe(1);
});

/** Sends until the server closes the connection, and returns the number of bytes sent and the response. */
async function sendForEver(head: string, chunk: string): Promise<{ sent: number; text: string }> {
  const { hostname, port } = new URL(servers.HTTP?.url ?? '');
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  let text = '';
  socket.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  socket.on('error', () => {});
  let isClosed = false;
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      isClosed = true;
      resolve();
    });
  });
  socket.write(head);
  while (!isClosed) {
    if (!socket.write(chunk)) await Promise.race([closed, new Promise((on) => socket.once('drain', on))]);
  }
  return { sent: socket.bytesWritten, text };
}

describe('client that continues to send after a refusal', () => {
  const chunk = ' '.repeat(64 * 1024);
  const post = (path: string, length: string) =>
    `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${length}\r\n\r\n`;

  test.each([
    [
      'a length of 1 TB',
      () => post('/graphql', `Authorization: Bearer ${keys.HTTP}\r\nContent-Length: ${2 ** 40}`),
      413,
    ],
    ['a length of 1 TB and no credential', () => post('/graphql', `Content-Length: ${2 ** 40}`), 401],
    ['a length of 1 TB where nothing is', () => post('/upload', `Content-Length: ${2 ** 40}`), 404],
    ['headers without end', () => 'GET / HTTP/1.1\r\nHost: localhost\r\nX: ', 431],
  ])(
    'gets the response with %s, and is disconnected after a limited number of bytes',
    async (_, head, status) => {
      const { sent, text } = await sendForEver(head(), chunk.replaceAll(' ', 'x'));
      expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(sent).toBeGreaterThan(MiB);
      // Plus the socket buffers of both sides.
      expect(sent).toBeLessThan(64 * MiB);
    },
  );

  test('is disconnected early when it sends chunks of one byte', async () => {
    const head = post('/upload', 'Transfer-Encoding: chunked');
    const { sent, text } = await sendForEver(head, '1\r\nx\r\n'.repeat(10_000));
    expect(text).toMatch(/^HTTP\/1.1 404 /);
    // 32 MiB of such chunks would have 192 MiB on the wire.
    expect(sent).toBeLessThan(10 * MiB);
  });

  test('occupies at most 64 connections, without delaying later requests', async () => {
    const { hostname, port } = new URL(servers.HTTP?.url ?? '');
    let closed = 0;
    const refused = Array.from({ length: 100 }, async () => {
      const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
      socket
        .on('error', () => {})
        .on('close', () => {
          closed += 1;
        });
      socket.write(post('/graphql', 'Content-Length: 200000') + chunk);
      await once(socket.resume(), 'end');
      return socket;
    });
    const sockets = await Promise.all(refused);
    const response = await fetch(`${servers.HTTP?.url}/health/live`);
    expect(response.status).toBe(200);
    // A client that continues to send is disconnected; an idle one has 5 s.
    const count = () => {
      for (const socket of sockets) socket.write(' ');
      return closed;
    };
    await expect.poll(count).toBeGreaterThanOrEqual(36);
    for (const socket of sockets) socket.destroy();
  });
});
