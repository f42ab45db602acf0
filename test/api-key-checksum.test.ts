import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addApiKey, assertChecksum, generateApiKey } from '../src/auth/api-keys.ts';
import { Secret } from '../src/common/secret.ts';
import { readConfig } from '../src/config/read-config.ts';
import { createKey, viewerOf } from './testkit/access.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

const alphanumeric = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** All characters that the header allows after `Bearer `. */
const visible = Array.from({ length: 0x7e - 0x20 }, (_, i) => String.fromCharCode(0x21 + i));
const mistyped = /^The API key is (truncated or )?mistyped: /;
/** Truncated to this length, a key looks like one of the format without a checksum. */
const lengthWithoutChecksum = 'ack_'.length + 43;

/** The number of key look-ups in the database so far. */
const lookUps = () => server.logs().match(/from \\"api_key\\"/g)?.length ?? 0;

/** Typing errors: functions that turn a key into a mistyped one. */
const typos = fc.oneof(
  fc.tuple(fc.nat(52), fc.constantFrom(...visible)).map(
    ([index, character]) =>
      (key: string) =>
        key.slice(0, index) + character + key.slice(index + 1),
  ),
  fc
    .nat(51)
    .map((i) => (key: string) => key.slice(0, i) + key.charAt(i + 1) + key.charAt(i) + key.slice(i + 2)),
  fc
    .integer({ min: 'ack_'.length, max: 52 })
    .filter((length) => length !== lengthWithoutChecksum)
    .map((length) => (key: string) => key.slice(0, length)),
  fc.integer({ min: 1, max: 'ack_'.length }).map((length) => (key: string) => key.slice(length)),
  fc.tuple(fc.nat(53), fc.array(fc.constantFrom(...visible), { minLength: 1, maxLength: 20 })).map(
    ([index, extra]) =>
      (key: string) =>
        key.slice(0, index) + extra.join('') + key.slice(index),
  ),
);

describe('a mistyped API key', () => {
  it('gets its own error without a database look-up, unlike an unknown key', async () => {
    const { client } = await server.newOrganisation();
    const { key } = await createKey(client);
    const refusal = async (text: string) => (await errorsOf(viewerOf(server.clientFor(text))))[0];
    // The first failure of a minute writes an audit event; later ones cause no other work.
    await refusal('an-unknown-key-an-unknown-key-an-unknown-key');
    await fc.assert(
      fc.asyncProperty(typos, async (typo) => {
        const text = typo(key);
        fc.pre(text !== key);
        const before = lookUps();
        const error = await refusal(text);
        expect(error?.message).toMatch(mistyped);
        expect(error?.extensions.code).toBe('UNAUTHENTICATED');
        expect(text.length > 'ack_'.length && JSON.stringify(error).includes(text)).toBe(false);
        expect(lookUps()).toBe(before);
      }),
      { numRuns: 300 },
    );
    const before = lookUps();
    expect((await refusal(generateApiKey().reveal()))?.message).toBe('No such API key.');
    expect(lookUps()).toBe(before + 1);
    expect((await refusal(key.slice(0, lengthWithoutChecksum)))?.message).toBe('No such API key.');
    expect((await viewerOf(server.clientFor(key))).apiKey?.name).toBe('Another');
  });

  it('is detected for each changed character and each swapped pair of neighbours', () => {
    const isTold = (text: string) => {
      try {
        assertChecksum(new Secret(text));
        return false;
      } catch (error) {
        return mistyped.test(String((error as Error).message));
      }
    };
    for (let round = 0; round < 5; round += 1) {
      const key = generateApiKey().reveal();
      const untold: string[] = [];
      for (let i = 0; i < key.length; i += 1) {
        for (const character of visible) {
          const typo = key.slice(0, i) + character + key.slice(i + 1);
          if (typo !== key && !isTold(typo)) untold.push(typo);
        }
        const swapped = key.slice(0, i) + key.charAt(i + 1) + key.charAt(i) + key.slice(i + 2);
        if (swapped !== key && !isTold(swapped)) untold.push(swapped);
      }
      expect(untold).toEqual([]);
      expect(isTold(key)).toBe(false);
    }
  });

  it('stops the start when it is in BOOTSTRAP_API_KEY, and is not echoed', () => {
    const key = generateApiKey().reveal();
    for (const typo of [key.slice(0, -1), `${key}0`, `bck_${key.slice(4)}`, `ack_${'x'.repeat(49)}`]) {
      const read = () => readConfig({ BOOTSTRAP_API_KEY: typo });
      expect(read).toThrow(/^BOOTSTRAP_API_KEY starts with ack_ but is not a complete API key/);
      expect(read).not.toThrow(typo);
    }
    expect(readConfig({ BOOTSTRAP_API_KEY: key }).bootstrapApiKey?.reveal()).toBe(key);
  });
});

describe('a secret scanner', () => {
  const page = readFileSync(new URL('../docs/api/authentication.md', import.meta.url), 'utf8');

  /** The CRC-32 of everything before, in base 62, as docs/api/authentication.md describes it. */
  function checksum(start: string): string {
    let rest = crc32(start);
    let text = '';
    while (text.length < 6) {
      text = alphanumeric.charAt(rest % 62) + text;
      rest = Math.floor(rest / 62);
    }
    return text;
  }

  it('tells API keys from lookalikes by the documented format', async () => {
    expect(page.includes('`ack_[0-9A-Za-z]{49}`')).toBe(true);
    expect(/CRC-32 of everything before them, in base 62\swith the digits `0-9A-Za-z`/.test(page)).toBe(true);
    const { client } = await server.newOrganisation();
    const keys = [
      (await createKey(client)).key,
      ...Array.from({ length: 300 }, () => generateApiKey().reveal()),
    ];
    const leak = keys.map((key) => `curl -H "Authorization: Bearer ${key}" # ${'ack_'.repeat(3)}`).join('\n');
    const found = leak.match(/ack_[0-9A-Za-z]{49}/g) ?? [];
    expect(found).toEqual(keys);
    for (const key of found) expect(key.slice(-6)).toBe(checksum(key.slice(0, -6)));
    const lookalike = `ack_${randomBytes(64).toString('hex').slice(0, 49)}`;
    expect(lookalike.slice(-6)).not.toBe(checksum(lookalike.slice(0, -6)));
  });
});

describe('an API key without a checksum', () => {
  it.each([
    ['generated before checksums existed', () => `ack_${randomBytes(32).toString('base64url')}`],
    ['chosen by the operator', () => randomBytes(24).toString('hex')],
    [
      'chosen by the operator with every allowed character',
      () => `A.z_~-${randomBytes(32).toString('base64url')}`,
    ],
    [
      'chosen by the operator with a prefix like ack_',
      () => `acknowledged-${randomBytes(32).toString('hex')}`,
    ],
    [
      'chosen by the operator with the length of a generated key',
      () => randomBytes(27).toString('hex').slice(0, 53),
    ],
    ['chosen by the operator with the maximum length', () => randomBytes(256).toString('hex')],
  ])('authenticates when it was %s', async (_, make) => {
    const { orgId } = await server.newOrganisation();
    for (let round = 0; round < 10; round += 1) {
      const key = make();
      const em = server.asOwner();
      addApiKey(em, { orgId, name: 'Without', key: new Secret(key), scopes: ['connections:read'] });
      await em.flush();
      expect((await viewerOf(server.clientFor(key))).apiKey?.name).toBe('Without');
    }
  });
});
