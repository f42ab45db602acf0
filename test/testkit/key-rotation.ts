import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { handleFakeOkta } from '../../src/apps/okta/fake-okta.ts';
import { entities } from '../../src/bootstrap/entities.ts';
import { createLog } from '../../src/common/log.ts';
import { Secret } from '../../src/common/secret.ts';
import { AppConnection } from '../../src/connections/app-connection.entity.ts';
import { type Database, openDatabase } from '../../src/database/database.ts';
import { lazyScopedEntityManager, ownerSession } from '../../src/database/driver/session.ts';
import { parseKeyring } from '../../src/encryption/keyring.ts';
import { Vault } from '../../src/encryption/vault.ts';
import { decryptApiToken } from './decrypt-credentials.ts';
import { runProgram } from './in-process.ts';
import { startOkta, tokenRejected } from './okta.ts';
import {
  runScript,
  type ServerProcess,
  spawnScript,
  spawnServer,
  temporaryFolder,
  until,
} from './process.ts';
import { rootKey } from './root-key.ts';
import { inParallel, Traffic } from './traffic.ts';

/** The size of the run. */
export interface RotationOptions {
  /** An empty database of PostgreSQL. */
  databaseUrl: Secret;
  connections: number;
  organisations: number;
  /** The number of concurrent clients during the rotation. */
  workers: number;
  /** How many connections are verified through the API at the end. */
  sample: number;
}

/** The result of the run. */
export interface RotationReport {
  /** The number of requests during the rotation, by operation. */
  requests: Record<string, number>;
  /** Failures; empty when everything succeeded. */
  failures: string[];
  /** The number of connections that were not yet re-encrypted at each kill of the rotation. */
  leftWhenKilled: number[];
  rotationSeconds: number;
  /** The root keys of data keys, and the data keys of connections, at the end. */
  left: { dataKeysOnOldRoot: number; onRetiredDataKeys: number; onKeysOfOldRoot: number };
  /** Connections that decrypt with only the new root key, to the credentials stored last. */
  opened: number;
  /** Connections verified through a server with only the new root key, by an Okta that checks the token. */
  verified: number;
}

/**
 * Rotates from one root key to another with `rotate --reseal`, which is killed twice and finally runs twice concurrently,
 * while two servers process every operation that uses credentials. Then it starts a server without the old root key.
 */
export async function rotateUnderLoad(
  size: RotationOptions,
  tell: (line: string) => void,
): Promise<RotationReport> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder());
  const database = await openDatabase(
    { kind: 'postgresql', url: size.databaseUrl },
    entities,
    createLog('silent'),
  );
  stack.defer(() => database.close());
  const valid = new Set<string>();
  const upstream = stack.use(
    await startOkta({
      handler: (request, response) => {
        const token = request.headers.authorization?.replace(/^SSWS /, '') ?? '';
        (valid.has(token) ? handleFakeOkta : tokenRejected)(request, response);
      },
    }),
  );
  const [old, next] = [rootKey('old'), rootKey('next')];
  const keysFile = join(folder.path, 'keys');
  const settings = {
    DATABASE_URL: size.databaseUrl.reveal(),
    DATA_DIR: folder.path,
    ENCRYPTION_KEYS_FILE: keysFile,
    TRUSTED_INSTANCE_HOSTS: upstream.hostPort,
  };
  writeFileSync(keysFile, old);
  const servers = [stack.use(spawnServer(settings)), stack.use(spawnServer(settings))];
  const urls = await Promise.all(servers.map((server) => server.ready()));

  const orgKeys: string[] = [];
  for (let index = 1; index <= size.organisations; index += 1) {
    const { stdout } = await runProgram('admin', settings, 'create-organisation', '--name', `Acme ${index}`);
    orgKeys.push(/ack_\w+/.exec(stdout)?.[0] ?? '');
  }
  const traffic = new Traffic(urls, orgKeys, upstream.origin, valid);
  await inParallel(16, size.connections, (index) => traffic.make(index, `kept-${index}`));
  const removed = traffic.kept.filter((_, index) => index % 20 === 0);
  for (const kept of removed) await traffic.remove(kept);
  tell(`${traffic.kept.length} connections made, ${removed.length} of them deleted with a way back`);

  // Every server must have the new root key before any server wraps with it.
  for (const keys of [`${old}\n${next}`, `${next}\n${old}`]) {
    writeFileSync(keysFile, keys);
    await Promise.all(servers.map((server) => reload(server, keys)));
  }
  traffic.isCounting = true;
  const working = traffic.work(size.workers);
  const start = performance.now();
  const leftWhenKilled: number[] = [];
  for (const share of [2 / 3, 1 / 3]) {
    leftWhenKilled.push(await rotateAndKill(database, settings, traffic.kept.length * share));
    tell(`killed with ${leftWhenKilled.at(-1)} connections left to seal again`);
  }
  const last = [1, 2].map(() => runScript('launch.js', settings, 'keys', 'rotate', '--reseal'));
  for (const { code, stdout, stderr } of await Promise.all(last)) {
    if (code !== 0) traffic.failures.push(`rotate ended with ${code}: ${stdout}${stderr}`);
    tell(stdout.trim());
  }
  const rotationSeconds = (performance.now() - start) / 1_000;
  // Requests continue to succeed after the rotation.
  await sleep(1_000);
  traffic.stop();
  await working;
  traffic.isCounting = false;

  for (const server of servers) server.kill('SIGTERM');
  await Promise.all(servers.map((server) => server.ended()));
  writeFileSync(keysFile, next);
  const server = stack.use(spawnServer(settings));
  traffic.urls = [await server.ready()];
  const left = await countLeft(database);
  const opened = await openAll(database, next, traffic);
  let verified = 0;
  for (const kept of sample(traffic.kept, size.sample)) {
    if (kept.isDeleted) await traffic.restore(kept);
    const isGood = await traffic.verify(kept);
    const token = upstream.requests.at(-1)?.headers.authorization;
    if (isGood && token === `SSWS ${kept.token}`) verified += 1;
  }
  await assertTold(database, traffic);
  const audit = await runProgram('audit:verify', settings);
  if (audit.code !== 0) traffic.failures.push(`the audit trail is not whole: ${audit.stdout}${audit.stderr}`);
  const { requests, failures } = traffic;
  return { requests, failures, leftWhenKilled, rotationSeconds, left, opened, verified };
}

/** Sends SIGHUP and waits until the server logs that it reloaded its root keys. */
async function reload(server: ServerProcess, keys: string): Promise<void> {
  const ids = keys.split('\n').map((key) => key.split(':')[0]);
  server.kill('SIGHUP');
  await until('the server has read its keys', () =>
    server.stdout().includes(`"rootKeyIds":${JSON.stringify(ids)}`) ? true : undefined,
  );
}

/** Starts a rotation, kills it when at most this many connections are left, and returns their number. */
async function rotateAndKill(
  database: Database,
  settings: Record<string, string>,
  when: number,
): Promise<number> {
  await using rotation = spawnScript('launch.js', settings, 'keys', 'rotate', '--reseal');
  const left = await until(
    'half of it is done',
    async () => {
      const { onKeysOfOldRoot } = await countLeft(database);
      return onKeysOfOldRoot <= when ? onKeysOfOldRoot : undefined;
    },
    600_000,
  );
  rotation.kill('SIGKILL');
  const { signal } = await rotation.ended();
  if (signal !== 'SIGKILL') throw new Error(`The rotation had ended before: ${rotation.stderr()}`);
  return left;
}

async function countLeft(database: Database): Promise<RotationReport['left']> {
  return lazyScopedEntityManager(() => database.asSystem(), ownerSession).execute(
    `select (select count(*)::int from data_key where root_key_id not in ('next', '')) as "dataKeysOnOldRoot",
      (select count(*)::int from app_connection join data_key k on k.id = data_key_id
        where retired_at is not null) as "onRetiredDataKeys",
      (select count(*)::int from app_connection join data_key k on k.id = data_key_id
        where made_under <> 'next') as "onKeysOfOldRoot"`,
    [],
    'get',
  );
}

/** Decrypts each row with only this root key, and compares it with the credentials stored last. */
async function openAll(database: Database, key: string, { kept, failures }: Traffic): Promise<number> {
  const vault = new Vault(parseKeyring(new Secret(key)), createLog('silent'));
  const em = lazyScopedEntityManager(() => database.asSystem(), ownerSession);
  const rows = await em.find(AppConnection, {}, { populate: ['sealedCredentials'] });
  const byId = new Map(rows.map((row) => [row.id, row]));
  if (rows.length !== kept.length) failures.push(`${rows.length} rows, but ${kept.length} were kept`);
  let opened = 0;
  for (const { id, token, initial } of kept) {
    const row = byId.get(id);
    if (!row) {
      failures.push(`${id} is gone`);
      continue;
    }
    if ((await decryptApiToken(row, em, vault)) === token) opened += 1;
    else failures.push(`${id} does not open to what was stored`);
    if (
      initial &&
      (row.version !== initial.version ||
        row.credentialsHash !== initial.credentialsHash ||
        row.updatedAt.getTime() !== new Date(initial.updatedAt).getTime())
    ) {
      failures.push(`${id} was changed by the rotation`);
    }
  }
  return opened;
}

/** Checks that each audit trail has one event of the rotation, also after several attempts. */
async function assertTold(database: Database, { failures }: Traffic): Promise<void> {
  const events: { count: number }[] = await lazyScopedEntityManager(
    () => database.asSystem(),
    ownerSession,
  ).execute(
    `select count(e.seq)::int as count from organisation o
      left join audit_event e on e.org_id = o.id and e.action = 'ROTATE_KEYS' group by o.id`,
  );
  if (events.some(({ count }) => count !== 1)) failures.push(`events: ${events.map(({ count }) => count)}`);
}

function sample<T>(all: readonly T[], size: number): T[] {
  const step = Math.max(1, Math.floor(all.length / size));
  return all.filter((_, index) => index % step === 0).slice(0, size);
}
