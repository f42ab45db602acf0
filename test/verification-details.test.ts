import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { okta as oktaApp } from '../src/apps/okta/okta.ts';
import * as okta from './testkit/okta.ts';
import { createConnection, okta as oktaInput, updateMutation } from './testkit/operations.ts';
import { at, oktaBody, restClient } from './testkit/rest.ts';
import { fakeParcelDepot, parcelDepot } from './testkit/second-app.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

// One of the hosts never answers, which costs three seconds of waiting.
vi.setConfig({ testTimeout: 30_000 });

const ownerId = '00ub0oNGTSWTBKOLGLNR';
const organisationId = '00o5rb5mt2H3d1TJd0h7';
const organisationPath = '/api/v1/org';
const rolesPath = `/api/v1/users/${ownerId}/roles`;
const tokensPath = '/api/v1/api-tokens';
const optionalPaths = [organisationPath, rolesPath, tokensPath];

const trusted = new Set<string>();
let server: TestServer;
let host: okta.TestOkta;
let organisation: TestOrganisation;
beforeAll(async () => {
  host = await okta.startOkta();
  const depot = await okta.startOkta({ handler: fakeParcelDepot });
  trusted.add(host.hostPort).add(depot.hostPort);
  const apps = [oktaApp({ trustedHosts: trusted }), parcelDepot({ origin: depot.origin })];
  server = await startTestServer({ config: { trustedInstanceHosts: trusted }, apps });
  organisation = await server.newOrganisation();
  return () => depot.close();
});
afterAll(async () => {
  await server.close();
  await host.close();
});

const detailsFields = `
  details {
    __typename
    warnings { message remedy }
    ... on OktaApiTokenDetails {
      organisation { id name }
      owner { id login status isActive roles { type label } }
      apiTokens { id name created lastUpdated expiresAt network { connection include exclude } }
      clockDifferenceSeconds
    }
  }`;
const byId = `query ($id: UUID!) { appConnection(id: $id) { verification { status ${detailsFields} } } }`;
const verify = `mutation ($id: UUID!) {
  verifyAppConnection(id: $id) { appConnection { verification { status ${detailsFields} } } }
}`;

interface Verification {
  status: string;
  details: Record<string, unknown> | null;
}

let count = 0;
/** Creates a connection to the host, which behaves so at these paths and like Okta at the others. */
async function connect(behaviours: Record<string, okta.Behaviour> = {}, apiToken = 'a-good-token') {
  host.behave(okta.behavingAt(behaviours));
  count += 1;
  const { id } = await createConnection(
    organisation,
    { name: `c-${count}` },
    { instanceUrl: host.origin, apiToken },
  );
  return id;
}

async function read(id: string): Promise<Verification> {
  const { appConnection } = await organisation.client.request<{
    appConnection: { verification: Verification };
  }>(byId, { id });
  return appConnection.verification;
}

async function verifyAgain(id: string): Promise<Verification> {
  const { verifyAppConnection } = await organisation.client.request<{
    verifyAppConnection: { appConnection: { verification: Verification } };
  }>(verify, { id });
  return verifyAppConnection.appConnection.verification;
}

const connectAndRead = async (...args: Parameters<typeof connect>) => read(await connect(...args));

const listed = (id: string, lastUpdated: string, differing: object = {}) => ({
  id: `00T${id.padEnd(17, '0')}`,
  name: `Token ${id}`,
  userId: ownerId,
  created: '2026-01-05T09:30:00.000Z',
  lastUpdated,
  expiresAt: '2026-12-01T00:00:00.000Z',
  network: { connection: 'ANYWHERE' },
  ...differing,
});

/** Answers with one list after another; the last one repeats. */
function inTurn(...lists: unknown[]): okta.Behaviour {
  let calls = 0;
  return (request, response) => {
    okta.json(lists[Math.min(calls, lists.length - 1)])(request, response);
    calls += 1;
  };
}

const tokenIds = ({ details }: Verification) =>
  Object(details?.apiTokens).map(({ id }: { id: string }) => id);

describe('details of a verified API token', () => {
  it('are the organisation, the owner and the token', async () => {
    const verification = await connectAndRead();
    expect(verification).toEqual({
      status: 'VERIFIED',
      details: {
        __typename: 'OktaApiTokenDetails',
        organisation: { id: organisationId, name: 'Example' },
        owner: {
          id: ownerId,
          login: 'ada.admin@example.com',
          status: 'ACTIVE',
          isActive: true,
          roles: [{ type: 'SUPER_ADMIN', label: 'Super Administrator' }],
        },
        apiTokens: [
          {
            id: '00Tabcdefg1234567890',
            name: 'App Connections',
            created: '2026-01-05T09:30:00.000Z',
            lastUpdated: expect.any(String),
            expiresAt: expect.any(String),
            network: { connection: 'ANYWHERE', include: null, exclude: null },
          },
        ],
        clockDifferenceSeconds: 0,
        warnings: [],
      },
    });
  });

  it('decide when the token ends, if it is certain which one it is', async () => {
    const readEnd = async (id: string) => {
      const { appConnection } = await organisation.client.request<{
        appConnection: { health: { expiresAt: string; lastGoodAt: string } };
      }>('query ($id: UUID!) { appConnection(id: $id) { health { expiresAt lastGoodAt } } }', { id });
      return appConnection.health;
    };
    const expiresAt = new Date(Date.now() + 40 * 86_400_000).toISOString();
    const [one, another] = ['a', 'b'].map((id) => listed(id, '2026-02-01T00:00:00.000Z', { expiresAt }));
    expect(await readEnd(await connect({ [tokensPath]: inTurn([one]) }))).toMatchObject({ expiresAt });
    const unknown = await readEnd(await connect({ [tokensPath]: inTurn([one, another]) }));
    const afterUse = Date.parse(unknown.expiresAt) - Date.parse(unknown.lastGoodAt);
    expect(afterUse).toBe(30 * 86_400_000);
  });

  it('are the same when the connection is verified again', async () => {
    const list = [listed('one', '2026-01-05T00:00:00.000Z')];
    const id = await connect({ [tokensPath]: okta.json(list) });
    const { details } = await read(id);
    expect(details).toMatchObject({ organisation: { name: expect.any(String) }, apiTokens: [{}] });
    expect(await verifyAgain(id)).toEqual({ status: 'VERIFIED', details });
  });

  it('are the same over REST, and in a list', async () => {
    const id = await connect();
    const { details } = await read(id);
    const { __typename: _, ...shown } = Object(details);
    const path = `/api/v1/app-connections/okta/${id}/verification`;
    const { body } = await restClient(server.url, organisation.apiKey)('GET', path);
    expect(at(body, 'verification', 'details')).toEqual(shown);
    const list = await organisation.client.request(
      `{ appConnections(filter: { namePrefix: "c-${count}" }) { nodes { verification { ${detailsFields} } } } }`,
    );
    expect(at(list, 'appConnections', 'nodes', 0, 'verification', 'details')).toEqual(details);
  });

  it('are asked for with four requests at most at once, after one without the token and the one that verifies it', async () => {
    const before = host.requests.length;
    const arrived = Promise.withResolvers<void>();
    let waiting = 0;
    const together: okta.Behaviour = async (request, response) => {
      waiting += 1;
      if (waiting === optionalPaths.length) arrived.resolve();
      await arrived.promise;
      okta.behavingAt({})(request, response);
    };
    const behaviours = Object.fromEntries(optionalPaths.map((path) => [path, together]));
    expect((await connectAndRead(behaviours)).details).toMatchObject({ apiTokens: [{}] });
    const requests = host.requests.slice(before);
    const [first, second, ...others] = requests.map(({ path }) => path);
    expect([first, second]).toEqual([okta.wellKnown, okta.tokenPath]);
    expect(others.sort()).toEqual([...optionalPaths].sort());
    expect(requests.map(({ headers }) => headers.authorization === undefined)).toEqual([
      ...[true, false, false, false, false],
    ]);
  });
});

describe('the token of a connection among those that Okta lists', () => {
  const [monday, tuesday, wednesday] = ['05', '06', '07'].map((day) => `2026-01-${day}T00:00:00.000Z`);
  if (!monday || !tuesday || !wednesday) throw new Error('There are three days.');

  it('is one of those of its owner, and those of others are not shown', async () => {
    const list = [
      listed('one', monday),
      listed('two', tuesday),
      listed('foreign', wednesday, { userId: '00u1f96ECLNVOKVMUSEA' }),
    ];
    const verification = await connectAndRead({ [tokensPath]: okta.json(list) });
    expect(tokenIds(verification)).toEqual([list[1]?.id, list[0]?.id]);
    expect(JSON.stringify(verification)).not.toContain('foreign');
  });

  it('is the only one of its owner', async () => {
    const list = [listed('one', monday), listed('foreign', tuesday, { userId: '00u1f96ECLNVOKVMUSEA' })];
    expect(tokenIds(await connectAndRead({ [tokensPath]: okta.json(list) }))).toEqual([list[0]?.id]);
  });

  it('is the one whose last use changes with the request', async () => {
    const first = [listed('one', monday), listed('two', tuesday)];
    const second = [listed('one', wednesday), listed('two', tuesday)];
    expect(tokenIds(await connectAndRead({ [tokensPath]: inTurn(first, second) }))).toEqual([first[0]?.id]);
  });

  it.each([
    ['another one was used too', [listed('one', wednesday), listed('two', wednesday)]],
    [
      'another one was created',
      [listed('one', wednesday), listed('two', tuesday), listed('three', wednesday)],
    ],
    ['none changed', [listed('one', monday), listed('two', tuesday)]],
    ['the second list fails', 'no list'],
  ])('is one of several if %s', async (name, second) => {
    const first = [listed('one', monday), listed('two', tuesday)];
    const ids = tokenIds(await connectAndRead({ [tokensPath]: inTurn(first, second) }));
    expect(ids).toHaveLength(name === 'another one was created' ? 1 : 2);
  });

  it('is one of the twenty that were used last', async () => {
    const many = Array.from({ length: 30 }, (_, index) =>
      listed(`t${index}`, new Date(Date.UTC(2026, 0, 1, index)).toISOString()),
    );
    const ids = tokenIds(await connectAndRead({ [tokensPath]: okta.json(many) }));
    expect(ids).toEqual(
      many
        .slice(10)
        .map(({ id }) => id)
        .reverse(),
    );
  });

  it('shows the zones to which its network condition limits it', async () => {
    const network = {
      connection: 'ZONE',
      include: ['nzo1ab2cd3EF4GH5i0d7', 'elsewhere', 5],
      exclude: ['nzo1ab2cd3EF4GH5i0d8'],
    };
    const list = [listed('one', monday, { network })];
    const { details } = await connectAndRead({ [tokensPath]: okta.json(list) });
    expect(at(details, 'apiTokens', 0, 'network')).toEqual({
      connection: 'ZONE',
      include: ['nzo1ab2cd3EF4GH5i0d7'],
      exclude: ['nzo1ab2cd3EF4GH5i0d8'],
    });
  });
});

describe('a verification whose optional requests fail', () => {
  const refusals: [string, okta.Behaviour][] = [
    ['is forbidden', okta.insufficientRole],
    ['does not exist', okta.notOkta(404)],
    ['is limited', (_, response) => void response.writeHead(429, { 'retry-after': '1' }).end()],
    ['fails', okta.failing(500)],
    ['is a page', okta.notJson()],
    ['redirects', okta.redirect('https://example.okta.com/')],
    ['is endless', okta.endlessBody],
    ['is not HTTP', okta.garbage],
    ['breaks off', okta.closesConnection],
    ['never comes', okta.slowHeaders],
    ['comes byte by byte', okta.slowBody],
    ['has other types', okta.json({ companyName: { text: 'x' }, 0: 'x', length: 1 })],
    ['is a list of other types', okta.json([null, 5, 'x', [], {}, { type: 5, id: [] }])],
    ['is deep', (_, response) => void response.end('['.repeat(10_000))],
  ];

  it.each(refusals)(
    'accepts the token, with null for unknown details, if each optional response %s',
    async (_, behaviour) => {
      const behaviours = Object.fromEntries(optionalPaths.map((path) => [path, behaviour]));
      const { status, details } = await connectAndRead(behaviours);
      expect(status).toBe('VERIFIED');
      expect(details).toMatchObject({ organisation: { id: organisationId, name: null }, apiTokens: null });
      expect([null, []]).toContainEqual(at(details, 'owner', 'roles'));
    },
  );

  it.each(optionalPaths)(
    'accepts the token, with null for the details of %s, if only that never comes',
    async (path) => {
      const { status, details } = await connectAndRead({ [path]: okta.slowHeaders });
      expect(status).toBe('VERIFIED');
      const found: Record<string, unknown> = {
        [organisationPath]: at(details, 'organisation', 'name'),
        [rolesPath]: at(details, 'owner', 'roles'),
        [tokensPath]: details?.apiTokens,
      };
      for (const each of optionalPaths) expect(found[each] === null, each).toBe(each === path);
    },
  );

  it('does not ask Okta again for what it limits until the limit ends', async () => {
    const id = await connect({
      [organisationPath]: (_, response) => {
        const reset = Math.ceil(Date.now() / 1_000) + 60;
        response
          .writeHead(429, {
            'x-rate-limit-limit': '10',
            'x-rate-limit-remaining': '0',
            'x-rate-limit-reset': `${reset}`,
          })
          .end();
      },
    });
    await verifyAgain(id);
    const before = host.requests.length;
    const { status, details } = await verifyAgain(id);
    expect([status, at(details, 'organisation', 'name')]).toEqual(['VERIFIED', null]);
    expect(host.requests.slice(before).map(({ path }) => path)).not.toContain(organisationPath);
  });
});

describe('warnings', () => {
  const withClock =
    (seconds: number): okta.Behaviour =>
    (request, response) => {
      response.setHeader('date', new Date(Date.now() + seconds * 1_000).toUTCString());
      okta.behavingAt({})(request, response);
    };

  it.each([
    [95, 'behind'],
    [-95, 'ahead of'],
    [7_200, 'behind'],
  ])('tell of a clock of Okta that is %i seconds ahead', async (seconds, direction) => {
    const { details } = await connectAndRead({ [okta.tokenPath]: withClock(seconds) });
    const difference = Number(details?.clockDifferenceSeconds);
    expect(Math.abs(difference - seconds)).toBeLessThanOrEqual(2);
    expect(details?.warnings).toEqual([
      {
        message: `The clock of this server is ${Math.abs(difference)} seconds ${direction} the clock of Okta.`,
        remedy: expect.stringContaining('NTP'),
      },
    ]);
  });

  it.each([0, 20, -20])('do not tell of a difference of %i seconds', async (seconds) => {
    const { details } = await connectAndRead({ [okta.tokenPath]: withClock(seconds) });
    expect(details?.warnings).toEqual([]);
  });

  it.each(['tomorrow', '', 'Mon, 01 Jan 9999 00:00:00 GMT', '-1'])(
    'do not tell of a date that is no time: %s',
    async (date) => {
      const { details } = await connectAndRead({
        [okta.tokenPath]: (request, response) => {
          response.setHeader('date', date);
          okta.behavingAt({})(request, response);
        },
      });
      expect(details).toMatchObject({ clockDifferenceSeconds: null, warnings: [] });
    },
  );

  it('tell of an owner who is not active', async () => {
    const { details } = await connectAndRead({ [okta.tokenPath]: okta.answering({ status: 'SUSPENDED' }) });
    expect(details).toMatchObject({
      owner: { status: 'SUSPENDED', isActive: false },
      warnings: [{ message: 'The owner of the API token has the status SUSPENDED in Okta.' }],
    });
  });

  it.each(['LOCKED_OUT', 'PASSWORD_EXPIRED', 'RECOVERY'])(
    'do not warn of an owner with the status %s, whose API tokens work',
    async (status) => {
      const { details } = await connectAndRead({ [okta.tokenPath]: okta.answering({ status }) });
      expect(details).toMatchObject({ owner: { status, isActive: true }, warnings: [] });
    },
  );
});

describe('details of a connection', () => {
  it('stay as they were last found while the verification fails', async () => {
    const id = await connect();
    const { details } = await read(id);
    host.behave(okta.tokenRejected);
    expect(await verifyAgain(id)).toEqual({ status: 'REJECTED', details });
  });

  it('are null if the credentials were never verified', async () => {
    host.behave(okta.failing());
    const overrides = { name: 'unverified', onUnreachable: 'SAVE_UNVERIFIED' };
    const { id } = await createConnection(organisation, overrides, { instanceUrl: host.origin });
    expect(await read(id)).toEqual({ status: 'UNREACHABLE', details: null });
  });

  it('are replaced with the token, without a trace of the owner of the former one', async () => {
    const id = await connect();
    const optional = Object.fromEntries(optionalPaths.map((path) => [path, okta.failing()]));
    const other = '00u1f96ECLNVOKVMUSEA';
    host.behave(okta.behavingAt({ ...optional, [okta.tokenPath]: okta.json({ id: other }) }));
    const input = { credentials: { apiToken: 'another-token' } };
    await organisation.client.request(updateMutation, { id, input });
    const { details } = await read(id);
    expect(details).toMatchObject({ owner: { id: other, login: null, roles: null }, apiTokens: null });
    expect(JSON.stringify(details)).not.toContain('ada.admin');
  });

  it('need connections:read', async () => {
    const id = await connect();
    const verifier = await organisation.newKey(['connections:verify']);
    const [error] = await errorsOf(server.clientFor(verifier).request(verify, { id }));
    expect(error).toMatchObject({
      message: expect.stringContaining('verification.details'),
      extensions: { code: 'FORBIDDEN' },
    });
    const path = `/api/v1/app-connections/okta/${id}/verify`;
    const { body, text } = await restClient(server.url, verifier)('POST', path);
    expect(at(body, 'verification', 'status')).toBe('VERIFIED');
    expect(text).not.toMatch(/details|ada\.admin|App Connections/);
  });

  it('are in the result of validating credentials, for those who have the credentials', async () => {
    host.behave(okta.behavingAt({}));
    const rest = restClient(server.url, await organisation.newKey(['connections:verify']));
    const { name: _, ...credentials } = oktaBody({}, { instanceUrl: host.origin });
    const { body } = await rest('POST', '/api/v1/app-connections/okta/validate', credentials);
    expect(at(body, 'validation', 'details')).toMatchObject({ organisation: { name: 'Example' } });
    const { text } = await rest('POST', '/graphql', {
      query: `mutation ($credentials: OktaCredentialsInput!) {
        validateOktaCredentials(credentials: $credentials) { ${detailsFields} }
      }`,
      variables: { credentials: oktaInput({}, { instanceUrl: host.origin }).input.credentials },
    });
    expect(at(JSON.parse(text), 'data', 'validateOktaCredentials', 'details')).toMatchObject({
      __typename: 'OktaApiTokenDetails',
      organisation: { name: 'Example' },
    });
  });

  it('do not exist for an app that declares none', async () => {
    const rest = restClient(server.url, organisation.apiKey);
    const { body } = await rest('POST', '/api/v1/app-connections/parcel-depot', {
      name: 'depot',
      method: 'signed-requests',
      credentials: { clientId: 'c-1', clientSecret: 'a-secret', signingKey: 'a-key' },
    });
    const id = String(at(body, 'appConnection', 'id'));
    expect(await read(id)).toEqual({ status: 'VERIFIED', details: null });
    const { body: verified } = await rest('GET', `/api/v1/app-connections/parcel-depot/${id}/verification`);
    expect(at(verified, 'verification')).not.toHaveProperty('details');
  });
});

describe('a hostile host', () => {
  const token = '00QAr4FXQq74P-It8uynxHRBZPJ5E7K-b-IKgIjMFu';
  const reversed = [...token].reverse().join('');
  const base64 = Buffer.from(token).toString('base64');

  it.each([
    ['the token', token, ''],
    ['the token in capitals', token.toUpperCase(), ''],
    ['the token backwards', reversed, ''],
    ['the token in base64', base64, ''],
    ['the token in hex', Buffer.from(token).toString('hex'), ''],
    ['the halves of the token', token.slice(0, 21), token.slice(21)],
    ['the halves of the token backwards', reversed.slice(0, 21), reversed.slice(21)],
    ['a part of the token with dots between', [...token.slice(0, 15)].join('.'), ''],
    ['the token moved by one', [...token].map((c) => String.fromCharCode(c.charCodeAt(0) + 1)).join(''), ''],
    [
      'full-width letters',
      [...token].map((c) => String.fromCodePoint(c.charCodeAt(0) + 0xfee0)).join(''),
      '',
    ],
  ])('cannot have %s stored in a name', async (_, companyName, name) => {
    const id = await connect(
      {
        [organisationPath]: okta.json({ companyName }),
        [rolesPath]: okta.json([{ type: 'CUSTOM', label: name || companyName }]),
        [tokensPath]: okta.json([listed('one', '2026-01-05T09:30:00.000Z', { name: name || companyName })]),
      },
      token,
    );
    const { status, details } = await read(id);
    expect(status).toBe('VERIFIED');
    for (const part of [companyName, name].filter(Boolean))
      expect(JSON.stringify(details)).not.toContain(part);
    const rows = await server
      .asOwner()
      .execute('select verification_details from app_connection where id = ?', [id]);
    expect(JSON.stringify(rows)).not.toContain(companyName.slice(0, 12));
  });

  it.each(['a\u0000b', 'a\ud800b', 'a\u202eb', 'a\u200bb', 'a\nb', '', '   ', 'x'.repeat(41)])(
    'cannot have the name %j stored',
    async (companyName) => {
      const { status, details } = await connectAndRead({ [organisationPath]: okta.json({ companyName }) });
      expect([status, at(details, 'organisation', 'name')]).toEqual(['VERIFIED', null]);
    },
  );

  it.each(['Example & Söhne GmbH', 'Пример 株式会社', '  Example  '])(
    'does not keep the name %j from being stored',
    async (companyName) => {
      const { details } = await connectAndRead({ [organisationPath]: okta.json({ companyName }) });
      expect(at(details, 'organisation', 'name')).toBe(companyName.trim());
    },
  );
});
