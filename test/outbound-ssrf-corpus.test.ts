import { isIPv6 } from 'node:net';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import type { Lookup } from '../src/outbound/dns.ts';
import { type ConnectionAttempts, countConnectionAttempts } from './testkit/connection-attempts.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { brokenHosts, disguisedHosts, forbiddenAddresses } from './testkit/forbidden-hosts.ts';
import { redirect, startOkta, type TestOkta } from './testkit/okta.ts';
import { at, createConnectionOverRest, type RestClient, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createUrlEntryPoints, parseFailure } from './testkit/url-entry-points.ts';

const apiToken = '00planted-planted-planted';

const trusted = new Set<string>();
const lookups: string[] = [];
/** How host names are resolved; tests set theirs. */
let resolve: Lookup;
let server: TestServer;
let redirecting: TestOkta;
let rest: RestClient;
let stored: { id: string };
let ways: ReturnType<typeof createUrlEntryPoints>;
/** The allowed destinations of this process, which runs the server and its clients. */
let allowed: string[];

beforeAll(async () => {
  redirecting = await startOkta();
  trusted.add(redirecting.hostPort);
  server = await startTestServer({
    config: { trustedInstanceHosts: trusted },
    outbound: {
      timeoutMs: 2_000,
      lookup: async (name) => {
        lookups.push(name);
        return resolve(name);
      },
    },
  });
  rest = restClient(server.url, (await server.newOrganisation()).apiKey);
  stored = await createConnectionOverRest(rest, { name: 'stored' });
  ways = createUrlEntryPoints(rest, stored.id, apiToken);
  allowed = [server.url, ...(testDatabaseUrl ? [testDatabaseUrl] : [])].map((url) => new URL(url).port);
});
afterAll(async () => {
  await server.close();
  await redirecting.close();
});

/** Sends the instance URL through these entry points, checks that no response echoes `unsaid`, and returns the codes. */
async function codesFor(
  instanceUrl: string,
  unsaid: readonly string[],
  used = Object.values(ways),
): Promise<Set<string>> {
  using attempts = countConnectionAttempts();
  const answers = await Promise.all(used.map((send) => send(instanceUrl)));
  for (const { text } of answers) {
    for (const part of [apiToken, ...unsaid]) if (part.length > 4) expect(text).not.toContain(part);
  }
  expect(unexpectedTargets(attempts)).toEqual([]);
  return new Set(answers.map((answer) => parseFailure(answer).code));
}

function unexpectedTargets(attempts: ConnectionAttempts): string[] {
  return attempts.targets().filter((target) => !allowed.some((port) => target.endsWith(`:${port}`)));
}

const inBrackets = (address: string) => (isIPv6(address) ? `[${address}]` : address);

describe('forbidden host causes no connection, no lookup and no echo', () => {
  test.each([...forbiddenAddresses.map(inBrackets), ...disguisedHosts])('for https://%s', async (host) => {
    lookups.length = 0;
    const url = `https://${host}`;
    const { pathname, username, search, hash, hostname } = new URL(url);
    const codes = await codesFor(url, [host, hostname]);
    const isBare =
      pathname === '/' && username === '' && search === '' && hash === '' && !host.includes('\\');
    expect(codes).toEqual(new Set([isBare ? 'HOST_NOT_ALLOWED' : 'BAD_USER_INPUT']));
    expect(lookups).toEqual([]);
  });

  test.each(brokenHosts)('for https://%s, which is not a URL', async (host) => {
    lookups.length = 0;
    expect(await codesFor(`https://${host}`, [host])).toEqual(new Set(['BAD_USER_INPUT']));
    expect(lookups).toEqual([]);
  });
});

describe('name of a forbidden address causes no connection and no echo', () => {
  const unassigned = { address: '3000::1', family: 6 } as const;
  const found = (address: string) => ({ address, family: isIPv6(address) ? 6 : 4 }) as const;

  test.each(forbiddenAddresses)('when it resolves to %s, alone or among others', async (address) => {
    for (const answer of [[found(address)], [unassigned, found(address)], [found(address), unassigned]]) {
      resolve = async () => answer;
      // All entry points resolve names with the same function, so one of them suffices for addresses among others.
      const used = answer.length === 1 ? Object.values(ways) : [ways.validateOktaCredentials];
      const codes = await codesFor('https://hidden.okta.test', ['hidden.okta', address], used);
      expect(codes).toEqual(new Set(['HOST_NOT_ALLOWED']));
    }
  });
});

test('follows no redirect to a forbidden address', async () => {
  allowed.push(`${redirecting.port}`);
  onTestFinished(() => void allowed.pop());
  resolve = () => Promise.reject(new Error('unexpected DNS lookup'));
  for (const host of [...forbiddenAddresses.map(inBrackets), ...disguisedHosts]) {
    // Headers are ASCII, so the redirect has the URL in serialized form.
    redirecting.behave(redirect(`https://${new URL(`https://${host}`).host}/`));
    using attempts = countConnectionAttempts();
    const answer = await ways.validateOktaCredentials(redirecting.origin);
    expect(parseFailure(answer).code).toBe('NOT_AN_OKTA_ORG');
    expect(unexpectedTargets(attempts)).toEqual([]);
  }
});

test('stores nothing for forbidden hosts', async () => {
  const { body } = await rest('GET', '/api/v1/app-connections/okta');
  expect(at(body, 'appConnections')).toMatchObject([{ id: stored.id, version: 1 }]);
});
