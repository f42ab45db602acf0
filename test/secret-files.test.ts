import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../src/config/read-config.ts';
import { findConfigWarnings } from '../src/config/security-warnings.ts';
import { freshDatabase, testDatabaseUrl } from './testkit/database.ts';
import { errorOfStart, startProgram } from './testkit/in-process.ts';
import { temporaryFolder } from './testkit/process.ts';

const apiKey = 'k7Qp2vX9mZ4rT8wB1nL6cF3yH5jD0sGa';

/** Values that no message may contain have this word. */
const hidden = 'hunter2';

function writeSecret(folder: string, name: string, text: string): string {
  const file = join(folder, name);
  writeFileSync(file, text, { mode: 0o600 });
  return file;
}

describe('a secret that is in a file', () => {
  it('has the same effect as the variable, without the line break at the end of the file', () => {
    using folder = temporaryFolder();
    const url = 'postgresql://user:password@127.0.0.1:5432/connections';
    const config = readConfig({
      DATABASE_URL_FILE: writeSecret(folder.path, 'url', `${url}\n`),
      DATABASE_DIRECT_URL_FILE: writeSecret(folder.path, 'direct', `${url}\r\n`),
      BOOTSTRAP_API_KEY_FILE: writeSecret(folder.path, 'key', apiKey),
      OUTBOUND_PROXY_FILE: writeSecret(folder.path, 'proxy', 'http://user:password@127.0.0.1:3128\n'),
    });
    const direct = readConfig({
      DATABASE_URL: url,
      DATABASE_DIRECT_URL: url,
      BOOTSTRAP_API_KEY: apiKey,
      OUTBOUND_PROXY: 'http://user:password@127.0.0.1:3128',
    });
    expect(config.databaseUrl?.reveal()).toBe(direct.databaseUrl?.reveal());
    expect(config.databaseDirectUrl?.reveal()).toBe(direct.databaseDirectUrl?.reveal());
    expect(config.bootstrapApiKey?.reveal()).toBe(apiKey);
    expect(config.outboundProxy?.authorization?.reveal()).toBe(direct.outboundProxy?.authorization?.reveal());
    expect(config.outboundProxy?.port).toBe(3128);
  });

  it('can be a link to a link, as in Kubernetes', () => {
    using folder = temporaryFolder();
    mkdirSync(join(folder.path, '..2026'));
    writeSecret(join(folder.path, '..2026'), 'key', apiKey);
    symlinkSync('..2026', join(folder.path, '..data'));
    symlinkSync(join('..data', 'key'), join(folder.path, 'key'));
    const config = readConfig({ BOOTSTRAP_API_KEY_FILE: join(folder.path, 'key') });
    expect(config.bootstrapApiKey?.reveal()).toBe(apiKey);
  });

  it('takes what is missing in the URL of a database from the PG variables', () => {
    using folder = temporaryFolder();
    const file = writeSecret(folder.path, 'url', 'postgresql:///\n');
    const pg = { PGHOST: 'db.example', PGDATABASE: 'connections' };
    const expected = readConfig({ DATABASE_URL: 'postgresql:///', ...pg }).databaseUrl?.reveal();
    expect(readConfig({ DATABASE_URL_FILE: file, ...pg }).databaseUrl?.reveal()).toBe(expected);
  });

  it('satisfies what production needs', () => {
    using folder = temporaryFolder();
    const settings = {
      NODE_ENV: 'production',
      ENCRYPTION_KEYS_FILE: writeSecret(folder.path, 'keys', 'unread'),
      DATABASE_URL_FILE: writeSecret(folder.path, 'url', 'postgresql://127.0.0.1/x'),
    };
    expect(readConfig(settings).production).toBe(true);
  });

  it.runIf(testDatabaseUrl)('leads a server to its PostgreSQL and its first API key', async () => {
    using folder = temporaryFolder();
    const { location, drop } = await freshDatabase();
    if (location.kind !== 'postgresql') throw new Error('the database is embedded');
    {
      await using server = startProgram({
        DATA_DIR: folder.path,
        DATABASE_URL_FILE: writeSecret(folder.path, 'url', `${location.url.reveal()}\n`),
        BOOTSTRAP_API_KEY_FILE: writeSecret(folder.path, 'key', `${apiKey}\n`),
      });
      const response = await fetch(`${await server.ready()}/graphql`, {
        method: 'POST',
        headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ query: '{ viewer { organisation { name } } }' }),
      });
      expect(await response.json()).toHaveProperty('data.viewer.organisation.name');
    }
    await drop();
  });
});

describe('a server does not start, and says why in one line without the value,', () => {
  type Case = [
    what: string,
    variable: string,
    make: (folder: string) => string,
    line: (file: string) => string,
    given?: Record<string, string>,
  ];
  it.each<Case>([
    [
      'if a secret is given directly and in a file',
      'DATABASE_URL',
      (folder) => writeSecret(folder, 'url', `postgresql://${hidden}@127.0.0.1/x`),
      () => 'DATABASE_URL and DATABASE_URL_FILE exclude each other; set only one of them',
      { DATABASE_URL: `postgresql://${hidden}@127.0.0.1/y` },
    ],
    [
      'if the file is missing',
      'BOOTSTRAP_API_KEY',
      (folder) => join(folder, 'missing'),
      (file) => `BOOTSTRAP_API_KEY_FILE ${file}: cannot be read (ENOENT)`,
    ],
    [
      'if the file is a folder',
      'DATABASE_URL',
      (folder) => {
        mkdirSync(join(folder, 'url'));
        return join(folder, 'url');
      },
      (file) => `DATABASE_URL_FILE ${file}: is a folder, a pipe or a device; name a regular file`,
    ],
    ...['BOOTSTRAP_API_KEY', 'ENCRYPTION_KEYS'].map(
      (name): Case => [
        `if the file of ${name} is a pipe`,
        name,
        (folder) => {
          execFileSync('mkfifo', [join(folder, 'pipe')]);
          return join(folder, 'pipe');
        },
        (file) => `${name}_FILE ${file}: is a folder, a pipe or a device; name a regular file`,
      ],
    ),
    [
      'if the file is a device that has no end',
      'METRICS_TOKEN',
      () => '/dev/zero',
      (file) => `METRICS_TOKEN_FILE ${file}: is a folder, a pipe or a device; name a regular file`,
    ],
    [
      'if the file has more than 1 MiB',
      'OUTBOUND_PROXY',
      (folder) => writeSecret(folder, 'proxy', `${hidden}\n`.repeat(140_000)),
      (file) =>
        `OUTBOUND_PROXY_FILE ${file}: has more than 1048576 bytes; name the file with nothing but the value`,
    ],
    [
      'if the file is empty',
      'OUTBOUND_PROXY',
      (folder) => writeSecret(folder, 'proxy', ' \n'),
      (file) => `OUTBOUND_PROXY_FILE ${file}: it is empty`,
    ],
    [
      'if the file has several lines',
      'DATABASE_URL',
      (folder) => writeSecret(folder, 'url', `postgresql://${hidden}@127.0.0.1/x\n${hidden}\n`),
      (file) => `DATABASE_URL_FILE ${file}: its content must be one line`,
    ],
    [
      'if the file has no URL of PostgreSQL',
      'DATABASE_DIRECT_URL',
      (folder) => writeSecret(folder, 'url', `mysql://${hidden}@127.0.0.1/x`),
      (file) => `DATABASE_DIRECT_URL_FILE ${file}: its content must start with postgresql://`,
    ],
    [
      'if the URL in the file is incomplete',
      'DATABASE_URL',
      (folder) => writeSecret(folder, 'url', `postgresql://root:${hidden}@127.0.0.1`),
      (file) =>
        `DATABASE_URL_FILE ${file}: its content must name a database: postgresql://user:password@host:5432/database`,
    ],
    [
      'if the value in the file has quotation marks',
      'DATABASE_URL',
      (folder) => writeSecret(folder, 'url', `"postgresql://${hidden}@127.0.0.1/x"`),
      (file) => `DATABASE_URL_FILE ${file}: its content must not have quotation marks around the value`,
    ],
    [
      'if the API key in the file is too short',
      'BOOTSTRAP_API_KEY',
      (folder) => writeSecret(folder, 'key', hidden),
      (file) => `BOOTSTRAP_API_KEY_FILE ${file}: its content must be 32 to 512 characters`,
    ],
    [
      'if the proxy in the file is no proxy',
      'OUTBOUND_PROXY',
      (folder) => writeSecret(folder, 'proxy', `https://${hidden}:3128`),
      (file) => `OUTBOUND_PROXY_FILE ${file}: its content must be http://host:port`,
    ],
  ])('%s', async (_, variable, make, line, given = {}) => {
    using folder = temporaryFolder();
    const file = make(folder.path);
    const text = await errorOfStart({ DATA_DIR: folder.path, [`${variable}_FILE`]: file, ...given });
    expect(text).toContain(`Cannot start: ${line(file)}`);
    expect(text).not.toContain(hidden);
  });

  it('naming every file that is wrong', async () => {
    using folder = temporaryFolder();
    const missing = join(folder.path, 'missing');
    const line = await errorOfStart({ DATABASE_URL_FILE: missing, BOOTSTRAP_API_KEY_FILE: missing });
    expect(line).toBe(
      `Cannot start: DATABASE_URL_FILE ${missing}: cannot be read (ENOENT); BOOTSTRAP_API_KEY_FILE ${missing}: cannot be read (ENOENT)\n`,
    );
  });
});

describe.skipIf(process.platform === 'win32')('the permissions of a file with a secret', () => {
  it.each(['DATABASE_URL', 'DATABASE_DIRECT_URL', 'BOOTSTRAP_API_KEY', 'OUTBOUND_PROXY'])(
    'are reported for %s_FILE, if others may read or write it',
    (name) => {
      using folder = temporaryFolder();
      const values: Record<string, string> = {
        BOOTSTRAP_API_KEY: apiKey,
        OUTBOUND_PROXY: 'http://127.0.0.1:3128',
      };
      const file = writeSecret(folder.path, 'secret', values[name] ?? 'postgresql://127.0.0.1/x');
      const findWarnings = () =>
        findConfigWarnings(
          readConfig({
            DATA_DIR: folder.path,
            ...(name === 'DATABASE_DIRECT_URL' && { DATABASE_URL: 'postgresql://127.0.0.1/x' }),
            [`${name}_FILE`]: file,
          }),
        );
      expect(findWarnings()).toEqual([]);
      chmodSync(file, 0o644);
      expect(findWarnings()).toEqual([`${name}_FILE ${file}: every user can read it; run "chmod o-r" on it`]);
      chmodSync(file, 0o660);
      expect(findWarnings()).toEqual([
        `${name}_FILE ${file}: users other than its owner can write to it; run "chmod go-w" on it`,
      ]);
    },
  );

  it('name the file if its API key is weak', () => {
    using folder = temporaryFolder();
    const file = writeSecret(folder.path, 'key', 'a'.repeat(40));
    const config = readConfig({ DATA_DIR: folder.path, BOOTSTRAP_API_KEY_FILE: file });
    expect(findConfigWarnings(config)).toEqual([expect.stringMatching(/^BOOTSTRAP_API_KEY_FILE /)]);
  });
});
