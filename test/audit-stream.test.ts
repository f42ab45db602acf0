import { once } from 'node:events';
import { appendFileSync, mkdirSync, readFileSync, renameSync, statSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { appendEvents, serverActor } from '../src/audit/hash-chain.ts';
import type { AuditStreamTarget } from '../src/audit/stream-destination.ts';
import { appendToFile } from '../src/audit/stream-file.ts';
import { checkAuditStream } from '../src/cli/doctor/check-audit-stream.ts';
import { readConfig } from '../src/config/read-config.ts';
import { unattributedOrgId } from '../src/identity/organisations.ts';
import { makeCertificates, trust } from './testkit/certificates.ts';
import { createConnection } from './testkit/operations.ts';
import { temporaryFolder, until } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { type StreamedEvent, startSyslogReceiver } from './testkit/syslog-receiver.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const token = '00planted-in-a-streamed-trail';
const failed = 'audit events could not be delivered to AUDIT_STREAM';
const recovered = 'AUDIT_STREAM takes audit events again';

/** It has the database, and streams nothing itself. */
let base: TestServer;
let stack: AsyncDisposableStack;
beforeAll(async () => {
  base = await startTestServer();
});
beforeEach(async () => {
  // Servers are closed before receivers.
  stack = new AsyncDisposableStack();
  await base.asOwner().execute('delete from audit_stream');
});
afterEach(() => stack.disposeAsync());
afterAll(() => base.close());

/** Starts a server on the same database that streams. The embedded database belongs to one server, so it is shared. */
async function startStream(auditStream: AuditStreamTarget, streamIntervalMs = 20): Promise<TestServer> {
  const server = await startTestServer({
    beside: base,
    database: base.database,
    streamIntervalMs,
    config: { auditStream, metrics: { host: '127.0.0.1', port: 0, token: undefined } },
  });
  stack.defer(() => server.close());
  return server;
}

const linesOf = (server: TestServer, text: string) =>
  server
    .logs()
    .split('\n')
    .filter((line) => line.includes(text));

async function createNamed(organisation: TestOrganisation, ...names: string[]): Promise<void> {
  for (const name of names) await createConnection(organisation, { name }, { apiToken: token });
}

/** Fills the trail of an organisation. */
async function createEvents({ orgId }: TestOrganisation, count: number): Promise<void> {
  const event = { ...serverActor, orgId, action: 'SIGN_IN', outcome: 'FORBIDDEN' } as const;
  await base.database
    .forOrganisation(orgId)
    .transactional((em) => appendEvents(em, base, orgId, Array(count).fill(event)));
}

/** Waits until the server knows that it has delivered an event. */
const waitForPosition = ({ orgId }: TestOrganisation, seq: number) =>
  until(`the position is ${seq}`, async () => {
    const positions = base
      .asOwner()
      .execute('select from audit_stream_position where org_id = ? and seq = ?', [orgId, seq]);
    return (await positions).length > 0 || undefined;
  });

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

/** The events of an organisation as `audit export` prints them, without the hash, the oldest first. */
async function readTrail({ orgId, apiKey }: TestOrganisation): Promise<object[]> {
  const { body } = await restClient(base.url, apiKey)('GET', '/api/v1/audit-events');
  const { auditEvents } = body as { auditEvents: object[] };
  return auditEvents.reverse().map((event) => ({ orgId, ...event }));
}

const withoutHash = ({ hash, ...event }: StreamedEvent): object => {
  expect(hash).toMatch(/^\S{20,}$/);
  return event;
};

/** Reads the events of an organisation in a file. */
const readFileEvents = (file: string, orgId: string): StreamedEvent[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
    .filter((event) => event.orgId === orgId);

const waitForFile = (file: string, orgId: string, count: number) =>
  until(`${file} has ${count} events`, () => {
    const events = statSync(file, { throwIfNoEntry: false }) ? readFileEvents(file, orgId) : [];
    return events.length >= count ? events : undefined;
  });

describe('AUDIT_STREAM with syslog+tcp', () => {
  it('sends every event once and in order, as RFC 5424 with octet counting and the JSON of audit export', async () => {
    const receiver = stack.use(await startSyslogReceiver());
    const organisation = await base.newOrganisation();
    await createNamed(organisation, 'a', 'b');
    await startStream(receiver.target);
    await receiver.waitFor(organisation.orgId, 2);
    await createNamed(organisation, 'c');
    expect(await receiver.waitFor(organisation.orgId, 3)).toEqual([1, 2, 3]);
    const own = receiver.events().filter(({ orgId }) => orgId === organisation.orgId);
    expect(own.map(withoutHash)).toEqual(await readTrail(organisation));
    expect(receiver.messages.every((message) => header.test(message))).toBe(true);
    expect(receiver.messages.join()).not.toContain(token);
  });

  it('sends the trail of the server too', async () => {
    const receiver = stack.use(await startSyslogReceiver());
    // A server of another test has sent it.
    await base.asOwner().execute('delete from audit_stream_position where org_id = ?', [unattributedOrgId]);
    await startStream(receiver.target);
    expect(await receiver.waitFor(unattributedOrgId, 1)).toEqual([1]);
  });

  it('does not let a long trail hold up the others', async () => {
    const receiver = stack.use(await startSyslogReceiver());
    const [long, short] = [await base.newOrganisation(), await base.newOrganisation()].sort((one, other) =>
      one.orgId < other.orgId ? -1 : 1,
    );
    if (!long || !short) throw new Error('there are two');
    await createEvents(long, 1_500);
    await createNamed(short, 'a');
    await startStream(receiver.target);
    const seqs = await receiver.waitFor(long.orgId, 1_500);
    expect(seqs).toEqual(upTo(1_500));
    const order = receiver.events().map(({ orgId }) => orgId);
    expect(order.indexOf(short.orgId)).toBeLessThan(order.lastIndexOf(long.orgId) - 1_000);
  });

  it('delivers what happened while the receiver was down, with one line in the log for the outage and one for its end', async () => {
    const first = await startSyslogReceiver();
    const { target } = first;
    const port = target.kind === 'syslog' ? target.port : 0;
    const organisation = await base.newOrganisation();
    const server = await startStream(target);
    await createNamed(organisation, 'a');
    await first.waitFor(organisation.orgId, 1);
    await waitForPosition(organisation, 1);
    await first[Symbol.asyncDispose]();
    await createNamed(organisation, 'b', 'c');
    await until('the failure is logged', () => linesOf(server, failed)[0]);
    const scrape = await until('it has tried again', async () => {
      const text = await (await fetch(`${server.metricsUrl}`)).text();
      return /^app_connections_audit_stream_failures_total ([2-9]|\d\d)/m.test(text) ? text : undefined;
    });
    expect(scrape).toMatch(/^app_connections_audit_stream_failing 1$/m);
    expect(scrape).toMatch(/^app_connections_audit_stream_waiting_events [2-9]$/m);
    expect(scrape).toMatch(/^app_connections_audit_stream_oldest_waiting_seconds \d/m);
    expect(scrape).toMatch(/^app_connections_audit_stream_events_total [1-9]/m);
    const [line = '{}'] = linesOf(server, failed);
    expect(JSON.parse(line)).toMatchObject({ level: 'error', why: expect.stringMatching('refused|closed') });
    const second = stack.use(await startSyslogReceiver(undefined, port));
    expect(await second.waitFor(organisation.orgId, 3)).toEqual([2, 3]);
    await until('the recovery is logged', () => linesOf(server, recovered)[0]);
    expect(linesOf(server, failed)).toHaveLength(1);
    expect(linesOf(server, recovered)).toHaveLength(1);
  });

  it.each<[string, (socket: Socket) => void]>([
    ['closes each connection at once', (socket) => socket.end()],
    ['resets each connection', (socket) => void setImmediate(() => socket.resetAndDestroy())],
    [
      'ends each connection after the first bytes',
      (socket) => void once(socket, 'data').then(() => socket.end()),
    ],
  ])('sends events again to a receiver that %s', async (_, behaviour) => {
    const receiver = stack.use(await startSyslogReceiver());
    receiver.behave(behaviour);
    const organisation = await base.newOrganisation();
    await createNamed(organisation, 'a', 'b');
    const server = await startStream(receiver.target);
    await until('the failure is logged', () => linesOf(server, failed)[0]);
    receiver.behave(undefined);
    expect(await receiver.waitFor(organisation.orgId, 2)).toEqual([1, 2]);
  });

  it('gets on with a receiver that takes only a part of a large batch: it sends smaller ones', async () => {
    const receiver = stack.use(await startSyslogReceiver());
    receiver.limit(90);
    const organisation = await base.newOrganisation();
    await createEvents(organisation, 200);
    await startStream(receiver.target);
    const seqs = await receiver.waitFor(organisation.orgId, 200);
    expect([...new Set(seqs)]).toEqual(upTo(200));
  });

  it('serves requests while a receiver reads nothing, and stops in time', async () => {
    const receiver = stack.use(await startSyslogReceiver());
    receiver.behave((socket) => void socket.pause());
    const server = await startStream(receiver.target);
    const organisation = await server.newOrganisation();
    await createNamed(organisation, 'a');
    await until('the receiver has a connection', () => receiver.connections() || undefined);
    await createNamed(organisation, 'b', 'c');
    expect(await readTrail(organisation)).toHaveLength(3);
    await server.close();
    receiver.behave(undefined);
    await startStream(receiver.target);
    expect(await receiver.waitFor(organisation.orgId, 3)).toEqual([1, 2, 3]);
  });

  it('delivers what the server writes while it stops', async () => {
    const receiver = stack.use(await startSyslogReceiver());
    await createNamed(await base.newOrganisation(), 'a');
    // It looks for events when it starts, and when it stops.
    const server = await startStream(receiver.target, 3_600_000);
    await until('it has delivered all events', async () => {
      const found = base.asOwner().execute('select from audit_stream where lease_id is null');
      return (await found).length > 0 || undefined;
    });
    const organisation = await server.newOrganisation();
    const reader = server.clientFor(await organisation.newKey(['connections:read']));
    const refused = () =>
      createConnection({ ...organisation, client: reader }, { name: 'a' }).catch(() => 'refused');
    expect([await refused(), await refused()]).toEqual(['refused', 'refused']);
    await server.close();
    // The second refusal is counted, and recorded at the end.
    expect(await receiver.waitFor(organisation.orgId, 2)).toEqual([1, 2]);
  });
});

const header =
  /^<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \S+ app-connections \d+ audit - \{"orgId":"[^\n]*\}$/;

describe('AUDIT_STREAM with syslog+tls', () => {
  it('sends events over TLS to a receiver with a trusted certificate', async () => {
    const { ca, good } = await makeCertificates();
    stack.use(trust(ca));
    const receiver = stack.use(await startSyslogReceiver(good));
    const organisation = await base.newOrganisation();
    await startStream(receiver.target);
    await createNamed(organisation, 'a', 'b');
    expect(await receiver.waitFor(organisation.orgId, 2)).toEqual([1, 2]);
  });

  it('sends nothing to a receiver whose certificate is not trusted, and names the reason', async () => {
    const { good } = await makeCertificates();
    const receiver = stack.use(await startSyslogReceiver(good));
    const organisation = await base.newOrganisation();
    const server = await startStream(receiver.target);
    await createNamed(organisation, 'a');
    const line = await until('the failure is logged', () => linesOf(server, failed)[0]);
    expect(JSON.parse(line).why).toBe(
      'the certificate is not signed by an authority that this server trusts',
    );
    expect(receiver.messages).toEqual([]);
  });

  it('fails on a receiver that does not speak TLS', async () => {
    const receiver = stack.use(await startSyslogReceiver());
    const organisation = await base.newOrganisation();
    await createNamed(organisation, 'a');
    receiver.behave((socket) => void socket.end('421 no TLS here\r\n'));
    const server = await startStream({ ...receiver.target, isTls: true } as AuditStreamTarget);
    const line = await until('the failure is logged', () => linesOf(server, failed)[0]);
    expect(JSON.parse(line).why).toBe('the port does not speak TLS');
  });
});

describe('AUDIT_STREAM with a file', () => {
  it('appends the lines of audit export to a file of its own user, and to a new one after it was renamed', async () => {
    const folder = stack.use(temporaryFolder());
    const path = join(folder.path, 'audit.jsonl');
    const organisation = await base.newOrganisation();
    await createNamed(organisation, 'a', 'b');
    await startStream({ kind: 'file', path });
    expect((await waitForFile(path, organisation.orgId, 2)).map(withoutHash)).toEqual(
      await readTrail(organisation),
    );
    if (process.platform !== 'win32') expect(statSync(path).mode & 0o777).toBe(0o600);
    await waitForPosition(organisation, 2);
    renameSync(path, `${path}.1`);
    await createNamed(organisation, 'c');
    const rotated = await waitForFile(path, organisation.orgId, 1);
    expect(rotated.map(({ seq }) => seq)).toEqual([3]);
    expect(readFileEvents(`${path}.1`, organisation.orgId).map(({ seq }) => seq)).toEqual([1, 2]);
    expect(readFileSync(path, 'utf8')).not.toContain(token);
  });

  it('warns, and tells doctor, if servers of a database have different values', async () => {
    const folder = stack.use(temporaryFolder());
    const [one, other] = ['one', 'other'].map((name) => join(folder.path, name));
    const organisation = await base.newOrganisation();
    const warning = 'earlier audit events were sent to another AUDIT_STREAM';
    const diagnose = (path = '') =>
      checkAuditStream(base.database.asSystem(), { auditStream: { kind: 'file', path } });
    const first = await startStream({ kind: 'file', path: `${one}` });
    await createNamed(organisation, 'a');
    await waitForPosition(organisation, 1);
    expect((await diagnose(one)).status).toBe('ok');
    expect(await diagnose(other)).toMatchObject({
      status: 'warning',
      message: expect.stringContaining(`were sent to ${pathToFileURL(`${one}`)}, which is not`),
    });
    await first.close();
    expect(linesOf(first, warning)).toEqual([]);
    const second = await startStream({ kind: 'file', path: `${other}` });
    await createNamed(organisation, 'b', 'c');
    await waitForPosition(organisation, 3);
    expect(linesOf(second, warning).map((line) => JSON.parse(line).previous)).toEqual([
      pathToFileURL(`${one}`).href,
    ]);
  });

  it('loses no line if the file is renamed, read and removed at once, as by a logrotate that compresses', async () => {
    const folder = stack.use(temporaryFolder());
    const path = join(folder.path, 'audit.jsonl');
    const rotated: string[] = [];
    const rotate = async () => {
      await rename(path, `${path}.1`).catch(() => undefined);
      rotated.push(await readFile(`${path}.1`, 'utf8').catch(() => ''));
      await rm(`${path}.1`, { force: true });
    };
    const lines = upTo(300).map((number) => `line ${number}`);
    for (const line of lines) await Promise.all([appendToFile(path, [line]), rotate()]);
    await rotate();
    expect([...new Set(rotated.join('').split('\n').filter(Boolean))]).toEqual(lines);
  });

  it('begins a new line after one that was cut short', async () => {
    const folder = stack.use(temporaryFolder());
    const path = join(folder.path, 'audit.jsonl');
    appendFileSync(path, '{"orgId":"6f03ca');
    const organisation = await base.newOrganisation();
    await createNamed(organisation, 'a');
    await startStream({ kind: 'file', path });
    const lines = await until('the file has events', () => {
      const all = readFileSync(path, 'utf8').split('\n');
      return all.length > 2 ? all : undefined;
    });
    expect(lines[0]).toBe('{"orgId":"6f03ca');
    expect(lines.slice(1, -1).map((line) => typeof JSON.parse(line).seq)).toContain('number');
  });

  it('logs when the server starts that it cannot write the file, before there is an event', async () => {
    const folder = stack.use(temporaryFolder());
    const path = join(folder.path, 'missing', 'audit.jsonl');
    // Another server streams, and the file of this one is not needed yet.
    await base
      .asOwner()
      .execute('insert into audit_stream (id, lease_id, lease_until) values (1, gen_random_uuid(), ?)', [
        new Date(Date.now() + 60_000),
      ]);
    const server = await startStream({ kind: 'file', path });
    const line = await until('it is logged', () => linesOf(server, 'this server cannot write')[0]);
    expect(JSON.parse(line)).toMatchObject({
      level: 'error',
      why: 'the file cannot be written (ENOENT)',
      msg: 'this server cannot write to the file of AUDIT_STREAM',
    });
  });

  it.each([
    ['in a missing folder', 'missing/audit.jsonl', 'the file cannot be written (ENOENT)'],
    ['that is a folder', '', 'the file cannot be written (EISDIR)'],
  ])('logs once that it cannot write a file %s, and goes on when it can', async (_, name, why) => {
    const folder = stack.use(temporaryFolder());
    const path = join(folder.path, 'place', name);
    if (name === '') mkdirSync(path, { recursive: true });
    const organisation = await base.newOrganisation();
    await createNamed(organisation, 'a', 'b');
    const server = await startStream({ kind: 'file', path });
    const line = await until('the failure is logged', () => linesOf(server, failed)[0]);
    expect(JSON.parse(line).why).toBe(why);
    if (name === '') renameSync(path, `${path}-before`);
    else mkdirSync(join(path, '..'), { recursive: true });
    const events = await waitForFile(path, organisation.orgId, 2);
    expect(events.map(({ seq }) => seq)).toEqual([1, 2]);
    await until('the recovery is logged', () => linesOf(server, recovered)[0]);
    expect(linesOf(server, failed)).toHaveLength(1);
  });
});

describe('the value of AUDIT_STREAM', () => {
  const read = (AUDIT_STREAM: string, more: Record<string, string> = {}) =>
    readConfig({ AUDIT_STREAM, ...more }).auditStream;

  it.each<[string, AuditStreamTarget]>([
    ['file:///var/log/audit%20events.jsonl', { kind: 'file', path: '/var/log/audit events.jsonl' }],
    ['syslog+tcp://LOGS.example:601', { kind: 'syslog', host: 'logs.example', port: 601, isTls: false }],
    ['syslog+tls://siem.example:6514/', { kind: 'syslog', host: 'siem.example', port: 6514, isTls: true }],
    ['syslog+tls://[2001:db8::1]:6514', { kind: 'syslog', host: '2001:db8::1', port: 6514, isTls: true }],
  ])('can be %s', (text, target) => {
    expect(read(text)).toEqual(target);
  });

  it.each([
    '/var/log/audit.jsonl',
    'file://var/log/audit.jsonl',
    'file:audit.jsonl',
    'file:///var/log/',
    'file:///var/log/a%2Fb',
    'file:///var/log/a%00b',
    'file:///var/log/audit.jsonl?mode=0644',
    'syslog://siem.example:514',
    'syslog+udp://siem.example:514',
    'syslog+tls://siem.example',
    'syslog+tls://:6514',
    'syslog+tls://siem.example:0',
    'syslog+tls://siem.example:70000',
    'syslog+tls://user:secret@siem.example:6514',
    'syslog+tls://siem.example:6514/path',
    'syslog+tls://%zz:6514',
    'https://siem.example',
  ])('cannot be %s, and the message names the variable and what it can be', (text) => {
    expect(() => read(text)).toThrow(
      /^AUDIT_STREAM must be file:\/\/\/path, syslog\+tls:\/\/host:port or syslog\+tcp:\/\/host:port; syslog over UDP loses events$/,
    );
  });

  it('can be syslog over TCP without TLS in production for loopback addresses only', () => {
    const production = {
      NODE_ENV: 'production',
      DATABASE_URL: 'postgresql://db.example/a',
      ENCRYPTION_KEYS: rootKey('k1'),
    };
    expect(read('syslog+tcp://127.0.0.1:601', production)).toMatchObject({ isTls: false });
    expect(read('syslog+tls://siem.example:6514', production)).toMatchObject({ isTls: true });
    expect(() => read('syslog+tcp://siem.example:601', production)).toThrow(
      'AUDIT_STREAM must start with syslog+tls:// when NODE_ENV=production, except for loopback addresses',
    );
  });
});
