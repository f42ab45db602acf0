import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import http, { type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Checkpoint, isAuthenticCheckpoint, parseCheckpoints } from '../src/audit/checkpoint-file.ts';
import { startCheckpoints } from '../src/audit/checkpoints.ts';
import { StartupError } from '../src/common/errors.ts';
import { createLog } from '../src/common/log.ts';
import { Secret } from '../src/common/secret.ts';
import { type CheckpointReceiver, openCheckpointReceiver } from '../src/config/checkpoint-receiver.ts';
import { readConfig } from '../src/config/read-config.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { temporaryFolder } from './testkit/process.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 60_000 });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** A request to the receiver. */
interface Received {
  method: string | undefined;
  path: string | undefined;
  headers: IncomingHttpHeaders;
  checkpoints: Checkpoint[];
}

/** Starts a local receiver that answers with a fixed status. */
async function startReceiver(): Promise<
  AsyncDisposable & { url: string; received: Received[]; answerWith(status: number): void }
> {
  const received: Received[] = [];
  let responseStatus = 204;
  const receiver = http.createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { method, url: path, headers } = request;
    received.push({ method, path, headers, checkpoints: parseCheckpoints(Buffer.concat(chunks).toString()) });
    response.writeHead(responseStatus, { location: '/elsewhere' }).end();
  });
  receiver.listen(0, '127.0.0.1');
  await once(receiver, 'listening');
  return {
    url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/checkpoints?from=here`,
    received,
    answerWith: (status) => {
      responseStatus = status;
    },
    [Symbol.asyncDispose]: async () => {
      receiver.closeAllConnections();
      receiver.close();
    },
  };
}

const noProxy = { outboundProxy: undefined, outboundProxyResolves: false };

/** Starts the checkpoint writer without its timer; the test calls `write`. */
function startWriter(options: Partial<CheckpointReceiver> & { url: string }) {
  const lines: string[] = [];
  const out = new Writable({
    write(chunk, _encoding, done) {
      lines.push(String(chunk));
      done();
    },
  });
  const { database, vault } = server;
  const receiver = openCheckpointReceiver({ token: undefined, tokenFile: undefined, ...options }, noProxy);
  const checkpoints = startCheckpoints({ database, vault, log: createLog('info', out) }, { receiver });
  const about = (text: string) => lines.filter((line) => line.includes(text));
  return { ...checkpoints, log: () => lines.join(''), about };
}

const failed = 'could not be sent to AUDIT_CHECKPOINT_URL';

describe('delivery of audit checkpoints', () => {
  it('sends the signed newest hash of each trail with the token when the server stops', async () => {
    await using receiver = await startReceiver();
    const token = new Secret('a-token-for-checkpoints');
    const auditCheckpointReceiver = { url: receiver.url, token, tokenFile: undefined };
    const own = await startTestServer({ config: { auditCheckpointReceiver } });
    const { client, orgId } = await own.newOrganisation();
    await client.request(createMutation, okta());
    const macs = await own.vault.rowMacs(own.asOwner());
    await own.close();
    const [request] = receiver.received;
    expect(request).toMatchObject({
      ...{ method: 'POST', path: '/checkpoints?from=here' },
      headers: { authorization: `Bearer ${token.reveal()}`, 'content-type': 'application/x-ndjson' },
    });
    const sent = request?.checkpoints ?? [];
    expect(sent.find((checkpoint) => checkpoint.orgId === orgId)?.seq).toBe(1);
    expect(sent.every((checkpoint) => isAuthenticCheckpoint(macs, checkpoint))).toBe(true);
    expect(parseCheckpoints(own.logs())).toEqual(sent);
    expect(own.logs()).not.toContain(token.reveal());
  });
});

describe('a failing checkpoint receiver', () => {
  it.each<[string, number]>([
    ['answers with 500', 500],
    ['answers with 401', 401],
    ['redirects', 307],
  ])('causes one log message and gets the missed checkpoints when it recovers: it %s', async (_, status) => {
    await using receiver = await startReceiver();
    receiver.answerWith(status);
    const { client, orgId } = await server.newOrganisation();
    const checkpoints = startWriter({ url: receiver.url });
    // The writer learns of a change when its notification arrives, which can be after the response.
    const createConnection = async (name: string) => {
      const notification = Promise.withResolvers<void>();
      const stopWatching = server.database.changes.watch((changed) => {
        if (changed === undefined || changed === orgId) notification.resolve();
      });
      await client.request(createMutation, okta({ name }));
      await notification.promise;
      stopWatching();
    };
    await createConnection('first');
    await checkpoints.write();
    await checkpoints.write();
    await createConnection('second');
    await checkpoints.write();
    expect(checkpoints.about(failed)).toHaveLength(1);
    expect(checkpoints.about(`it answered with status ${status}`)).toHaveLength(1);
    expect(receiver.received).toHaveLength(3);

    receiver.answerWith(200);
    await checkpoints.write();
    const caughtUp = receiver.received.at(-1)?.checkpoints ?? [];
    expect(caughtUp.filter((checkpoint) => checkpoint.orgId === orgId).map(({ seq }) => seq)).toEqual([2]);
    expect(checkpoints.about('takes audit checkpoints again')).toHaveLength(1);
    await checkpoints.write();
    expect(receiver.received).toHaveLength(4);

    receiver.answerWith(status);
    await createConnection('third');
    await checkpoints.close();
    expect(checkpoints.about(failed)).toHaveLength(2);
  });

  it('that is down stops neither the checkpoints in the log nor the server', async () => {
    const receiver = await startReceiver();
    await receiver[Symbol.asyncDispose]();
    const { client, orgId } = await server.newOrganisation();
    await client.request(createMutation, okta());
    const checkpoints = startWriter({ url: receiver.url });
    await checkpoints.close();
    expect(checkpoints.about(failed)).toHaveLength(1);
    expect(parseCheckpoints(checkpoints.log()).map((checkpoint) => checkpoint.orgId)).toContain(orgId);
  });
});

describe('the checkpoint token file', () => {
  it('is read for each delivery, and does not stop a running server when unreadable', async () => {
    using folder = temporaryFolder();
    await using receiver = await startReceiver();
    const { client } = await server.newOrganisation();
    const tokenFile = join(folder.path, 'token');
    writeFileSync(tokenFile, 'first-token\n');
    const checkpoints = startWriter({ url: receiver.url, tokenFile });
    const change = (name: string) => client.request(createMutation, okta({ name }));
    await checkpoints.write();
    writeFileSync(tokenFile, 'second-token');
    await change('b');
    await checkpoints.write();
    writeFileSync(tokenFile, 'two words');
    await change('c');
    await checkpoints.close();
    expect(receiver.received.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer first-token',
      'Bearer second-token',
    ]);
    expect(checkpoints.about('it does not contain a valid bearer token')).toHaveLength(1);
    expect(checkpoints.log()).not.toContain('two words');
    expect(() => startWriter({ url: receiver.url, tokenFile: join(folder.path, 'none') })).toThrow(
      StartupError,
    );
  });
});

describe('the checkpoint settings', () => {
  it.each([
    [{ AUDIT_CHECKPOINT_URL: 'ftp://audit.example' }, 'AUDIT_CHECKPOINT_URL must be an https:// URL'],
    [
      { AUDIT_CHECKPOINT_URL: 'https://user:hidden@audit.example' },
      'AUDIT_CHECKPOINT_URL must be a URL without',
    ],
    [{ AUDIT_CHECKPOINT_TOKEN: 'hidden' }, 'AUDIT_CHECKPOINT_TOKEN needs AUDIT_CHECKPOINT_URL'],
    [{ AUDIT_CHECKPOINT_TOKEN_FILE: '/hidden' }, 'AUDIT_CHECKPOINT_TOKEN_FILE needs AUDIT_CHECKPOINT_URL'],
    [
      { AUDIT_CHECKPOINT_URL: 'https://audit.example', AUDIT_CHECKPOINT_TOKEN: 'hid den' },
      'AUDIT_CHECKPOINT_TOKEN must be a bearer token',
    ],
    [
      {
        AUDIT_CHECKPOINT_URL: 'https://audit.example',
        ...{ AUDIT_CHECKPOINT_TOKEN: 'hidden', AUDIT_CHECKPOINT_TOKEN_FILE: '/hidden' },
      },
      'AUDIT_CHECKPOINT_TOKEN and AUDIT_CHECKPOINT_TOKEN_FILE exclude each other',
    ],
    [
      {
        ...{ NODE_ENV: 'production', DATABASE_URL: 'postgresql://db.example/app', ENCRYPTION_KEYS: 'x' },
        AUDIT_CHECKPOINT_URL: 'http://audit.example',
      },
      'AUDIT_CHECKPOINT_URL must start with https:// when NODE_ENV=production',
    ],
  ])('%o is rejected at the start, without its values in the error', (variables, message) => {
    expect(() => readConfig(variables as Record<string, string>)).toThrow(StartupError);
    expect(() => readConfig(variables as Record<string, string>)).toThrow(message);
    expect(() => readConfig(variables as Record<string, string>)).not.toThrow(/hidden|hid den/);
  });
});
