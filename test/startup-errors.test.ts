import { execFile, spawnSync } from 'node:child_process';
import { chmodSync, chownSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { describeConnectionFailure } from '../src/database/open-failure.ts';
import { dataFolder } from './testkit/database.ts';
import { canMount, smallDisk } from './testkit/faults/small-disk.ts';
import { errorOfStart } from './testkit/in-process.ts';
import { buildCommand, stderrOfFailedStart, temporaryFolder } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';

// Some tests start a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const [main = '', ...mainArguments] = buildCommand('main.ts');

describe('server start reports what is wrong with DATABASE_URL', () => {
  test.each([
    [
      'a port in the query that is no number',
      'postgres://root@127.0.0.1:5432/x?port=abc',
      /must have a port from 1 to 65535/,
    ],
    [
      'a negative port in the query',
      'postgres://root@127.0.0.1/x?port=-1',
      /must have a port from 1 to 65535/,
    ],
    [
      'a port in the query that is too large',
      'postgres://root@127.0.0.1/x?port=70000',
      /must have a port from 1 to 65535/,
    ],
    ['the port 0', 'postgres://root@127.0.0.1:0/x', /must have a port from 1 to 65535/],
    [
      'no database',
      'postgresql://127.0.0.1',
      /must name a database: postgresql:\/\/user:password@host:5432\/database/,
    ],
    ['no database behind a slash', 'postgres://root:hunter2-secret@127.0.0.1:5432/', /must name a database/],
    [
      'double quotation marks',
      '"postgresql://root:hunter2-secret@127.0.0.1/x"',
      /must not have quotation marks/,
    ],
    [
      'single quotation marks',
      "'postgresql://root:hunter2-secret@127.0.0.1/x'",
      /must not have quotation marks/,
    ],
  ])('%s', async (_, url, words) => {
    using folder = temporaryFolder();
    const line = await errorOfStart({ DATA_DIR: folder.path, DATABASE_URL: url });
    expect(line).toMatch(/^Cannot start: DATABASE_URL /);
    expect(line).toMatch(words);
    expect(line).not.toContain('hunter2');
  });
});

test('server start reports that sslmode=verify-ca with the meaning of libpq needs sslrootcert', async () => {
  using folder = temporaryFolder();
  const DATABASE_URL = 'postgresql://root@127.0.0.1:1/x?uselibpqcompat=true&sslmode=verify-ca';
  expect(await errorOfStart({ DATA_DIR: folder.path, DATABASE_URL })).toBe(
    'Cannot start: DATABASE_URL: sslmode=verify-ca needs sslrootcert\n',
  );
});

describe.concurrent('server start prints nothing but its error with', () => {
  // The driver prints a warning for each of them itself.
  test.each(['require', 'prefer', 'verify-ca', 'verify-full'])('sslmode=%s', async (mode) => {
    using folder = temporaryFolder();
    const DATABASE_URL = `postgresql://root@127.0.0.1:1/x?sslmode=${mode}`;
    const line = await stderrOfFailedStart({ DATA_DIR: folder.path, DATABASE_URL });
    expect(line).toContain('DATABASE_URL: the host refused the connection');
  });
});

describe('server start reports the valid form of HOST when it is', () => {
  test.each(['[::1]', 'localhost:4000', 'http://localhost', '*', 'one two', '127.0.0.1,::1'])(
    '%s',
    async (host) => {
      using folder = temporaryFolder();
      expect(await errorOfStart({ DATA_DIR: folder.path, HOST: host })).toMatch(
        /^Cannot start: HOST must be an address or a host name, without https:\/\/, port or brackets/,
      );
    },
  );
});

test('server start reports quotation marks from a Docker env file for each variable', async () => {
  const line = await errorOfStart({ DATA_DIR: "'.data'", ENCRYPTION_KEYS: `"${rootKey('k1')}"` });
  expect(line).toBe(
    'Cannot start: DATA_DIR and ENCRYPTION_KEYS must not have quotation marks around the value\n',
  );
});

describe('server start reports for DATA_DIR that', () => {
  // Of the other user, who cannot write to that of this one. Without it, each process would compile the server.
  const compileCache = temporaryFolder();
  afterAll(() => compileCache[Symbol.dispose]());
  const owner = anotherUser();
  if (owner) chownSync(compileCache.path, owner, owner);

  test.each(['lock', 'api-key', 'encryption-keys'])('%s is a directory and must be a file', async (name) => {
    using folder = dataFolder();
    rmSync(join(folder.path, name), { force: true });
    mkdirSync(join(folder.path, name));
    expect(await errorOfStart({ DATA_DIR: folder.path })).toContain(
      `DATA_DIR ${join(folder.path, name)}: it is a folder and must be a file (EISDIR)`,
    );
  });

  // An earlier start as root can leave such files behind.
  test.each(['', 'lock', 'database', 'database/PG_VERSION', 'database/base/1259'])(
    'another user owns %j, instead of reporting damage',
    async (name) => {
      using folder = temporaryFolder();
      mkdirSync(join(folder.path, 'database', 'base'), { recursive: true });
      writeFileSync(join(folder.path, 'database', 'PG_VERSION'), '18\n');
      writeFileSync(join(folder.path, 'database', 'base', '1259'), '');
      writeFileSync(join(folder.path, 'encryption-keys'), rootKey('k1'), { mode: 0o600 });
      writeFileSync(join(folder.path, 'lock'), '');
      const inside = readdirSync(folder.path, { recursive: true, encoding: 'utf8' });
      for (const each of ['', ...inside]) if (owner) chownSync(join(folder.path, each), owner, owner);
      chmodSync(join(folder.path, name), 0);
      const failed = await promisify(execFile)(process.execPath, [main, ...mainArguments], {
        env: { DATA_DIR: folder.path, PORT: '0', NODE_COMPILE_CACHE: compileCache.path },
        cwd: '/',
        ...(owner && { uid: owner, gid: owner }),
      }).catch(({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }));
      const where = join(folder.path, name);
      expect(failed).toEqual({
        code: 1,
        stderr: `Cannot start: DATA_DIR ${where}: this user has no permission to read or write it (EACCES)\n`,
      });
      chmodSync(join(folder.path, name), 0o700);
    },
  );
});

describe('server start reports, instead of damage, that the embedded database', () => {
  test.runIf(canMount)('has too few free inodes to be created', async () => {
    using disk = smallDisk(256 * 2 ** 20, { inodes: 500 });
    const folder = join(disk.path, 'data');
    expect(await errorOfStart({ DATA_DIR: folder })).toBe(
      `Cannot start: DATA_DIR: the file system of ${folder} has too few free inodes (ENOSPC); the embedded database needs 1500\n`,
    );
  });

  test.runIf(canMount)('has no free inode', async () => {
    using disk = smallDisk(256 * 2 ** 20, { inodes: 5 });
    const folder = join(disk.path, 'data');
    mkdirSync(folder);
    for (const name of ['lock', 'encryption-keys', 'api-key']) writeFileSync(join(folder, name), '');
    expect(await errorOfStart({ DATA_DIR: folder })).toBe(
      `Cannot start: DATA_DIR ${join(folder, 'lock')}: its file system has no free space or inodes (ENOSPC)\n`,
    );
  });

  test('cannot be used because of an error of the file system that PGlite reports by number', () => {
    // PGlite throws objects that are no instances of Error; the process that creates a database ends with the number.
    for (const error of [{ name: 'ErrnoError', errno: 51 }, Object.assign(new Error(), { code: 51 })]) {
      expect(describeConnectionFailure(error, 'embedded')).toBe(
        'its file system has no free space or inodes (ENOSPC)',
      );
    }
    expect(describeConnectionFailure({ errno: 19 }, 'embedded')).toBe('its disk quota is exceeded (EDQUOT)');
    expect(describeConnectionFailure({ errno: 1 }, 'embedded')).toContain('may be damaged');
  });
});

/** The user that runs the server: `nobody` when the test runs as root, who may read every file. */
function anotherUser(): number | undefined {
  const unprivilegedUid = 65_534;
  if (process.getuid?.() !== 0) return undefined;
  const { status } = spawnSync(process.execPath, ['--check', main], {
    uid: unprivilegedUid,
    gid: unprivilegedUid,
  });
  if (status !== 0)
    throw new Error(
      `${main} cannot be read by the user ${unprivilegedUid}; run this test as another user than root`,
    );
  return unprivilegedUid;
}
