import { once } from 'node:events';
import { createServer, type IncomingMessage, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AppConnection } from '../src/connections/app-connection.entity.ts';
import { listAuditEvents } from './testkit/access.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { createConnection, updateMutation } from './testkit/operations.ts';
import { spawnServer, temporaryFolder, until } from './testkit/process.ts';
import { keyIds, keyStates, RotatingApp, registeringScopes } from './testkit/rotating-connection.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';

/** A request to Okta that is never answered. */
interface Hold {
  matches(request: IncomingMessage, body: string): boolean;
  /** Whether Okta gets it nevertheless. */
  isForwarded: boolean;
}

/** A proxy in front of Okta that holds requests of a server until it is killed. */
async function startGate({ origin }: OktaStandIn) {
  const holds = new Map<string, Hold>();
  const held = new Set<string>();
  const gate = createServer(async (incoming, response) => {
    const { method, url, headers } = incoming;
    const body = await buffer(incoming);
    const found = [...holds].find(([, hold]) => hold.matches(incoming, body.toString()));
    if (found && !found[1].isForwarded) {
      held.add(found[0]);
      return;
    }
    const outgoing = send(new URL(url ?? '', origin), { method, headers }, (answer) => {
      // A refusal only asks for a nonce.
      if (found && (answer.statusCode ?? 0) < 400) {
        answer.resume().once('end', () => held.add(found[0]));
        return;
      }
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    outgoing.end(body);
  }).listen(0, '127.0.0.1');
  await once(gate, 'listening');
  const hostPort = `127.0.0.1:${(gate.address() as AddressInfo).port}`;
  return {
    origin: `http://${hostPort}`,
    hostPort,
    holds,
    held,
    [Symbol.asyncDispose]: async () => {
      gate.closeAllConnections();
      gate.close();
    },
  };
}

describe.runIf(testDatabaseUrl)('a server that is killed', () => {
  const stack = new AsyncDisposableStack();
  let standIn: OktaStandIn;
  let gate: Awaited<ReturnType<typeof startGate>>;
  let server: TestServer;
  beforeAll(async () => {
    standIn = stack.use(await startOktaStandIn());
    gate = stack.use(await startGate(standIn));
    server = await startTestServer({ config: { trustedInstanceHosts: new Set([gate.hostPort]) } });
    stack.defer(() => server.close());
  });
  afterAll(() => stack.disposeAsync());

  it('at any step of rotations and revocations leaves working connections, and another server goes on', async () => {
    if (server.location.kind !== 'postgresql') throw new Error('This is about PostgreSQL.');
    const data = stack.use(temporaryFolder());
    const organisation = await server.newOrganisation();
    const through = { ...standIn, origin: gate.origin };
    const keysPath = ({ clientId }: RotatingApp) => `/api/v1/apps/${clientId}/credentials/jwks`;
    const replaced = await RotatingApp.create(through, organisation, { scopes: registeringScopes });
    const [removed = '', kept = ''] = keyIds(await replaced.rotate());
    // The old key was replaced so long ago that no server uses it, and is removed by the next server that looks.
    const retiredAt = new Date(Date.now() - 120_000).toISOString();
    await changeRows(server, AppConnection, { id: replaced.id }, ({ keys }) => ({
      keys: (keys ?? []).map((key) => (key.state === 'RETIRED' ? { ...key, retiredAt } : key)),
      keysDueAt: new Date(),
    }));
    gate.holds.set('a replaced key is deactivated', {
      matches: ({ method, url = '' }) =>
        method === 'POST' && url.startsWith(keysPath(replaced)) && url.endsWith('/deactivate'),
      isForwarded: true,
    });
    await using killed = spawnServer({
      DATABASE_URL: server.location.url.reveal(),
      DATA_DIR: data.path,
      ENCRYPTION_KEYS: server.rootKey,
      TRUSTED_INSTANCE_HOSTS: gate.hostPort,
    });
    const apps: RotatingApp[] = [];
    for (let count = 0; count < 3; count += 1)
      apps.push(await RotatingApp.create(through, organisation, { scopes: registeringScopes }));
    const [one, two, three] = apps as [RotatingApp, RotatingApp, RotatingApp];
    const before = await Promise.all(apps.map(async (app) => keyIds(await app.read())));
    const tokens = ['00old-token-whose-revocation-is-lost', '00old-token-that-is-revoked'];
    const connections: string[] = [];
    for (const [index, apiToken] of tokens.entries()) {
      const credentials = { instanceUrl: gate.origin, apiToken };
      connections.push((await createConnection(organisation, { name: `token-${index}` }, credentials)).id);
    }
    const url = await killed.ready();
    gate.holds.set('a key is made', {
      matches: (request) => request.method === 'GET' && request.url === keysPath(one),
      isForwarded: false,
    });
    gate.holds.set('a key is registered', {
      matches: (request) => request.method === 'POST' && request.url === keysPath(two),
      isForwarded: true,
    });
    let isRegistered = false;
    gate.holds.set('a key is accepted', {
      matches: ({ method, url: path }, body) => {
        isRegistered ||= method === 'POST' && path === keysPath(three);
        const assertion = new URLSearchParams(body).get('client_assertion');
        return isRegistered && assertion !== null && decodeJwt(assertion).sub === three.clientId;
      },
      isForwarded: true,
    });
    for (const [index, token] of tokens.entries()) {
      gate.holds.set(`token ${index} is revoked`, {
        matches: ({ method, headers }) => method === 'DELETE' && headers.authorization === `SSWS ${token}`,
        isForwarded: index === 1,
      });
      await organisation.client.request(updateMutation, {
        id: connections[index],
        input: { credentials: { apiToken: `00new-token-${index}` }, revokeOldToken: true },
      });
    }
    const areHeld = (names: readonly string[]) =>
      until(`the server waits for Okta: ${names.join()}`, () =>
        names.every((name) => gate.held.has(name)) ? true : undefined,
      );
    await areHeld(tokens.map((_, index) => `token ${index} is revoked`));
    const client = (app: RotatingApp) =>
      fetch(`${url}/api/v1/app-connections/okta/${app.id}/rotate-key`, {
        method: 'POST',
        headers: { authorization: `Bearer ${organisation.apiKey}` },
      }).catch(() => undefined);
    const requests = apps.map(client);
    await areHeld([...gate.holds.keys()]);
    killed.kill('SIGKILL');
    await Promise.all(requests);
    gate.holds.clear();

    const left = await Promise.all(apps.map((app) => app.read()));
    for (const each of left) expect(keyStates(each)).toEqual(['ACTIVE', 'PENDING']);
    expect(keyStates(await replaced.read())).toEqual(['RETIRED', 'ACTIVE']);
    for (const app of [...apps, replaced]) expect(await app.use()).toMatchObject({ status: 200 });

    const heir = await startTestServer({
      config: { trustedInstanceHosts: new Set([gate.hostPort]) },
      beside: server,
      ...{ keyRotationIntervalMs: 100, revocationIntervalMs: 100 },
    });
    stack.defer(() => heir.close());
    // The schedule would go on in five minutes.
    await server
      .asOwner()
      .execute(`update app_connection set keys_due_at = now() where keys_due_at is not null`);
    for (const [index, app] of apps.entries()) {
      const rotated = await until('the new key is used', async () => {
        const read = await app.read();
        return keyStates(read).join() === 'RETIRED,ACTIVE' ? read : undefined;
      });
      expect(keyIds(rotated)).toEqual(keyIds(left[index] as (typeof left)[number]));
      expect(keyIds(rotated).slice(0, 1)).toEqual(before[index]);
      await expect.poll(() => app.use()).toMatchObject({ status: 200 });
    }
    await until('the replaced key is removed', async () =>
      keyIds(await replaced.read()).join() === kept ? true : undefined,
    );
    expect(await replaced.keysInOkta()).toEqual([`ACTIVE ${kept}`]);
    const removals = (await listAuditEvents(organisation.client)).filter(
      ({ action, targetName }) => action === 'REMOVE_CONNECTION_KEY' && targetName === removed,
    );
    expect(removals).toHaveLength(1);
    const outcomes = await until('the tokens are revoked', async () => {
      const events = await listAuditEvents(organisation.client);
      const revoked = events.filter(({ action }) => action === 'REVOKE_TOKEN');
      return revoked.length >= 2 ? revoked.map(({ outcome }) => outcome) : undefined;
    });
    expect(outcomes).toEqual(['OK', 'OK']);
  }, 240_000);
});
