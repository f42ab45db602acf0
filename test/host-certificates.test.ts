import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { certifyHere, type KeyPair, makeCertificates, trust } from './testkit/certificates.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { type MailServer, startMailServer } from './testkit/mail-server.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { createConnection, deleteMutation, verifyMutation } from './testkit/operations.ts';
import { until } from './testkit/process.ts';
import { restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { createEndpoint, startReceiver, type WebhookReceiver } from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 60_000 });

const stack = new AsyncDisposableStack();
let server: TestServer;
let ca: KeyPair;
let okta: TestOkta;
let receiver: WebhookReceiver;
let mail: MailServer;
const instanceUrl = () => okta.origin;
beforeAll(async () => {
  ({ ca } = await makeCertificates());
  stack.use(trust(ca));
  okta = stack.use(await startOkta({ tls: await certifyHere(ca, { days: 60 }) }));
  receiver = stack.use(await startReceiver());
  mail = stack.use(await startMailServer());
  const options = {
    ...{ expiryIntervalMs: 100, webhookIntervalMs: 50 },
    config: {
      trustedInstanceHosts: new Set([okta.hostPort, receiver.hostPort]),
      mail: { url: new Secret(mail.url), from: 'app-connections@example.com' },
    },
  };
  server = await startTestServer(options);
  stack.defer(() => server.close());
  if (!testDatabaseUrl) return;
  // The embedded database has one server.
  const second = await startTestServer({ ...options, beside: server });
  stack.defer(() => second.close());
});
afterAll(() => stack.disposeAsync());

let names = 0;
function connect(organisation: TestOrganisation, input: object = {}) {
  names += 1;
  return createConnection(
    organisation,
    { name: `certified-${names}`, ...input },
    { instanceUrl: instanceUrl(), apiToken: 'a-good-token' },
  );
}

/** Gives the host another certificate that ends in some days, after as many in which it was valid. */
const certify = async (days: number, since = 60) => okta.certify(await certifyHere(ca, { days, since }));

interface CertificateFields {
  validFrom: string;
  validTo: string;
}

async function readCertificate({ client }: TestOrganisation, id: string): Promise<CertificateFields | null> {
  const query = gql`
    query ($id: UUID!) {
      appConnection(id: $id) { health { status hostCertificate { validFrom validTo } } }
    }
  `;
  const { appConnection } = await client.request<{
    appConnection: { health: { hostCertificate: CertificateFields | null } };
  }>(query, { id });
  return appConnection.health.hostCertificate;
}

/** Waits until the health of a connection has a certificate that ends in some days. */
const untilEndsIn = (organisation: TestOrganisation, id: string, days: number) =>
  until(`a certificate that ends in ${days} days`, async () => {
    const found = await readCertificate(organisation, id);
    return found && daysUntil(found) === days ? found : undefined;
  });

const daysUntil = ({ validTo }: { validTo: string }) =>
  Math.round((Date.parse(validTo) - Date.now()) / 86_400_000);

const verify = ({ client }: TestOrganisation, id: string) => client.request(verifyMutation, { id });

async function readWarnings({ client }: TestOrganisation) {
  const { auditEvents } = await client.request<{ auditEvents: { nodes: { targetName: string }[] } }>(
    '{ auditEvents(filter: { action: WARN_OF_CERTIFICATE }) { nodes { targetName } } }',
  );
  return auditEvents.nodes.map(({ targetName }) => targetName).toReversed();
}

const untilWarned = (organisation: TestOrganisation, count: number) =>
  until(`${count} warnings`, async () => {
    const found = await readWarnings(organisation);
    return found.length >= count ? found : undefined;
  });

/** Moves what is known of the certificate into the past: the clock of the warnings is that of the rows. */
const pass = ({ orgId }: TestOrganisation, days: number) =>
  server.asOwner().execute(
    `update host_certificate set valid_from = valid_from - make_interval(hours => 24 * ?::int),
      valid_to = valid_to - make_interval(hours => 24 * ?::int), due_at = due_at - make_interval(hours => 24 * ?::int),
      warned_at = warned_at - make_interval(hours => 24 * ?::int)
      where org_id = ?`,
    [days, days, days, days, orgId],
  );

/** Waits until a server has looked at every certificate that is due, those of other organisations too. */
const untilNoneIsDue = ({ orgId }: TestOrganisation) =>
  until('no certificate is due', async () => {
    const [row] = await server
      .asOwner()
      .execute<[{ due: number }]>(
        'select count(*)::int as due from host_certificate where due_at <= now() and org_id = ?',
        [orgId],
      );
    return row.due === 0 || undefined;
  });

describe('the certificate of a host', () => {
  it('is in the health of its connections, in GraphQL and REST, and only in those of the organisation', async () => {
    await certify(60);
    const [mine, other] = [await server.newOrganisation(), await server.newOrganisation()];
    const { id } = await connect(mine);
    const certificate = await untilEndsIn(mine, id, 60);
    const { body } = await restClient(server.url, mine.apiKey)(
      'GET',
      `/api/v1/app-connections/okta/${id}/health`,
    );
    expect(body).toMatchObject({ health: { hostCertificate: certificate } });
    const rows = await server
      .asOwner()
      .execute('select 1 from host_certificate where org_id = ?', [other.orgId]);
    expect(rows).toEqual([]);
  });

  it('is warned of once 14, 7 and 1 days before its end, by audit event, webhook and digest, whatever the number of connections', async () => {
    await certify(60);
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await connect(mine);
    const eventTypes = ['HOST_CERTIFICATE_EXPIRING'];
    await createEndpoint(mine.client, { url: `${receiver.url}/certificates`, eventTypes });
    await createEndpoint(mine.client, { url: 'mailto:team@example.com', format: 'EMAIL', eventTypes });
    await untilEndsIn(mine, id, 60);
    for (const [index, days] of [47, 7, 5].entries()) {
      await pass(mine, days);
      expect((await untilWarned(mine, index + 1)).at(-1)).toBe(
        `${okta.origin} ${(await readCertificate(mine, id))?.validTo}`,
      );
    }
    await pass(mine, 3);
    await untilNoneIsDue(mine);
    expect(await readWarnings(mine)).toHaveLength(3);
    const received = await receiver.waitFor(3, '/certificates');
    expect(received).toHaveLength(3);
    expect(received[0]?.event).toMatchObject({
      type: 'host.certificate_expiring',
      data: { host: okta.origin, hostCertificate: { validTo: expect.any(String) }, connection: null },
    });
    const run = (sql: string) => server.asOwner().execute(sql, [mine.orgId]);
    await run(`update webhook_message set next_attempt_at = now() where org_id = ? and status = 'PENDING'`);
    await run('update webhook_endpoint set next_attempt_at = now() where org_id = ?');
    const [digest] = await mail.waitFor(1);
    expect(digest?.text).toMatch(
      new RegExp(`${okta.origin} has a certificate that ends on \\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d UTC\\.`),
    );
  });

  it('is warned of no more when it was renewed, and again when the next one ends', async () => {
    await certify(5);
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await untilWarned(mine, 1);
    await certify(80);
    await verify(mine, id);
    await untilEndsIn(mine, id, 80);
    await untilNoneIsDue(mine);
    expect(await readWarnings(mine)).toHaveLength(1);
    await certify(6);
    await verify(mine, id);
    await untilWarned(mine, 2);
  });

  it('is warned of once, if a load balancer shows it and its successor in turn', async () => {
    const mine = await server.newOrganisation();
    const [old, next] = [await certifyHere(ca, { days: 5, since: 60 }), await certifyHere(ca, { days: 80 })];
    okta.certify(old);
    const { id } = await connect(mine);
    await untilWarned(mine, 1);
    for (const [certificate, days] of [
      [next, 80],
      [old, 5],
      [next, 80],
      [old, 5],
    ] as const) {
      okta.certify(certificate);
      await verify(mine, id);
      await untilEndsIn(mine, id, days);
      await untilNoneIsDue(mine);
    }
    expect(await readWarnings(mine)).toHaveLength(1);
  });

  it('of six days, which is renewed every few days, is warned of in its last two days only', async () => {
    await certify(3, 3);
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await untilEndsIn(mine, id, 3);
    await untilNoneIsDue(mine);
    expect(await readWarnings(mine)).toEqual([]);
    await pass(mine, 2);
    await untilWarned(mine, 1);
  });

  it('is forgotten with the last connection to the host', async () => {
    await certify(30);
    const mine = await server.newOrganisation();
    const { id } = await connect(mine);
    await untilEndsIn(mine, id, 30);
    await mine.client.request(deleteMutation, { id });
    await pass(mine, 17);
    await until('the certificate is forgotten', async () => {
      const rows = await server
        .asOwner()
        .execute('select 1 from host_certificate where org_id = ?', [mine.orgId]);
      return rows.length === 0 || undefined;
    });
    expect(await readWarnings(mine)).toEqual([]);
  });

  it('of a host that was only asked to validate credentials is not kept', async () => {
    await certify(60);
    const [mine, other] = [await server.newOrganisation(), await server.newOrganisation()];
    await mine.client.request(
      `mutation ($credentials: OktaCredentialsInput!) {
        validateOktaCredentials(credentials: $credentials) { __typename }
      }`,
      { credentials: { instanceUrl: instanceUrl(), apiToken: 'a-good-token' } },
    );
    // The certificate in another organisation shows that the servers have gone on.
    const { id } = await connect(other);
    await untilEndsIn(other, id, 60);
    const rows = await server
      .asOwner()
      .execute('select 1 from host_certificate where org_id = ?', [mine.orgId]);
    expect(rows).toEqual([]);
  });
});
