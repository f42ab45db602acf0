import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oktaUsePresets } from '../src/apps/okta/use-presets.ts';
import { decideUse } from '../src/connections/use-policy/decide.ts';
import { normalisePath } from '../src/connections/use-policy/normalise-path.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { disguises } from './testkit/path-disguises.ts';
import { sendRaw } from './testkit/raw-http.ts';
import { createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { times } from './testkit/stress.ts';

const [{ rules }] = oktaUsePresets;
let okta: OktaStandIn;
let server: TestServer;
let send: (path: string) => Promise<string[]>;

beforeAll(async () => {
  okta = await startOktaStandIn();
  await okta.setLimit(1_000_000);
  server = await startTestServer({ config: { trustedInstanceHosts: new Set([okta.hostPort]) } });
  const { apiKey } = await server.newOrganisation();
  const credentials = { instanceUrl: okta.origin, apiToken: '00a-token-of-the-connection' };
  const { id } = await createConnectionOverRest(restClient(server.url, apiKey), { credentials });
  await okta.takeJournal();
  /** Sends a path as it is, and returns what arrived at Okta. */
  send = async (path) => {
    const line = `GET /api/v1/app-connections/okta/${id}/proxy${path} HTTP/1.1`;
    const headers = `Host: localhost\r\nAuthorization: Bearer ${apiKey}\r\nConnection: close`;
    await sendRaw(server.url, Buffer.from(`${line}\r\n${headers}\r\n\r\n`));
    return (await okta.takeJournal()).map(({ method, url }) => `${method} ${url}`);
  };
});
afterAll(async () => {
  await server.close();
  await okta[Symbol.asyncDispose]();
});

/** Returns the normalised path of an allowed request; undefined for others. */
function allowedPath(path: string): string | undefined {
  try {
    const normalised = normalisePath(path);
    return decideUse(rules, 'GET', normalised).isAllowed ? normalised : undefined;
  } catch {
    return undefined;
  }
}

describe('a path that is sent raw to the proxy', () => {
  it('does not lead to what the use policy denies, in more than 200 disguises', async () => {
    const secrets = '/api/v1/apps/0oa1/credentials/secrets';
    const tricks = [...new Set(disguises(secrets))];
    expect(tricks.length).toBeGreaterThan(200);
    for (const trick of tricks) {
      for (const arrived of await send(trick)) {
        expect.soft(arrived, trick).not.toMatch(/secret|credentials|%0|%2[ef5]|\\|;|\/\//i);
        expect.soft(allowedPath(arrived.replace(/^GET ([^?]*).*/, '$1')), trick).toBeDefined();
      }
    }
  });

  it('arrives at Okta, normalised, exactly if the use policy allows it', async () => {
    const segment = fc.constantFrom(
      ...[
        'users',
        'groups',
        'apps',
        'logs',
        'eventHooks',
        'EVENTHOOKS',
        'idps',
        '0oa1',
        'credentials',
        'secrets',
      ],
      ...[
        '%73ecrets',
        'secret%73',
        'a%20b',
        '%2e',
        '..',
        'a;b',
        '%2F',
        '%ef%bd%93',
        'caf%C3%A9',
        "a!$&'()*+,=:@b",
        '',
        '%',
      ],
    );
    const paths = fc
      .tuple(
        fc.constantFrom('/api/v1', '/api', '/API/v1', '/oauth2/v1', '/api/v1/apps/0oa1'),
        fc.array(segment, { maxLength: 3 }),
      )
      .map(([prefix, segments]) => [prefix, ...segments].join('/'));
    const outcomes = { allowed: 0, denied: 0 };
    const check = async (path: string) => {
      const expected = allowedPath(path);
      outcomes[expected === undefined ? 'denied' : 'allowed'] += 1;
      expect(await send(path)).toEqual(expected === undefined ? [] : [`GET ${expected}`]);
    };
    await fc.assert(fc.asyncProperty(paths, check), { numRuns: 150 * times });
    expect(Math.min(outcomes.allowed, outcomes.denied)).toBeGreaterThan(10);
  });
});
