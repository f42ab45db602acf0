import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { disableOrganisation, enableOrganisation } from '../src/administration/organisation-status.ts';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { appendEvents, serverActor } from '../src/audit/hash-chain.ts';
import type { DatabaseLocation } from '../src/database/location.ts';
import { ApiKey } from '../src/identity/api-key.entity.ts';
import { type Scope, scopes } from '../src/identity/caller.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { createConnection, createMutation, okta } from './testkit/operations.ts';
import { hasPgBouncer, startPooledDatabase } from './testkit/pgbouncer.ts';
import { at, createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';
import { changeRows } from './testkit/stored-rows.ts';
import {
  type Operation,
  type OperationClient,
  type OperationResult,
  operations,
  serviceApp,
  type Target,
} from './testkit/tenant-operations.ts';
import {
  setRowLevelSecurity,
  type TenantFilterSwitch,
  withoutTenantFilters,
} from './testkit/without-tenant-filters.ts';

const filterSwitch: TenantFilterSwitch = { isOn: false };
let server: TestServer;
/** A caller of another organisation than that of the target. */
let otherCaller: OperationClient;

/** Creates an organisation with an object of every type in one project, three connection events, and an outage of a host. */
async function newTarget({
  usesServiceApp = true,
}: Pick<Operation, 'usesServiceApp'> = {}): Promise<Target & TestOrganisation> {
  const organisation = await server.newOrganisation();
  const { projectId } = organisation;
  const createNamed = async (name: string) => {
    const tags = [{ key: 'tenant', value: name }];
    return (await createConnection(organisation, { name, projectId, tags })).id;
  };
  const connectionName = `target-${randomUUID()}`;
  const [connectionId, deletedId] = [
    await createNamed(connectionName),
    await createNamed(`deleted-${randomUUID()}`),
  ];
  await restClient(server.url, organisation.apiKey)('DELETE', `/api/v1/app-connections/okta/${deletedId}`);
  const serviceAppId = usesServiceApp ? await createServiceApp(organisation) : randomUUID();
  const limited = await organisation.newKey(['audit:read'], { projectIds: [projectId] });
  const { viewer } = await server
    .clientFor(limited)
    .request<{ viewer: { apiKey: { id: string } } }>('{ viewer { apiKey { id } } }');
  const { body } = await restClient(server.url, organisation.apiKey)(
    'POST',
    `/api/v1/app-connections/okta/${connectionId}/setup-links`,
  );
  const setupLinkId = String(at(body, 'setupLink', 'id'));
  const webhooks = '/api/v1/webhook-endpoints';
  const rest = restClient(server.url, organisation.apiKey);
  const created = await rest('POST', webhooks, { url: 'https://example.com/target' });
  const webhookEndpointId = String(at(created.body, 'endpoint', 'id'));
  const sent = await rest('POST', `${webhooks}/${webhookEndpointId}/test`);
  const webhookMessageId = String(at(sent.body, 'message', 'id'));
  const host = `https://${randomUUID()}.example`;
  const outage = {
    ...({ orgId: organisation.orgId, action: 'CHECK_HOST', outcome: 'UPSTREAM_UNREACHABLE' } as const),
    ...{ ...serverActor, fields: [], targetName: host },
  };
  await server.database
    .forOrganisation(organisation.orgId)
    .transactional((em) => appendEvents(em, server, organisation.orgId, [outage]));
  return {
    ...organisation,
    host,
    connectionId,
    connectionName,
    serviceAppId,
    deletedId,
    apiKeyId: viewer.apiKey.id,
    setupLinkId,
    webhookEndpointId,
    webhookMessageId,
  };
}

/** Creates a connection with a service app in the project, and verifies it. */
async function createServiceApp({ apiKey, projectId }: TestOrganisation): Promise<string> {
  const rest = restClient(server.url, apiKey);
  const { id } = await createConnectionOverRest(rest, {
    ...{ name: `service-app-${randomUUID()}`, method: 'service-app', projectId },
    credentials: serviceApp,
  });
  const { body } = await rest('POST', `/api/v1/app-connections/okta/${id}/verify`);
  expect(at(body, 'verification')).toMatchObject({ status: 'VERIFIED' });
  return id;
}

const missingTarget = (): Target => ({
  ...{ projectId: randomUUID(), connectionId: randomUUID(), deletedId: randomUUID(), apiKeyId: randomUUID() },
  ...{ setupLinkId: randomUUID(), serviceAppId: randomUUID() },
  ...{ webhookEndpointId: randomUUID(), webhookMessageId: randomUUID() },
  connectionName: `nothing-${randomUUID()}`,
  host: `https://${randomUUID()}.example`,
});

/** Returns the members of the target that a response contains. */
function leakedFields(
  { text }: OperationResult,
  {
    projectId,
    connectionId,
    connectionName,
    serviceAppId,
    deletedId,
    apiKeyId,
    setupLinkId,
    ...rest
  }: Target,
) {
  const { webhookEndpointId, webhookMessageId, host } = rest;
  const marks = {
    ...{ projectId, connectionId, connectionName, serviceAppId, deletedId, apiKeyId, setupLinkId },
    ...{ webhookEndpointId, webhookMessageId, host },
  };
  return Object.entries(marks).flatMap(([name, mark]) => (text.includes(mark) ? [name] : []));
}

interface OrganisationRows {
  connections: unknown[];
  projects: unknown[];
  keys: unknown[];
  links: unknown[];
  endpoints: unknown[];
  messages: unknown[];
}

const keyColumns = "concat_ws(' ', id, name, scopes, project_ids, connection_ids, expires_at, revoked_at)";

/** Returns all rows of an organisation, without its audit trail and the lastUsedAt of its keys. */
async function readRows(orgId: string): Promise<OrganisationRows> {
  const rows = (table: string, columns = 't::text') =>
    `(select coalesce(json_agg(${columns} order by id), '[]') from ${table} t where org_id = ids.org_id)`;
  const [found]: OrganisationRows[] = await server.asOwner().execute(
    `select ${rows('app_connection')} as connections, ${rows('project')} as projects, ${rows('api_key', keyColumns)} as keys,
      ${rows('connection_setup_link')} as links, ${rows('webhook_endpoint')} as endpoints, ${rows('webhook_message')} as messages
     from (select ?::uuid as org_id) as ids`,
    [orgId],
  );
  if (!found) throw new Error('There is no row.');
  const { connections, projects, keys, links, endpoints, messages } = found;
  if (connections.length < 2 || projects.length < 1 || keys.length < 2 || links.length < 1)
    throw new Error('Rows are missing.');
  if (endpoints.length < 1 || messages.length < 1) throw new Error('Rows of webhooks are missing.');
  return found;
}

const cases = Object.entries(operations);

/** The databases with which the matrix runs. */
const databases: [string, (stack: AsyncDisposableStack) => Promise<DatabaseLocation | undefined>][] = [
  ['', async () => undefined],
];
if (testDatabaseUrl && hasPgBouncer()) {
  databases.push([
    'behind PgBouncer with one connection that all organisations share',
    async (stack) => stack.use(await startPooledDatabase({ poolSize: 1 })).location,
  ]);
}

describe.each(databases)('%s', (_, locate) => {
  const stack = new AsyncDisposableStack();
  beforeAll(async () => {
    server = await startTestServer({
      location: await locate(stack),
      // Production mode, with the fake Okta.
      config: { production: true, graphiql: false, fakeOkta: true },
      wrap: (database) => withoutTenantFilters(database, filterSwitch),
    });
    stack.defer(() => server.close());
    const { apiKey } = await newTarget();
    otherCaller = { url: server.url, apiKey, changes: 3 };
  });
  afterAll(() => stack.disposeAsync());

  test('the tenant isolation matrix covers every operation of the schema and every REST route', async () => {
    const schema = createSchema(createApps({ trustedHosts: new Set() }));
    const roots = [schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()];
    const fields = roots.flatMap((type) =>
      Object.keys(type?.getFields() ?? {}).map((field) => `${type?.name}.${field}`),
    );
    const { apiKey } = await server.newOrganisation();
    const { body } = await restClient(server.url, apiKey)('GET', '/api/v1/openapi.json');
    // Routes for setup links, which take no API key: test/setup-links.test.ts covers them.
    const isForLinks = (operation: unknown) => at(operation, 'security', 0, 'setupLink') !== undefined;
    const routes = Object.entries(Object(at(body, 'paths'))).flatMap(([path, methods]) =>
      Object.entries(Object(methods)).flatMap(([method, operation]) =>
        isForLinks(operation) ? [] : [`${method.toUpperCase()} ${path}`],
      ),
    );
    expect(routes).toContain('DELETE /api/v1/app-connections/okta/{id}');
    const covered = Object.keys(operations).map((name) => name.replace(/ \(.*\)$/, ''));
    const proxy = 'GET /api/v1/app-connections/okta/{id}/proxy';
    expect([...new Set(covered)].sort()).toEqual([...fields, ...routes, proxy].sort());
  });

  describe.each([
    ['tenant filters and RLS', { rowLevelSecurity: true, withoutFilters: false }],
    ['tenant filters alone, without RLS', { rowLevelSecurity: false, withoutFilters: false }],
    ['RLS alone, without tenant filters', { rowLevelSecurity: true, withoutFilters: true }],
  ])('tenant isolation with %s', (_, layers) => {
    let target: Target & TestOrganisation;
    beforeAll(async () => {
      target = await newTarget();
      await setRowLevelSecurity(server, layers.rowLevelSecurity);
      filterSwitch.isOn = layers.withoutFilters;
    });
    afterAll(async () => {
      filterSwitch.isOn = false;
      await setRowLevelSecurity(server, true);
    });

    test.each(cases.filter(([, { isSilentElsewhere }]) => !isSilentElsewhere))(
      'another organisation sees and changes nothing with %s, and gets the response for a missing object',
      async (_, { ask }) => {
        const before = await readRows(target.orgId);
        const outcome = await ask(otherCaller, target);
        expect([undefined, 'NOT_FOUND']).toContain(outcome.code);
        expect(leakedFields(outcome, target)).toEqual([]);
        expect(await readRows(target.orgId)).toEqual(before);
        const { status, code, message } = await ask(otherCaller, missingTarget());
        expect({ status, code, message }).toEqual({
          status: outcome.status,
          code: outcome.code,
          message: outcome.message,
        });
      },
    );
  });

  describe('without tenant filters and without RLS (self-check)', () => {
    beforeEach(async () => {
      await setRowLevelSecurity(server, false);
    });
    afterAll(async () => {
      filterSwitch.isOn = false;
      await setRowLevelSecurity(server, true);
    });

    const reading = /^(GET|Query)(?!.*(viewer|ptions|openapi))/;
    test.each(cases.filter(([name, { showsNothing }]) => reading.test(name) && !showsNothing))(
      '%s shows data of another organisation',
      async (_, { usesServiceApp = false, ask }) => {
        filterSwitch.isOn = false;
        const target = await newTarget({ usesServiceApp });
        filterSwitch.isOn = true;
        expect(leakedFields(await ask(otherCaller, target), target)).not.toEqual([]);
      },
    );
  });

  describe('access within an organisation', () => {
    let target: Target & TestOrganisation;
    let elsewhere: OperationClient;
    let ofSibling: OperationClient;
    beforeAll(async () => {
      target = await newTarget();
      const projectId = await target.newProject('Another');
      const input = okta({ name: 'elsewhere', projectId });
      const apiKey = await target.newKey(scopes, { projectIds: [projectId] });
      await server.clientFor(apiKey).request(createMutation, input);
      elsewhere = { url: server.url, apiKey, changes: 1 };
      const sibling = await createConnection(target, { name: 'sibling', projectId: target.projectId });
      const siblingKey = await target.newKey(scopes, { connectionIds: [sibling.id] });
      ofSibling = { url: server.url, apiKey: siblingKey, changes: 1 };
    });

    test.each(cases)('denies %s to a caller limited to another project', async (_, { ask }) => {
      const before = await readRows(target.orgId);
      const outcome = await ask(elsewhere, target);
      expect([undefined, 'NOT_FOUND', 'FORBIDDEN']).toContain(outcome.code);
      expect(leakedFields(outcome, target)).toEqual([]);
      expect(await readRows(target.orgId)).toEqual(before);
    });

    test.each(cases)(
      'denies %s to a caller limited to another connection of the project',
      async (_, { ask }) => {
        const before = await readRows(target.orgId);
        const outcome = await ask(ofSibling, target);
        expect([undefined, 'NOT_FOUND', 'FORBIDDEN']).toContain(outcome.code);
        // The project is that of the caller's connection too.
        expect(leakedFields(outcome, { ...target, projectId: randomUUID() })).toEqual([]);
        expect(await readRows(target.orgId)).toEqual(before);
      },
    );

    test.each(cases.filter(([, { needs }]) => needs.length > 0))(
      'requires a scope for %s',
      async (_, { needs, ask }) => {
        const others = scopes.filter((scope) => !needs.includes(scope));
        const caller = { url: server.url, apiKey: await target.newKey(others), changes: 1 };
        const before = await readRows(target.orgId);
        const outcome = await ask(caller, target);
        expect(outcome).toMatchObject({
          code: 'FORBIDDEN',
          message: expect.stringContaining(needs.join(' or ')),
        });
        expect(leakedFields(outcome, target)).toEqual([]);
        expect(await readRows(target.orgId)).toEqual(before);
      },
    );
  });

  describe('while its organisation is disabled', () => {
    let target: Target & TestOrganisation;
    beforeAll(async () => {
      target = await newTarget();
    });
    const requestedBy = 'operator@test';

    // Uses store nothing but their counts, with which a connection cannot be deleted.
    const isChange = ([name, { needs }]: (typeof cases)[number]) =>
      /^(Mutation|POST|PUT|PATCH|DELETE)\b/.test(name) && !needs.includes('connections:use');
    test.each(cases.filter(isChange))(
      'stores nothing of %s of a caller whose key is still cached',
      async (_, { ask }) => {
        const caller = { url: server.url, apiKey: target.apiKey, changes: 1 };
        const system = server.database.asSystem();
        const organisation = { id: target.orgId, name: 'Test organisation' };
        await target.client.request('{ viewer { scopes } }');
        const before = await readRows(target.orgId);
        await system.transactional((em) =>
          disableOrganisation(em, server, organisation, { requestedBy, reason: 'Unpaid invoices' }),
        );
        const outcome = await ask(caller, target);
        const after = await readRows(target.orgId);
        await system.transactional((em) => enableOrganisation(em, server, organisation, { requestedBy }));
        expect([undefined, 'ORGANISATION_DISABLED']).toContain(outcome.code);
        expect(after).toEqual(before);
      },
    );
  });

  describe('authentication', () => {
    let target: Target & TestOrganisation;
    const keys = new Map<string, string | undefined>();
    beforeAll(async () => {
      target = await newTarget();
      keys.set('an expired key', await target.newKey(scopes, { expiresAt: new Date(Date.now() - 1) }));
      const revoked = await target.newKey(scopes);
      const where = { orgId: target.orgId, projectIds: null, name: 'Another' };
      await changeRows(server, ApiKey, where, () => ({ revokedAt: new Date() }));
      keys.set('a revoked key', revoked);
      keys.set('no key', undefined);
    });

    test.each(
      cases.flatMap(([name, operation]) =>
        ['an expired key', 'a revoked key', 'no key'].map((which) => [which, name, operation] as const),
      ),
    )('rejects %s: %s', async (which, _, { ask }) => {
      const before = await readRows(target.orgId);
      const outcome = await ask({ url: server.url, apiKey: keys.get(which), changes: 1 }, target);
      expect(outcome.code).toBe('UNAUTHENTICATED');
      expect(leakedFields(outcome, target)).toEqual([]);
      expect(await readRows(target.orgId)).toEqual(before);
    });
  });

  describe('caller with the scope that is limited to the project', () => {
    const onlyFor = (needs: readonly Scope[]) => needs.slice(0, 1);

    test.each(cases.filter(([, { isForUnlimited }]) => !isForUnlimited))(
      'may use %s',
      async (_, operation) => {
        const target = await newTarget({ usesServiceApp: operation.usesServiceApp ?? false });
        const apiKey = await target.newKey(onlyFor(operation.needs), { projectIds: [target.projectId] });
        await expectToWork(operation, { url: server.url, apiKey, changes: 3 }, target);
      },
    );

    test.each(cases.filter(([, { isForUnlimited }]) => isForUnlimited))(
      'may not use %s, while an unlimited caller may',
      async (_, operation) => {
        const target = await newTarget({ usesServiceApp: operation.usesServiceApp ?? false });
        const limited = await target.newKey(scopes, { projectIds: [target.projectId] });
        const refused = await operation.ask({ url: server.url, apiKey: limited, changes: 3 }, target);
        expect(refused.code).toBe('FORBIDDEN');
        const apiKey = await target.newKey(onlyFor(operation.needs));
        await expectToWork(operation, { url: server.url, apiKey, changes: 3 }, target);
      },
    );

    async function expectToWork({ ask, showsNothing }: Operation, caller: OperationClient, target: Target) {
      const outcome = await ask(caller, target);
      expect([outcome.status, outcome.code, outcome.message]).toEqual([200, undefined, undefined]);
      expect(leakedFields(outcome, target).length > 0).toBe(!showsNothing);
    }
  });
});
