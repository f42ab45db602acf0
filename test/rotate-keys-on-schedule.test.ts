import { generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { moveClock, restoreClock } from './testkit/move-clock.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { updateMutation } from './testkit/operations.ts';
import { organisationCommand } from './testkit/organisation-command.ts';
import { until } from './testkit/process.ts';
import {
  keyIds,
  keyStates,
  publicJwks,
  RotatingApp,
  type RotatingConnection,
  registeringScopes,
  rotatingScopes,
} from './testkit/rotating-connection.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 60_000 });

const dayMs = 86_400_000;
const scheduled = { keyRotationIntervalMs: 50, expiryIntervalMs: 50 };
const stack = new AsyncDisposableStack();
let standIn: OktaStandIn;
let server: TestServer;
let organisation: TestOrganisation;
beforeAll(async () => {
  standIn = stack.use(await startOktaStandIn());
  const config = { trustedInstanceHosts: new Set([standIn.hostPort]) };
  server = await startTestServer({ config, ...scheduled });
  stack.defer(() => server.close());
  const second = await startTestServer({ config, ...scheduled, beside: server, database: server.database });
  stack.defer(() => second.close());
});
afterAll(() => stack.disposeAsync());
beforeEach(async () => {
  organisation = await server.newOrganisation();
});
afterEach(() => {
  restoreClock();
  return standIn.setClockAhead(0);
});

/** Sets the clocks of Okta and of the servers, which ask Okta as soon as something is due. */
async function setClocksAhead(days: number): Promise<void> {
  await standIn.setClockAhead(days * dayMs);
  moveClock(days * dayMs);
}

const untilKeys = (app: RotatingApp, states: readonly string[]): Promise<RotatingConnection> =>
  until(`keys that are ${states.join(', ')}`, async () => {
    const connection = await app.read();
    return keyStates(connection).join() === states.join() ? connection : undefined;
  });

async function listKeyEvents({ id }: RotatingApp) {
  const { auditEvents } = await organisation.client.request<{ auditEvents: { nodes: { action: string }[] } }>(
    `query ($id: UUID!) {
      auditEvents(filter: { connectionId: $id }) {
        nodes { action outcome targetName keyId subject setupLinkId requestId }
      }
    }`,
    { id },
  );
  return auditEvents.nodes.filter(({ action }) => action.endsWith('_KEY')).reverse();
}

interface Expiry {
  expiresAt: string | null;
  expiryReason: string | null;
}

/** Reads when the key of a connection is to be replaced. */
async function readExpiry({ id }: RotatingApp): Promise<Expiry> {
  const { appConnection } = await organisation.client.request<{ appConnection: { health: Expiry } }>(
    'query ($id: UUID!) { appConnection(id: $id) { health { expiresAt expiryReason } } }',
    { id },
  );
  return appConnection.health;
}

const untilTooOld = (app: RotatingApp) =>
  until('a key that is too old', async () => {
    const { expiresAt, expiryReason } = await readExpiry(app);
    return expiryReason === 'KEY_AGE' && expiresAt ? Date.parse(expiresAt) : undefined;
  });

/** When the schedule looks at the keys of a connection again. */
async function readDueAt({ id }: RotatingApp): Promise<Date | null> {
  const [row] = await server
    .asOwner()
    .execute<[{ at: Date | string | null }]>('select keys_due_at as at from app_connection where id = ?', [
      id,
    ]);
  return row.at === null ? null : new Date(row.at);
}

describe('the schedule of key rotations', () => {
  it('replaces a key of 90 days although another organisation of the server is disabled', async () => {
    const disabled = await server.newOrganisation();
    await organisationCommand(server, 'disable', disabled.orgId, '--reason', 'Unpaid invoices');
    const old = await RotatingApp.create(standIn, organisation, { byUrl: true });
    await setClocksAhead(91);
    const rotated = await untilKeys(old, ['RETIRED', 'ACTIVE']);
    expect(rotated.verification).toEqual({ status: 'VERIFIED' });
  });

  it('replaces a key of 90 days once on all servers, with the server as its actor, and no younger one', async () => {
    const old = await RotatingApp.create(standIn, organisation, { byUrl: true });
    await setClocksAhead(15);
    const younger = await RotatingApp.create(standIn, organisation, { byUrl: true });
    await setClocksAhead(91);
    const rotated = await untilKeys(old, ['RETIRED', 'ACTIVE']);
    const [, newId = ''] = keyIds(rotated);
    expect(await old.use()).toEqual({ status: 200, keyIds: [newId] });
    await setClocksAhead(91.01);
    await until('the end of the work', async () => ((await readDueAt(old)) === null ? true : undefined));
    const server = { keyId: null, subject: null, setupLinkId: null, requestId: null, outcome: 'OK' };
    expect(await listKeyEvents(old)).toMatchObject([
      { ...server, action: 'ROTATE_CONNECTION_KEY', targetName: newId },
      { ...server, action: 'ACTIVATE_CONNECTION_KEY', targetName: newId },
    ]);
    expect(keyStates(await younger.read())).toEqual(['ACTIVE']);
  });

  it('makes no further key while one is pending, and uses that as soon as Okta has it, but asks rarely', async () => {
    const pasted = await RotatingApp.create(standIn, organisation);
    await setClocksAhead(91);
    const [firstId = '', newId = ''] = keyIds(await untilKeys(pasted, ['ACTIVE', 'PENDING']));
    const isWaiting = async () => {
      const dueAt = await readDueAt(pasted);
      return dueAt && dueAt.getTime() > Date.now() ? dueAt : undefined;
    };
    const first = await until('the time of the next attempt', isWaiting);
    expect(first.getTime() - Date.now()).toBeGreaterThan(4 * 60_000);
    // The first attempt may still be running.
    const { status, keyIds: used } = await pasted.use();
    expect([status, used.includes(firstId)]).toEqual([200, true]);

    // The other connection shows that the schedule has gone on.
    const fetched = await RotatingApp.create(standIn, organisation, { byUrl: true });
    await setClocksAhead(200);
    await untilKeys(fetched, ['RETIRED', 'ACTIVE']);
    const second = await until('the time of the next attempt', isWaiting);
    expect(second.getTime() - Date.now()).toBeGreaterThan(5 * 3_600_000);
    const waiting = await pasted.read();
    expect(keyIds(waiting)).toEqual([firstId, newId]);
    expect(await untilTooOld(pasted)).toBeLessThan(Date.now() - 100 * dayMs);

    await pasted.configure({ keys: publicJwks(waiting) });
    await setClocksAhead(200.5);
    await untilKeys(pasted, ['RETIRED', 'ACTIVE']);
    // The other server may use the old key for another moment.
    await expect.poll(() => pasted.use()).toEqual({ status: 200, keyIds: [newId] });
    expect(await readExpiry(pasted)).toEqual({ expiresAt: null, expiryReason: null });
  });

  it('adds the new key to an app in Okta that may change its keys, and removes the old one once it is unused', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const [oldId = ''] = keyIds(await app.read());
    await setClocksAhead(91);
    const [, newId = ''] = keyIds(await untilKeys(app, ['RETIRED', 'ACTIVE']));
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${oldId}`, `ACTIVE ${newId}`]);
    await standIn.answerNext(`/api/v1/apps/${app.clientId}/credentials/jwks`, { status: 503 });
    await setClocksAhead(91.01);
    await until('the failure of the removal', async () => {
      const dueAt = await readDueAt(app);
      return dueAt && dueAt.getTime() > Date.now() + 60_000 ? true : undefined;
    });
    expect(keyIds(await app.read())).toEqual([oldId, newId]);
    // A day later the old key is no longer published, and Okta still has it.
    const forbidden = { status: 403, content: { errorCode: 'E0000006', errorSummary: 'No.' } };
    await standIn.answerNext(`/api/v1/apps/${app.clientId}/credentials/jwks`, forbidden);
    await setClocksAhead(93);
    const failing = await until('the reason why the key is not removed', async () => {
      const { credentials } = await app.read();
      const { code, message } = credentials.keyRegistrationFailure ?? {};
      return code === 'INSUFFICIENT_PERMISSIONS' ? message : undefined;
    });
    expect(failing).toContain(oldId);
    expect(await app.published()).toEqual([newId]);
    await setClocksAhead(93.5);
    const removed = await until('the removal', async () =>
      (await listKeyEvents(app)).find(({ action }) => action === 'REMOVE_CONNECTION_KEY'),
    );
    expect(removed).toMatchObject({ targetName: oldId, keyId: null, outcome: 'OK' });
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${newId}`]);
    const after = await app.read();
    expect([keyIds(after), after.credentials.keyRegistrationFailure]).toEqual([[newId], null]);
    const failures = (await listKeyEvents(app)).filter(({ action }) => action === 'REGISTER_CONNECTION_KEY');
    expect(failures).toMatchObject([
      { outcome: 'UPSTREAM_UNREACHABLE', targetName: oldId },
      { outcome: 'INSUFFICIENT_PERMISSIONS', targetName: oldId },
    ]);
    const buckets = await server
      .asOwner()
      .execute<{ bucket: string }[]>('select bucket from rate_budget where connection_id = ?', [app.id]);
    const path = '/api/v1/apps/:app/credentials/jwks';
    const changed = [`${path}/:key`, `${path}/:key/lifecycle/:transition`];
    expect(buckets.map(({ bucket }) => bucket)).toEqual(expect.arrayContaining(changed));
  });

  it('says once why Okta refuses a new key, while it also refuses to remove an old one', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    await setClocksAhead(91);
    await untilKeys(app, ['RETIRED', 'ACTIVE']);
    const forbidden = { status: 403, content: { errorCode: 'E0000006', errorSummary: 'No.' } };
    const path = `/api/v1/apps/${app.clientId}/credentials/jwks`;
    // Two attempts ask for the keys to add one, and to remove one.
    await standIn.answerNext(path, forbidden, forbidden, forbidden, forbidden);
    await setClocksAhead(182);
    let refused = 0;
    await until('the first attempt', async () => {
      refused += (await standIn.takeJournal()).filter(
        ({ url, status }) => url === path && status === 403,
      ).length;
      return refused === 2 || undefined;
    });
    await setClocksAhead(183);
    await until('the second attempt', async () => {
      const dueAt = await readDueAt(app);
      return dueAt && dueAt.getTime() > Date.now() + 60_000 ? true : undefined;
    });
    const failing = await app.read();
    const [, newId = ''] = keyIds(failing);
    expect(failing.credentials.keyRegistrationFailure?.message).toContain(
      `could not add its new key ${newId}`,
    );
    const failures = (await listKeyEvents(app)).filter(({ action }) => action === 'REGISTER_CONNECTION_KEY');
    expect(failures).toMatchObject([{ outcome: 'INSUFFICIENT_PERMISSIONS', targetName: newId }]);
    await setClocksAhead(184);
    await untilKeys(app, ['RETIRED', 'ACTIVE']);
    await setClocksAhead(184.5);
    await untilKeys(app, ['ACTIVE']);
    expect(await app.keysInOkta()).toEqual([`ACTIVE ${newId}`]);
    expect((await app.read()).credentials.keyRegistrationFailure).toBeNull();
  });

  it('removes the keys of the server in Okta after a conversion to a key of the caller, and no other key', async () => {
    const app = await RotatingApp.create(standIn, organisation, { scopes: registeringScopes });
    const rotated = await app.rotate();
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const own = { ...publicKey.export({ format: 'jwk' }), kid: 'own', alg: 'ES256', use: 'sig' };
    const foreign = { ...own, kid: 'foreign' };
    await app.configure({ scopes: registeringScopes, keys: [...publicJwks(rotated), own, foreign] });
    await organisation.client.request(
      `mutation ($id: UUID!, $to: ConvertOktaConnectionInput!) {
        convertOktaConnection(id: $id, to: $to) { appConnection { id } }
      }`,
      {
        id: app.id,
        to: {
          ...{ clientId: app.clientId, scopes: registeringScopes, keyId: 'own' },
          privateKey: privateKey.export({ format: 'pem', type: 'pkcs8' }),
        },
      },
    );
    expect(keyStates(await app.read())).toEqual(['RETIRED', 'RETIRED', 'ACTIVE']);
    // The other server may use the old key for another moment.
    expect(await app.keysInOkta()).toHaveLength(4);
    await setClocksAhead(0.01);
    await untilKeys(app, ['ACTIVE']);
    expect(await app.keysInOkta()).toEqual(['ACTIVE own', 'ACTIVE foreign']);
    expect(keyIds(await app.read())).toEqual(['own']);
    const removed = (await listKeyEvents(app)).filter(({ action }) => action === 'REMOVE_CONNECTION_KEY');
    expect(removed).toMatchObject(keyIds(rotated).map((targetName) => ({ targetName, outcome: 'OK' })));
  });

  it('looks at keys that a server with a wrong clock has postponed by more than a wait', async () => {
    const app = await RotatingApp.create(standIn, organisation);
    await app.configure({ keys: publicJwks(await app.rotate()) });
    await server
      .asOwner()
      .execute(`update app_connection set keys_due_at = now() + interval '1 year' where id = ?`, [app.id]);
    await untilKeys(app, ['RETIRED', 'ACTIVE']);
  });

  it('leaves connections alone whose credentials Okta rejects', async () => {
    const rejected = await RotatingApp.create(standIn, organisation);
    await rejected.configure({ keys: [] });
    expect((await rejected.verify()).verification.status).toBe('REJECTED');
    const working = await RotatingApp.create(standIn, organisation, { byUrl: true });
    await setClocksAhead(91);
    await untilKeys(working, ['RETIRED', 'ACTIVE']);
    expect(keyStates(await rejected.read())).toEqual(['ACTIVE']);
  });
});

describe('a server with CONNECTION_KEY_ROTATION_DAYS=0', () => {
  it('warns once of the age of a key, also if the connection is updated meanwhile', async () => {
    const config = { trustedInstanceHosts: new Set([standIn.hostPort]), connectionKeyRotationDays: 0 };
    const off = await startTestServer({ config, ...scheduled });
    try {
      organisation = await off.newOrganisation();
      const app = await RotatingApp.create(standIn, organisation, { byUrl: true, scopes: registeringScopes });
      const countWarnings = async () => {
        const { auditEvents } = await organisation.client.request<{ auditEvents: { nodes: object[] } }>(
          'query ($id: UUID!) { auditEvents(filter: { connectionId: $id, action: WARN_OF_EXPIRY }) { nodes { seq } } }',
          { id: app.id },
        );
        return auditEvents.nodes.length;
      };
      await setClocksAhead(80);
      await untilTooOld(app);
      await until('the first warning', async () => ((await countWarnings()) === 1 ? true : undefined));
      const before = await readExpiry(app);
      await organisation.client.request(updateMutation, {
        id: app.id,
        input: { credentials: { scopes: rotatingScopes } },
      });
      expect(await readExpiry(app)).toEqual(before);
      // The next warning shows that the servers have gone on.
      await setClocksAhead(84);
      await until('the second warning', async () => {
        const [row] = await off
          .asOwner()
          .execute<[{ isLast: boolean }]>(
            `select expiry_warning_at = expires_at - interval '24 hours' as "isLast" from app_connection where id = ?`,
            [app.id],
          );
        return row.isLast || undefined;
      });
      expect(await countWarnings()).toBe(2);
    } finally {
      await off.close();
    }
  });

  it('does not warn of the age of a key that Okta rejects', async () => {
    const config = { trustedInstanceHosts: new Set([standIn.hostPort]), connectionKeyRotationDays: 0 };
    const off = await startTestServer({ config, ...scheduled });
    try {
      organisation = await off.newOrganisation();
      const [rejected, working] = [
        await RotatingApp.create(standIn, organisation),
        await RotatingApp.create(standIn, organisation),
      ];
      await untilTooOld(rejected);
      await rejected.configure({ keys: [] });
      expect((await rejected.verify()).verification.status).toBe('REJECTED');
      const none = { expiresAt: null, expiryReason: null };
      expect(await readExpiry(rejected)).toEqual(none);
      // Another key shows that the servers have gone on.
      const later = await RotatingApp.create(standIn, organisation);
      await untilTooOld(later);
      expect([await readExpiry(rejected), (await readExpiry(working)).expiryReason]).toEqual([
        none,
        'KEY_AGE',
      ]);
    } finally {
      await off.close();
    }
  });

  it('makes no key by itself, and uses the one that a rotation by hand has made as soon as Okta has it', async () => {
    const config = { trustedInstanceHosts: new Set([standIn.hostPort]), connectionKeyRotationDays: 0 };
    const off = await startTestServer({ config, ...scheduled });
    try {
      organisation = await off.newOrganisation();
      const old = await RotatingApp.create(standIn, organisation, { byUrl: true });
      await setClocksAhead(80);
      // Nothing replaces it when it is 90 days old.
      expect(Math.round(((await untilTooOld(old)) - Date.now()) / dayMs)).toBe(10);
      await setClocksAhead(400);
      const pasted = await RotatingApp.create(standIn, organisation);
      await pasted.configure({ keys: publicJwks(await pasted.rotate()) });
      await setClocksAhead(400.5);
      await untilKeys(pasted, ['RETIRED', 'ACTIVE']);
      expect(keyStates(await old.read())).toEqual(['ACTIVE']);
    } finally {
      await off.close();
    }
  });
});
