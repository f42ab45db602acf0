import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { dataFolder } from './testkit/database.ts';
import { errorOfStart, runProgram, startProgram } from './testkit/in-process.ts';
import { closedPort, stderrOfFailedStart, temporaryFolder, until } from './testkit/process.ts';
import { rootKey } from './testkit/root-key.ts';

// Some tests start a process, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const entry = (bytes: Buffer | string, id = 'k1') => `${id}:${Buffer.from(bytes).toString('base64')}`;

/** The environment of a server that would start as far as the database connection, where nothing listens. */
async function production(differing: Record<string, string> = {}): Promise<Record<string, string>> {
  return {
    NODE_ENV: 'production',
    DATABASE_URL: `postgresql://nobody@127.0.0.1:${await closedPort()}/nowhere`,
    ENCRYPTION_KEYS: rootKey('k1'),
    DATA_DIR: '/tmp/there-is-no-such-folder-of-ours',
    ...differing,
  };
}

const weakKeys: [string, string][] = [
  ['32 zero bytes', entry(Buffer.alloc(32))],
  ['one byte, repeated', entry(Buffer.alloc(32, 0xa5))],
  ['16 bytes, repeated', entry(Buffer.concat(Array(2).fill(randomBytes(16))))],
  ['5 bytes, repeated', entry(Buffer.alloc(32, randomBytes(5)))],
  ['a counter', entry(Buffer.from(Array.from({ length: 32 }, (_, index) => index)))],
  [
    'a counter downwards by threes',
    entry(Buffer.from(Array.from({ length: 32 }, (_, index) => 250 - 3 * index))),
  ],
  ['digits', entry('01234567890123456789012345678901')],
  ['a sentence', entry('correct horse battery staple, ok')],
  ['hexadecimal digits in place of bytes', entry(randomBytes(16).toString('hex'))],
];

describe('production start fails with one line for', () => {
  test.each(weakKeys)('a root key of %s', async (_, key) => {
    const line = await errorOfStart(await production({ ENCRYPTION_KEYS: key }));
    expect(line).toMatch(/ENCRYPTION_KEYS: entry 1 (repeats|counts|is text).*openssl rand -base64 32/);
    expect(line).not.toContain(key.slice(3, 12));
  });

  test('a weak root key after a strong one, and in a file', async () => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'keys');
    writeFileSync(file, [rootKey('k2'), entry(Buffer.alloc(32))].join('\n'), { mode: 0o600 });
    const settings = await production({ ENCRYPTION_KEYS: '', ENCRYPTION_KEYS_FILE: file });
    expect(await stderrOfFailedStart(settings)).toMatch(
      /ENCRYPTION_KEYS_FILE .*: entry 2 repeats a few bytes/,
    );
  });

  test.each([
    ['bytes', rootKey('k').slice(2)],
    ['key of AWS KMS', 'arn:aws:kms:eu-west-1:123456789012:key/1'],
  ])('the same %s under two ids', async (_, value) => {
    const keys = `k1:${value},k2:${value}`;
    expect(await errorOfStart(await production({ ENCRYPTION_KEYS: keys }))).toMatch(
      /ENCRYPTION_KEYS: entry 2 has the key of an earlier entry/,
    );
  });

  test.each([
    ['one character', 'a'.repeat(32)],
    ['a few characters', 'abab0123'.repeat(8)],
    ['a word, repeated', 'changeme-changeme-changeme-changeme'],
    ['the alphabet', 'abcdefghijklmnopqrstuvwxyz012345'],
  ])('a BOOTSTRAP_API_KEY of %s', async (_, key) => {
    const line = await errorOfStart(await production({ BOOTSTRAP_API_KEY: key }));
    expect(line).toMatch(/BOOTSTRAP_API_KEY (repeats|counts).*openssl rand -hex 32/);
    expect(line).not.toContain(key.slice(0, 12));
  });

  test.each([0o777, 0o770, 0o702])('a DATA_DIR with the mode %o', async (mode) => {
    using folder = temporaryFolder();
    chmodSync(folder.path, mode);
    expect(await errorOfStart(await production({ DATA_DIR: folder.path }))).toMatch(
      /DATA_DIR .*: users other than its owner can write to it; run "chmod go-w"/,
    );
  });

  test.each([
    [0o666, /users other than its owner can write to it/],
    [0o620, /users other than its owner can write to it/],
    [0o644, /every user can read it/],
    [0o604, /every user can read it/],
  ])('a key file with the mode %o', async (mode, why) => {
    using folder = temporaryFolder();
    const file = join(folder.path, 'secret');
    writeFileSync(file, rootKey('k1'));
    chmodSync(file, mode);
    const keys = await production({ ENCRYPTION_KEYS: '', ENCRYPTION_KEYS_FILE: file });
    expect(await errorOfStart(keys)).toMatch(new RegExp(`ENCRYPTION_KEYS_FILE .*${why.source}`));
    expect(await errorOfStart(await production({ TLS_CERT: file, TLS_KEY: file }))).toMatch(
      new RegExp(`TLS_KEY .*${why.source}`),
    );
  });

  test('a key file in a directory where everybody may replace it', async () => {
    using folder = temporaryFolder();
    const open = join(folder.path, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    writeFileSync(join(open, 'keys'), rootKey('k1'), { mode: 0o600 });
    const settings = await production({ ENCRYPTION_KEYS: '', ENCRYPTION_KEYS_FILE: join(open, 'keys') });
    expect(await errorOfStart(settings)).toMatch(/every user can replace it in its folder/);
  });

  test.each([
    [{ AWS_ENDPOINT_URL_KMS: 'http://kms.example' }, /AWS_ENDPOINT_URL_KMS must start with https:/],
    [{ AWS_ENDPOINT_URL: 'http://10.0.0.1:8080' }, /AWS_ENDPOINT_URL must start with https:/],
    [{ NODE_TLS_REJECT_UNAUTHORIZED: '0' }, /NODE_TLS_REJECT_UNAUTHORIZED=0/],
  ])('%j', async (variables, why) => {
    expect(await errorOfStart(await production({ ...variables }))).toMatch(why);
  });
});

test.each([
  ['random keys', {}],
  ['two of them', { ENCRYPTION_KEYS: `${rootKey('k1')},${rootKey('k2')}` }],
  ['a random API key', { BOOTSTRAP_API_KEY: randomBytes(32).toString('hex') }],
  ['an AWS KMS on this machine', { AWS_ENDPOINT_URL_KMS: 'http://127.0.0.1:1' }],
])('production start accepts %s and continues to the database', async (_, differing) => {
  expect(await errorOfStart(await production(differing))).toMatch(
    /DATABASE_URL: the host refused the connection/,
  );
});

test('production start accepts a key file that its group may read, and one in a directory like /tmp', async () => {
  using folder = temporaryFolder();
  const shared = join(folder.path, 'shared');
  mkdirSync(shared);
  chmodSync(shared, 0o1777);
  writeFileSync(join(shared, 'keys'), rootKey('k1'), { mode: 0o640 });
  const settings = await production({ ENCRYPTION_KEYS: '', ENCRYPTION_KEYS_FILE: join(shared, 'keys') });
  expect(await errorOfStart(settings)).toMatch(/DATABASE_URL: the host refused the connection/);
});

test('npm run keys accepts a weak root key after a strong one, so that it can be rotated', async () => {
  const weak = entry(Buffer.alloc(32), 'weak');
  const behind = await production({ ENCRYPTION_KEYS: `${rootKey('k2')},${weak}` });
  expect((await runProgram('keys', behind, 'rotate')).stderr).toMatch(
    /DATABASE_URL: the host refused the connection/,
  );
  const first = await production({ ENCRYPTION_KEYS: `${weak},${rootKey('k2')}` });
  expect((await runProgram('keys', first, 'rotate')).stderr).toMatch(/ENCRYPTION_KEYS: entry 1 repeats/);
});

test('development start warns about weak keys and permissions, and continues', async () => {
  using folder = dataFolder();
  chmodSync(folder.path, 0o777);
  await using server = startProgram({
    DATA_DIR: folder.path,
    ENCRYPTION_KEYS: entry(Buffer.alloc(32)),
    BOOTSTRAP_API_KEY: 'a'.repeat(32),
  });
  await server.ready();
  await until('the warning is logged', () => server.stdout().includes('entry 1 repeats') || undefined);
  for (const warning of ['BOOTSTRAP_API_KEY repeats', 'DATA_DIR '])
    expect(server.stdout()).toContain(warning);
});
