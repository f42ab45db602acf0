import { randomUUID } from 'node:crypto';
import { gql } from 'graphql-request';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { checkChain, listAuditEvents } from './testkit/access.ts';
import { moveClock, restoreClock } from './testkit/move-clock.ts';
import { type JournalEntry, type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { updateMutation } from './testkit/operations.ts';
import { organisationCommand } from './testkit/organisation-command.ts';
import { until } from './testkit/process.ts';
import { at, createCheckedClient, type RestClient, restClient } from './testkit/rest.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { errorsOf, startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 180_000 });

const path = '/api/v1/api-tokens/current';
/** Whether a server looks for tokens to revoke. */
const revoking = { revocationIntervalMs: 50 };
let okta: OktaStandIn;
let server: TestServer;
/** A second server of the database, which never revokes: as if it was killed after each change. */
let killed: TestServer;
let organisation: TestOrganisation;
let rest: RestClient;
/** The requests to Okta in the test. */
let journal: JournalEntry[];
/** The old tokens, which must be nowhere. */
const planted: string[] = [];

beforeAll(async () => {
  okta = await startOktaStandIn();
  const config = { trustedInstanceHosts: new Set([okta.hostPort]) };
  killed = await startTestServer({ config });
  server = await startTestServer({ config, beside: killed, database: killed.database, ...revoking });
});
afterAll(async () => {
  await server.close();
  await killed.close();
  await okta[Symbol.asyncDispose]();
});
beforeEach(async () => {
  organisation = await killed.newOrganisation();
  rest = await createCheckedClient(killed.url, organisation.apiKey);
  await okta.takeJournal();
  journal = [];
});
afterEach(restoreClock);

const newToken = () => {
  const token = `00planted${randomUUID().replaceAll('-', '')}`;
  planted.push(token);
  return token;
};

/** Creates a connection with an API token. */
async function connect(apiToken = newToken()) {
  const credentials = { instanceUrl: okta.origin, apiToken };
  const created = await rest('POST', '/api/v1/app-connections/okta', {
    name: `connection-${randomUUID()}`,
    credentials,
  });
  const { id } = Object(at(created.body, 'appConnection'));
  return { id: String(id), apiToken, url: `/api/v1/app-connections/okta/${id}` };
}

const replace = (id: string, apiToken: string) =>
  organisation.client.request(updateMutation, {
    id,
    input: { credentials: { apiToken }, revokeOldToken: true },
  });

const setToken = (id: string, apiToken: string) =>
  organisation.client.request(updateMutation, { id, input: { credentials: { apiToken } } });

const authorizationOf = ({ headers }: JournalEntry) =>
  headers[headers.findIndex((name) => name.toLowerCase() === 'authorization') + 1];

/** The revocations that Okta was asked for. */
async function listRevocations(): Promise<JournalEntry[]> {
  journal.push(...(await okta.takeJournal()));
  return journal.filter(({ method, url }) => method === 'DELETE' && url === path);
}

/** Waits until the last of the tokens to revoke has an outcome, and returns the outcomes. */
const outcomes = (count = 1) =>
  until('the outcome of the revocation', async () => {
    const events = (await listAuditEvents(organisation.client)).filter(
      ({ action }) => action === 'REVOKE_TOKEN',
    );
    return events.length >= count ? events.map(({ outcome }) => outcome) : undefined;
  });

const storedRow = async (id: string) => {
  const columns = 'revocations, revoke_at as "revokeAt", version';
  const [row] = await killed.asOwner().execute(`select ${columns} from app_connection where id = ?`, [id]);
  return row;
};

const use = async (id: string, { url } = server) =>
  (
    await restClient(url, organisation.apiKey)(
      'GET',
      `/api/v1/app-connections/okta/${id}/proxy/api/v1/users?limit=1`,
    )
  ).status;

describe('replacing an API token with revokeOldToken', () => {
  it('revokes the old token although another organisation of the server is disabled', async () => {
    const disabled = await killed.newOrganisation();
    await organisationCommand(killed, 'disable', disabled.orgId, '--reason', 'Unpaid invoices');
    const { id } = await connect();
    await replace(id, newToken());
    expect(await outcomes()).toEqual(['OK']);
    expect(await listRevocations()).toMatchObject([{ status: 204 }]);
  });

  it('revokes the old token once, after the new one was verified and stored, by a server that is alive', async () => {
    const { id, apiToken: old } = await connect();
    const next = newToken();
    expect(await use(id)).toBe(200);
    await replace(id, next);
    expect(await use(id)).toBe(200);
    // Encrypted until then, although this server revokes nothing.
    expect(await storedRow(id)).toMatchObject({ revocations: [{ method: 'api-token' }], version: 2 });
    expect(await outcomes()).toEqual(['OK']);
    expect(await use(id)).toBe(200);

    const [revocation, ...others] = await listRevocations();
    expect(others).toEqual([]);
    expect(revocation).toMatchObject({ status: 204 });
    expect(revocation && authorizationOf(revocation)).toBe(`SSWS ${old}`);
    const verified = journal.findIndex((entry) => authorizationOf(entry) === `SSWS ${next}`);
    expect(journal.indexOf(revocation as JournalEntry)).toBeGreaterThan(verified);
    expect(await storedRow(id)).toEqual({ revocations: null, revokeAt: null, version: 2 });
    const events = await listAuditEvents(organisation.client);
    expect(events.find(({ action }) => action === 'UPDATE_CONNECTION')).toMatchObject({
      changedFields: ['credentials.apiToken', 'revocation'],
    });
    expect(await checkChain(killed, organisation.orgId)).toHaveProperty('events');
  });

  it('revokes each of several tokens, over REST too, and leaves the new one in use', async () => {
    const { id, url, apiToken: first } = await connect();
    const [second, third] = [newToken(), newToken()];
    await replace(id, second);
    const answer = await rest('PATCH', url, { credentials: { apiToken: third }, revokeOldToken: true });
    expect(answer.status).toBe(200);
    expect(await outcomes(2)).toEqual(['OK', 'OK']);
    expect((await listRevocations()).map(authorizationOf).sort()).toEqual(
      [`SSWS ${first}`, `SSWS ${second}`].sort(),
    );
    expect(await use(id)).toBe(200);
  });

  it('leaves a token that was replaced while an older one is revoked to the requests that still use it', async () => {
    const { id } = await connect();
    const [second, third] = [newToken(), newToken()];
    await replace(id, second);
    const held = await okta.holdNext(path);
    await held.arrived();
    await replace(id, third);
    const { revokeAt } = Object(await storedRow(id));
    await held.release();
    expect(await outcomes()).toEqual(['OK']);
    expect(Object(await storedRow(id)).revokeAt).toEqual(revokeAt);
    expect(await outcomes(2)).toEqual(['OK', 'OK']);
  });

  it('changes and revokes nothing if Okta rejects the new token', async () => {
    const { id } = await connect();
    const next = newToken();
    await okta.revoke(next);
    const [error] = await errorsOf(replace(id, next));
    expect(error?.extensions.code).toBe('CREDENTIALS_REJECTED');
    expect(await storedRow(id)).toEqual({ revocations: null, revokeAt: null, version: 1 });
    expect(await use(id)).toBe(200);
  });

  it('is refused without a new token, for the same one, and while another connection uses the old one', async () => {
    const { id, apiToken } = await connect();
    const messageOf = async (input: object) => {
      const [error] = await errorsOf(
        organisation.client.request(updateMutation, { id, input: { ...input, revokeOldToken: true } }),
      );
      expect(error?.extensions).toMatchObject({
        code: 'BAD_USER_INPUT',
        issues: [{ path: ['input', 'revokeOldToken'] }],
      });
      return error?.extensions.issues?.[0]?.message;
    };
    expect(await messageOf({ name: 'renamed' })).toContain('Give the new token');
    expect(await messageOf({ credentials: { apiToken } })).toContain('the one in use');
    await connect(apiToken);
    expect(await messageOf({ credentials: { apiToken: newToken() } })).toContain('uses the same token');
    expect(await storedRow(id)).toMatchObject({ version: 1, revocations: null });
  });

  it('is tried again if Okta fails', async () => {
    const { id } = await connect();
    await okta.answerNext(path, { status: 503 });
    await replace(id, newToken());
    expect(await outcomes()).toEqual(['OK']);
    expect((await listRevocations()).map(({ status }) => status)).toEqual([503, 204]);
  });

  it('is tried again if a server with a wrong clock has postponed it by more than a wait', async () => {
    const { id } = await connect();
    await okta.answerNext(path, { status: 503 });
    await replace(id, newToken());
    await until('the first attempt', async () => ((await listRevocations()).length > 0 ? true : undefined));
    // The attempt that has failed stores its own time.
    const postpone = async () => {
      await killed
        .asOwner()
        .execute(
          `update app_connection set revoke_at = now() + interval '1 year' where id = ? and revoke_at is not null`,
          [id],
        );
      return (await listRevocations()).length > 1 ? true : undefined;
    };
    await until('another attempt', postpone);
    expect(await outcomes()).toEqual(['OK']);
  });

  it('is given up after a day, with an event, and the token is deleted', async () => {
    const { id } = await connect();
    await okta.answerNext(path, { status: 500 }, { status: 500 });
    await replace(id, newToken());
    const revokeAt = String((await storedRow(id))?.revokeAt);
    const isPostponed = async () => String((await storedRow(id))?.revokeAt) !== revokeAt;
    // With the clock of a later day, the first attempt would be the last, or postpone the next one by an hour.
    await until('the next attempt has a time', async () => (await isPostponed()) || undefined);
    moveClock(25 * 3_600_000);
    expect(await outcomes()).toEqual(['UPSTREAM_UNREACHABLE']);
    expect(await storedRow(id)).toMatchObject({ revocations: null, revokeAt: null });
    expect(await listRevocations()).toHaveLength(2);
  });

  it('revokes a later token although Okta fails for an earlier one', async () => {
    const { id, apiToken: first } = await connect();
    const [second, third] = [newToken(), newToken()];
    await okta.answerNext(path, { status: 503 }, { status: 503 });
    await replace(id, second);
    await until('the first attempt', async () => ((await listRevocations()).length > 0 ? true : undefined));
    await replace(id, third);
    const three = await until('three attempts', async () => {
      const found = await listRevocations();
      return found.length >= 3 ? found.slice(0, 3) : undefined;
    });
    expect(three.map((entry) => [authorizationOf(entry), entry.status])).toEqual([
      [`SSWS ${first}`, 503],
      [`SSWS ${first}`, 503],
      [`SSWS ${second}`, 204],
    ]);
    expect(await outcomes(2)).toEqual(['OK', 'OK']);
    expect(await use(id)).toBe(200);
  });

  it.each([
    ['the same', (id: string, apiToken: string) => setToken(id, apiToken)],
    ['another', (_: string, apiToken: string) => connect(apiToken)],
  ])('spares a token that %s connection uses again', async (_, useAgain) => {
    const { id, apiToken } = await connect();
    await okta.answerNext(path, { status: 503 });
    await replace(id, newToken());
    await until('the first attempt', async () => ((await listRevocations()).length > 0 ? true : undefined));
    await useAgain(id, apiToken);
    expect(await outcomes()).toEqual(['CONNECTION_IN_USE']);
    expect(await listRevocations()).toHaveLength(1);
    expect(await storedRow(id)).toMatchObject({ revocations: null, revokeAt: null });
  });

  it('reaches a token that Okta no longer accepts, and one of a connection that was deleted meanwhile', async () => {
    const [one, other] = [await connect(), await connect()];
    await okta.revoke(one.apiToken);
    await replace(one.id, newToken());
    await replace(other.id, newToken());
    await rest('DELETE', other.url);
    expect(await outcomes(2)).toEqual(['OK', 'OK']);
  });
});

describe('converting a connection with revokeOldToken', () => {
  const convert = gql`
    mutation ($id: UUID!, $to: ConvertOktaConnectionInput!) {
      convertOktaConnection(id: $id, to: $to, revokeOldToken: true) {
        appConnection { conversion { credentials { ... on OktaServiceAppCredentials { jwksUrl } } } }
      }
    }
  `;
  const verify = 'mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { method } } }';

  it('revokes the token once the service app is in use, and not while the conversion is pending', async () => {
    const { id, apiToken: old } = await connect();
    const app = { clientId: '0oa00000000000000rvk', scopes: ['okta.users.read'] };
    const converted = await organisation.client.request<object>(convert, { id, to: app });
    const steps = ['convertOktaConnection', 'appConnection', 'conversion', 'credentials', 'jwksUrl'];
    await organisation.client.request(verify, { id });
    expect(await storedRow(id)).toMatchObject({ revocations: null });
    await okta.setServiceApp({ ...app, jwksUrl: String(at(converted, ...steps)) });
    expect(await organisation.client.request(verify, { id })).toEqual({
      verifyAppConnection: { appConnection: { method: 'SERVICE_APP' } },
    });
    expect(await outcomes()).toEqual(['OK']);
    expect((await listRevocations()).map(authorizationOf)).toEqual([`SSWS ${old}`]);
    expect(await use(id)).toBe(200);

    const [error] = await errorsOf(
      organisation.client.request(updateMutation, {
        id,
        input: { credentials: { scopes: ['okta.users.read', 'okta.groups.read'] }, revokeOldToken: true },
      }),
    );
    expect(error?.extensions.issues?.[0]?.message).toContain('no token that can be revoked');
  });
});

it('leaves no old token in the database, in jobs and in logs', async () => {
  const texts = [await killed.dump(), killed.logs(), server.logs()];
  const jobs = await killed.asOwner().execute('select data::text from public_jobs.job');
  expect(planted.length).toBeGreaterThan(10);
  expect(foundIn([...texts, JSON.stringify(jobs)].join('\n'), planted)).toEqual([]);
});
