import { execFile, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { checkChain } from './testkit/access.ts';
import {
  administer,
  emptyDatabase,
  freshDatabase,
  testDatabaseUrl,
  withoutPooler,
} from './testkit/database.ts';
import { codeBlocks, readPages } from './testkit/documents.ts';
import { byIdQuery, createConnection, verifyMutation } from './testkit/operations.ts';
import { temporaryFolder } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';
import { startTestServer } from './testkit/server.ts';

const canDump = testDatabaseUrl !== undefined && spawnSync('pg_dump', ['--version']).status === 0;
const blocks = readPages()
  .filter(({ path }) => path === 'docs/operations/backup.md')
  .flatMap(codeBlocks);
const findCommand = (start: string) => blocks.find(({ code }) => code.startsWith(start))?.code ?? '';

test.runIf(canDump)('the commands of docs/operations/backup.md dump and restore a database', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(temporaryFolder());
  const suffix = randomBytes(4).toString('hex');
  const [reader, owner] = [`app_connections_backup_${suffix}`, `app_connections_owner_${suffix}`];
  stack.defer(() => administer(`drop role if exists ${reader}`));
  stack.defer(() => administer(`drop role if exists ${owner}`));
  const source = stack.use(await freshDatabase());
  const target = stack.use(await emptyDatabase());
  const [sourceUrl, targetUrl] = [source, target].map((database) => withoutPooler(database).url.reveal());

  const rootKeys = rootKey('k1');
  const before = await startTestServer({ location: source.location, rootKeys });
  const organisation = await before.newOrganisation();
  const connection = await createConnection(organisation);
  await before.close();

  const withUser = (url: string | undefined, user: string) => {
    const changed = new URL(url ?? '');
    Object.assign(changed, { username: user, password: 'password' });
    return changed.href;
  };
  const run = (command: string, url: string) =>
    promisify(execFile)('sh', ['-c', command.replace(/'postgresql:[^']*'/, `'${url}'`)], {
      cwd: folder.path,
    });
  await administer(findCommand('create role').replace('app_connections_backup', reader));
  await run(findCommand('pg_dump'), withUser(sourceUrl, reader));
  await administer(`create role ${owner} login password 'password'`);
  await administer(`grant app_connections_tenant, app_connections_system to ${owner}`);
  const database = new URL(targetUrl ?? '').pathname.slice(1);
  await administer(`alter database ${database} owner to ${owner}`);
  const restoredUrl = withUser(targetUrl, owner);
  await run(findCommand('psql'), restoredUrl);

  const location = { kind: 'postgresql', url: new Secret(restoredUrl) } as const;
  const after = await startTestServer({ location, rootKeys });
  const client = after.clientFor(organisation.apiKey);
  expect(await client.request(byIdQuery, { id: connection.id })).toEqual({ appConnection: connection });
  expect(await client.request(verifyMutation, { id: connection.id })).toEqual({
    verifyAppConnection: { appConnection: { verification: { status: 'VERIFIED' } } },
  });
  expect(await checkChain(after, organisation.orgId)).toEqual({ events: 2 });
  await after.close();
});
