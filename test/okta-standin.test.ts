import { Ajv } from 'ajv';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { description } from './testkit/okta-standin-organisation.ts';

let okta: OktaStandIn;
beforeAll(async () => {
  okta = await startOktaStandIn();
});
afterAll(() => okta[Symbol.asyncDispose]());
beforeEach(() => okta.setLimit(600));

const ask = (path: string, { token = 'any', ...init }: RequestInit & { token?: string } = {}) =>
  fetch(`${okta.origin}${path}`, { ...init, headers: { authorization: `SSWS ${token}` } });
const nextOf = ({ headers }: Response) => /<([^<>]*)>; rel="next"/.exec(headers.get('link') ?? '')?.[1];

const group = '00g00000000000000001';
const user = '00u00000000000000001';
const application = '0oa00000000000000001';

describe('the Okta stand-in', () => {
  const ajv = new Ajv({ strict: false, formats: { 'date-time': /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ } });
  it.each([
    ['/api/v1/users', 'User'],
    [`/api/v1/users/${user}`, 'User'],
    ['/api/v1/users/user1@example.com', 'User'],
    ['/api/v1/users/me', 'User'],
    [`/api/v1/users/${user}/groups`, 'Group'],
    ['/api/v1/groups', 'Group'],
    [`/api/v1/groups/${group}`, 'Group'],
    [`/api/v1/groups/${group}/users`, 'User'],
    ['/api/v1/apps', 'Application'],
    [`/api/v1/apps/${application}`, 'Application'],
    [`/api/v1/apps/${application}/users`, 'AppUser'],
    [`/api/v1/apps/${application}/groups`, 'ApplicationGroupAssignment'],
    ['/api/v1/logs', 'LogEvent'],
    ['/api/v1/org', 'OrgSetting'],
    ['/api/v1/nothing', 'Error'],
  ])("answers GET %s as Okta's schema %s says", async (path, schema) => {
    // Okta's own examples have null where its schemas do not mention it.
    const content = JSON.parse(await (await ask(path)).text(), (_, value) => value ?? undefined);
    const validate = ajv.compile({
      definitions: description.definitions,
      $ref: `#/definitions/${schema}`,
    });
    const objects = Array.isArray(content) ? content : [content];
    expect(objects.length).toBeGreaterThan(0);
    for (const object of objects.slice(0, 3)) {
      expect(validate(object) ? [] : validate.errors).toEqual([]);
      expect(JSON.stringify(object)).not.toContain('{yourOktaDomain}');
    }
  });

  it.each([
    ['/api/v1/users?limit=100', 3],
    ['/api/v1/groups?limit=100', 3],
    [`/api/v1/groups/${group}/users?limit=200`, 2],
    ['/api/v1/apps', 2],
    [`/api/v1/apps/${application}/users`, 5],
    [`/api/v1/apps/${application}/groups`, 13],
  ])('has pages that end, and together every object once: %s', async (path, pages) => {
    const ids: string[] = [];
    let count = 0;
    for (let next: string | undefined = path; next; count += 1) {
      const response = await ask(next.replace(okta.origin, ''));
      ids.push(...(await response.json()).map(({ id }: { id: string }) => id));
      next = nextOf(response);
    }
    expect([count, ids.length, new Set(ids).size]).toEqual([pages, 250, 250]);
  });

  it('has a next page of the System Log at its end too', async () => {
    const last = await ask('/api/v1/logs?since=2026-01-01T00:04:09.000Z');
    expect([(await last.json()).length, nextOf(last)]).toEqual([1, expect.stringContaining('after=1')]);
  });

  it('finds by expressions and by names', async () => {
    const search = encodeURIComponent('profile.login sw "user1" and status eq "ACTIVE"');
    expect(await (await ask(`/api/v1/users?search=${search}`)).json()).toHaveLength(111);
    expect(await (await ask('/api/v1/groups?q=group%2024&limit=3')).json()).toHaveLength(3);
    expect((await ask('/api/v1/users?search=nonsense')).status).toBe(400);
  });

  it('keeps what is created, changed and removed', async () => {
    const body = JSON.stringify({ profile: { name: 'New' } });
    const created = await (await ask('/api/v1/groups', { method: 'POST', body })).json();
    const at = `/api/v1/groups/${created.id}`;
    const changed = JSON.stringify({ profile: { name: 'Changed' } });
    await ask(at, { method: 'PUT', body: changed });
    expect(await (await ask(at)).json()).toMatchObject({ profile: { name: 'Changed' } });
    expect((await ask(`${at}/users/${user}`, { method: 'PUT' })).status).toBe(204);
    expect(await (await ask(`${at}/users`)).json()).toMatchObject([{ id: user }]);
    expect((await ask(at, { method: 'DELETE' })).status).toBe(204);
    expect((await ask(at)).status).toBe(404);
  });

  it('limits each token in each bucket, and starts again after its window', async () => {
    await okta.setLimit(2, 1);
    const paths = [
      `/api/v1/groups/${group}`,
      '/api/v1/groups/00g00000000000000002',
      `/api/v1/groups/${group}`,
    ];
    const statuses: number[] = [];
    for (const path of paths) statuses.push((await ask(path)).status);
    expect(statuses).toEqual([200, 200, 429]);
    expect((await ask(`/api/v1/groups/${group}`, { token: 'another' })).status).toBe(200);
    expect((await ask('/api/v1/groups')).status).toBe(200);
    await expect.poll(async () => (await ask(`/api/v1/groups/${group}`)).status).toBe(200);
  });

  it('answers every operation of the description, and writes a journal', async () => {
    await okta.takeJournal();
    const example = (path: string) => path.replaceAll(/\{\w+\}/g, '00000000000000000000');
    const operations = Object.entries(description.operations).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({ method, url: example(path) })),
    );
    for (const { method, url } of operations) {
      const token = url === '/api/v1/api-tokens/current' ? 'to-be-revoked' : 'any';
      await ask(url, { method, token });
    }
    const journal = await okta.takeJournal();
    expect(journal.map(({ method, url }) => ({ method, url }))).toEqual(operations);
    expect(journal.filter(({ status }) => ![200, 201, 202, 204, 400, 404].includes(status))).toEqual([]);
  });

  it('rejects a token that is revoked, and a method that Okta does not have', async () => {
    await okta.revoke('revoked-token');
    expect((await ask('/api/v1/users', { token: 'revoked-token' })).status).toBe(401);
    expect((await ask('/api/v1/users', { method: 'PATCH' })).status).toBe(405);
  });
});
