import type { ServerResponse } from 'node:http';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { firstProjectId } from '../src/identity/organisations.ts';
import { createKey } from './testkit/access.ts';
import { expectAccessible } from './testkit/axe.ts';
import { expectNowhere, findInPage, hasBrowser, openPage } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import type { Behaviour } from './testkit/okta.ts';
import { createConnection, deleteMutation, presetMutation, updateMutation } from './testkit/operations.ts';

const token = '00planted-behind-a-page-planted';

/** Answers the second page of users to a request with a cursor, and the first one to others. */
const pagedUsers: Behaviour = (request, response) => {
  if (!request.url?.startsWith('/api/v1/users?')) return handleFakeOkta(request, response);
  const next = `<http://${request.headers.host}/api/v1/users?after=00u2&limit=1>; rel="next"`;
  const isSecond = request.url.includes('after=');
  answer(response, 200, [{ id: isSecond ? '00u-second' : '00u-first' }], isSecond ? {} : { link: next });
};

/** Accepts writes. */
const acceptingWrites: Behaviour = (request, response) =>
  request.method === 'GET' ? handleFakeOkta(request, response) : answer(response, 201, { id: '00g-new' });

function answer(response: ServerResponse, status: number, body: object, headers = {}) {
  const limits = {
    'x-rate-limit-limit': 600,
    'x-rate-limit-remaining': 42,
    'x-rate-limit-reset': 4_102_444_800,
  };
  response
    .writeHead(status, { 'content-type': 'application/json', ...limits, ...headers })
    .end(JSON.stringify(body));
}

describe.skipIf(!hasBrowser())('the page of a connection', () => {
  let dashboard: TestDashboard;
  beforeAll(async () => {
    dashboard = await startDashboard();
  });
  afterAll(() => dashboard?.close());

  const client = () => dashboard.server.clientFor(dashboard.apiKey);

  async function create(name: string) {
    dashboard.okta.behave(handleFakeOkta);
    const credentials = { instanceUrl: dashboard.okta.origin, apiToken: token };
    return createConnection({ client: client() }, { name, projectId: firstProjectId }, credentials);
  }

  const path = (id: string, tab = '') =>
    `#/projects/${firstProjectId}/integrations/app-connections/${id}${tab && `/${tab}`}`;

  /** Opens a tab of a connection from the list, as a signed-in user. */
  async function open(name: string, tab: string) {
    const watched = await dashboard.open();
    await watched.page.getByRole('link', { name, exact: true }).click();
    await watched.page.getByRole('heading', { level: 1, name }).waitFor();
    await watched.page.getByRole('tab', { name: tab }).click();
    return watched;
  }

  const pathInput = (page: Page) => page.getByRole('combobox', { name: 'Path' });
  const policySelect = (page: Page) => page.getByRole('combobox', { name: 'Policy', exact: true });
  const send = (page: Page) => page.getByRole('button', { name: 'Send', exact: true }).click();
  const response = (page: Page) => page.getByRole('region', { name: 'Response', exact: true });
  const sentTo = (prefix: string) => dashboard.okta.requests.filter(({ path }) => path.startsWith(prefix));

  it('shows what it is, and sends a read whose response it shows page by page', async () => {
    const { id } = await create('read-through');
    dashboard.okta.behave(pagedUsers);
    const watched = await open('read-through', 'Try it');
    const { page } = watched;
    const main = page.getByRole('main');
    await main.getByText('ada.admin@example.com (active)').waitFor();
    await main.getByRole('status').getByText('Verified', { exact: true }).waitFor();
    await pathInput(page).fill('users/');
    await page.getByRole('option', { name: '/api/v1/users/{id}/groups' }).click();
    await send(page);
    await page.getByText('Replace {id} with a value.').waitFor();
    await pathInput(page).fill('/api/v1/users');
    await page.getByRole('textbox', { name: 'Query' }).fill('search=profile.login eq "ada"&limit=1');
    await page.getByText('The same request with curl').click();
    const curl = await page.getByRole('region', { name: 'curl' }).textContent();
    await send(page);
    await response(page).getByText('00u-first').waitFor();
    expect(await response(page).textContent()).toMatch(/200.*42 of 600 requests are left/);
    await page.getByRole('button', { name: 'Next page' }).click();
    await response(page).getByText('00u-second').waitFor();
    expect(await page.getByRole('button', { name: 'Next page' }).count()).toBe(0);
    await page.getByText(/^Headers/).click();
    await page.getByRole('row', { name: /x-rate-limit-limit/ }).waitFor();
    const query = 'search=profile.login%20eq%20%22ada%22&limit=1';
    expect(sentTo('/api/v1/users?').map(({ path }) => path)).toEqual([
      `/api/v1/users?${query}`,
      '/api/v1/users?after=00u2&limit=1',
    ]);
    expect(curl).toContain("--header 'Authorization: Bearer <YOUR-API-KEY>'");
    expect(curl).toContain(
      `'${dashboard.server.url}/api/v1/app-connections/okta/${id}/proxy/api/v1/users?${query}'`,
    );
    await page.getByText(/just now by/).waitFor();
    await expectNowhere(watched, token);
    expect(await findInPage(page, dashboard.apiKey)).toEqual(['sessionStorage']);
    expect(watched.console()).toBe('');
    expect(watched.urls().filter((url) => !url.startsWith(dashboard.server.url))).toEqual([]);
  });

  it('shows the health of 90 days in words, in cells and as a table, and finds connections by it', async () => {
    const { id } = await create('ailing');
    const { id: other } = await create('neighbour');
    const em = dashboard.server.asOwner();
    // Created 10 days ago, rejected for a day since, and its host does not answer now.
    await em.execute(
      `update app_connection set created_at = now() - interval '10 days', status_since = now() - interval '10 days' where id = ?`,
      [id],
    );
    for (const [status, days] of [
      ['REJECTED', 5],
      ['VERIFIED', 4],
    ])
      await em.execute(
        `update app_connection set verification_status = ?, verification_checked_at = now() - make_interval(days => ?),
          verification_code = case ? when 'REJECTED' then 'CREDENTIALS_REJECTED' end where id = ?`,
        [status, days, status, id],
      );
    const { page } = await open('ailing', 'Usage');
    const strip = page.getByRole('img', {
      name: /^Verified on (9|10) days, rejected on (1|2) days?, not known on 79\.$/i,
    });
    await strip.waitFor();
    expect(await strip.locator('rect').count()).toBe(90);
    await page.getByText('Changes as a table').click();
    const table = page.getByRole('table', { name: 'Status changes' });
    await table.getByRole('row', { name: /Now Verified/ }).waitFor();
    await table.getByRole('row', { name: /Rejected CREDENTIALS_REJECTED$/ }).waitFor();
    expect(await table.getByRole('row').count()).toBe(4);
    await page.getByText('Next check').waitFor();

    await em.execute(
      `insert into host_outage (org_id, origin, since, checked_at, next_check_at, message, code)
        select org_id, public_credentials ->> 'instanceUrl', now() - interval '1 hour', now(), now() + interval '1 hour', 'down', 'UPSTREAM_UNREACHABLE'
        from app_connection where id = ?`,
      [id],
    );
    // Verified after the outage.
    await em.execute(
      `update app_connection set verification_checked_at = now() + interval '1 hour' where id = ?`,
      [other],
    );
    await em.execute(
      `update app_connection set expires_at = now() + interval '5 days', expiry_reason = 'UNUSED' where id = ?`,
      [id],
    );
    await em.execute(
      `insert into host_certificate (org_id, origin, valid_from, valid_to, seen_at, due_at)
        select org_id, public_credentials ->> 'instanceUrl', now(), now() + interval '10 days', now(), now() + interval '1 day'
        from app_connection where id = ?`,
      [id],
    );
    await page.reload();
    await page.getByText('every connection to this host is affected').waitFor();
    await page.getByText('The certificate of the host ends in 9 days.').waitFor();
    await expectAccessible(page, 'a connection whose host has a certificate that ends');
    await page.getByText('The credentials expire in 4 days unless they are used.').waitFor();
    await page.getByRole('main').getByRole('status').getByText('Unreachable', { exact: true }).waitFor();
    await page.getByText('Changes as a table').click();
    await page.getByRole('row', { name: /Now Host down UPSTREAM_UNREACHABLE$/ }).waitFor();
    await page.getByRole('link', { name: 'All connections' }).click();
    await page.getByRole('combobox', { name: 'Status' }).selectOption('Unreachable');
    await page.getByRole('link', { name: 'neighbour' }).waitFor({ state: 'detached' });
    await page
      .getByRole('row', { name: /ailing.*Unreachable.*host down.*Expires in 4 days.*Certificate ends/ })
      .waitFor();
    await page.getByRole('combobox', { name: 'Sort by' }).selectOption('Failing longest');
    await page.getByRole('row', { name: /ailing/ }).waitFor();
    await em.execute('delete from host_outage');
    await em.execute('delete from host_certificate');
  });

  it('says that checks keep an API token alive, and that it expires without them, and neither of a service app', async () => {
    await create('checked-token');
    const app = { clientId: '0oa00000000000000chk', scopes: ['okta.users.read'] };
    await createConnection(
      { client: client() },
      { name: 'checked-app', projectId: firstProjectId, method: 'SERVICE_APP' },
      { instanceUrl: dashboard.okta.origin, apiToken: undefined, ...app },
    );
    const shown: Record<string, string[]> = {};
    for (const [hours, next] of [
      [24, "now() + interval '330 minutes'"],
      // Until the schedule has a time for it.
      [12, 'null'],
      [0, 'null'],
    ] as const) {
      await dashboard.server.asOwner().execute(
        `update app_connection set verification_status = 'VERIFIED', check_every = ?, next_check_at = ${next}
          where name in ('checked-token', 'checked-app')`,
        [hours],
      );
      for (const name of ['checked-token', 'checked-app']) {
        const { page } = await open(name, 'Try it');
        const fact = page.getByRole('main').locator('dl > div', { hasText: 'Next check' }).locator('dd');
        shown[name] = [...(shown[name] ?? []), (await fact.textContent()) ?? ''];
      }
    }
    expect(shown).toEqual({
      'checked-token': [
        'in 5 hours. It also keeps the API token alive. Okta API tokens expire after 30 days without a request.',
        'Within 12 h. It also keeps the API token alive. Okta API tokens expire after 30 days without a request.',
        'Checks are off. Okta API tokens expire after 30 days without a request.',
      ],
      'checked-app': ['in 5 hours', 'Within 12 h', 'Checks are off'],
    });
  });

  it('says that a check is late, since when and why', async () => {
    const { id } = await create('checked-late');
    const delay = { code: 'UPSTREAM_RATE_LIMITED', message: 'The share of this connection is used up.' };
    await dashboard.server
      .asOwner()
      .execute('update app_connection set check_delay = ?::jsonb where id = ?', [
        JSON.stringify({ ...delay, since: new Date(Date.now() - 3 * 3_600_000).toISOString() }),
        id,
      ]);
    const { page } = await open('checked-late', 'Try it');
    const fact = page.getByRole('main').locator('dl > div', { hasText: 'Check is late' }).locator('dd');
    expect(await fact.textContent()).toBe('Due 3 hours ago. The share of this connection is used up.');
  });

  it('asks before it sends a write, and lists the writes', async () => {
    const { id } = await create('write-through');
    await client().request(presetMutation, { id, preset: 'USERS_AND_GROUPS_WRITE' });
    dashboard.okta.behave(acceptingWrites);
    const { page } = await open('write-through', 'Recent writes');
    await page.getByText('Nothing was written through this connection yet.').waitFor();
    await page.getByRole('tab', { name: 'Try it' }).click();
    await page.getByRole('combobox', { name: 'Method' }).selectOption('POST');
    await pathInput(page).fill('/api/v1/groups');
    const body = page.getByRole('textbox', { name: 'Body' });
    await body.fill('{ not JSON');
    await send(page);
    await page.getByText('The body must be JSON.').waitFor();
    await body.fill(`{"profile":{"name":"It's new"}}`);
    await send(page);
    const dialog = page.getByRole('dialog', { name: /^Send POST to 127\.0\.0\.1:\d+\?$/ });
    await dialog.getByRole('button', { name: 'Cancel' }).and(page.locator(':focus')).click();
    await dialog.waitFor({ state: 'detached' });
    expect(sentTo('/api/v1/groups')).toEqual([]);
    await send(page);
    await dialog.getByRole('button', { name: 'Send POST' }).click();
    await response(page).getByText('201').waitFor();
    expect(sentTo('/api/v1/groups').map(({ method }) => method)).toEqual(['POST']);
    await page.getByText('The same request with curl').click();
    expect(await page.getByRole('region', { name: 'curl' }).textContent()).toContain(
      `--data-raw '{"profile":{"name":"It'\\''s new"}}'`,
    );
    await page.getByRole('tab', { name: 'Recent writes' }).click();
    await page.getByRole('row', { name: /POST \/api\/v1\/groups 201 Administrator just now/ }).waitFor();
  });

  it('says which rule refused a request, and keeps the form while the server cannot be reached', async () => {
    await create('refused');
    const { page } = await open('refused', 'Try it');
    await pathInput(page).fill('/api/v1/eventHooks');
    await page.keyboard.press('Escape');
    await send(page);
    const alert = page.getByRole('alert');
    await alert.getByText('Denied by the use policy').waitFor();
    await alert
      .getByText('Rule 2 of the use policy READ_ONLY denies every method on /api/v1/eventHooks*.')
      .waitFor();
    expect(sentTo('/api/v1/eventHooks')).toEqual([]);
    await page.route('**/graphql', (route) => route.abort());
    await send(page);
    await alert.getByText('The server cannot be reached.').first().waitFor();
    await page.getByRole('button', { name: 'Try again' }).waitFor();
    expect(await pathInput(page).inputValue()).toBe('/api/v1/eventHooks');
  });

  it('changes the use policy, tests it before it is saved, and shows errors at their rules', async () => {
    const { id } = await create('ruled');
    const { page } = await open('ruled', 'Use policy');
    await policySelect(page).selectOption({ label: 'Logs read' });
    await page.getByText('Reading the System Log.').waitFor();
    await policySelect(page).selectOption({ label: 'Rules of my own' });
    expect(await page.getByRole('textbox', { name: 'Path of rule 1' }).inputValue()).toBe('/api/v1/logs');
    await page.getByRole('button', { name: 'Add rule' }).click();
    await page.getByRole('textbox', { name: 'Path of rule 2' }).and(page.locator(':focus')).fill('users');
    await page.getByRole('button', { name: 'Save policy' }).click();
    await page.getByText('A path pattern starts with a slash, as in /api/v1/users/:id.').waitFor();
    const rule = page.getByRole('textbox', { name: 'Path of rule 2' }).and(page.locator(':focus'));
    await expect.poll(() => rule.getAttribute('aria-invalid')).toBe('true');
    await rule.fill('/api/v1/users/**');
    await page.getByRole('group', { name: 'Methods of rule 2' }).getByText('PUT').click();
    const testPath = page.getByRole('textbox', { name: 'Path', exact: true });
    await page.getByRole('combobox', { name: 'Method' }).selectOption('PUT');
    await testPath.fill('/api/v1/users/00u1');
    await page.getByRole('button', { name: 'Test' }).click();
    await page.getByText('Rule 2 of the use policy allows GET, PUT on /api/v1/users/**.').waitFor();
    await page.getByRole('combobox', { name: 'Rule 2' }).selectOption('Deny');
    await page.getByRole('button', { name: 'Test' }).click();
    await page.getByText('Rule 2 of the use policy denies GET, PUT on /api/v1/users/**.').waitFor();
    await page.getByRole('button', { name: 'Save policy' }).click();
    await page.getByText('Saved the use policy.').waitFor();
    const { appConnection } = await client().request<{ appConnection: object }>(
      'query ($id: UUID!) { appConnection(id: $id) { usePolicy { version preset rules { effect methods path } } } }',
      { id },
    );
    expect(appConnection).toEqual({
      usePolicy: {
        version: 2,
        preset: null,
        rules: [
          { effect: 'ALLOW', methods: ['GET'], path: '/api/v1/logs' },
          { effect: 'DENY', methods: ['GET', 'PUT'], path: '/api/v1/users/**' },
        ],
      },
    });
  });

  it("does not save a policy over another user's, and shows a change of the connection at once", async () => {
    const { id } = await create('contested');
    const { page } = await open('contested', 'Use policy');
    await page.getByText('Live updates are on.').waitFor();
    await policySelect(page).selectOption({ label: 'Read write' });
    await client().request(presetMutation, { id, preset: 'LOGS_READ' });
    const conflict = page.getByRole('alert');
    await conflict.getByText('Someone has saved version 2.').waitFor();
    await page.getByRole('button', { name: 'Save policy' }).click({ force: true });
    await conflict.getByRole('button', { name: 'Keep my changes' }).click();
    await page.getByRole('button', { name: 'Save policy' }).click();
    await page.getByText('Saved the use policy.').waitFor();
    await client().request(presetMutation, { id, preset: 'LOGS_READ' });
    await page.getByText('Version 4.').waitFor();
    expect(await policySelect(page).inputValue()).toBe('LOGS_READ');
    await client().request(updateMutation, { id, input: { name: 'renamed' } });
    await page.getByRole('heading', { level: 1, name: 'renamed' }).waitFor();
    await client().request(deleteMutation, { id });
    await page.getByText('There is no such connection').waitFor();
  });

  it('draws the usage with the same numbers as a table, and names the callers before a deletion', async () => {
    const { id } = await create('counted');
    const proxied = `${dashboard.server.url}/api/v1/app-connections/okta/${id}/proxy`;
    const headers = { authorization: `Bearer ${dashboard.apiKey}`, 'x-app-connections-consumer': 'payroll' };
    for (const path of ['/api/v1/users', '/api/v1/nothing', '/api/v1/eventHooks']) {
      await fetch(proxied + path, { headers });
    }
    const { page } = await open('counted', 'Usage');
    await expect
      .poll(
        async () => {
          await page.getByRole('button', { name: 'Refresh' }).click();
          return page.getByText('3 requests;').count();
        },
        { interval: 500 },
      )
      .toBe(1);
    await page.locator('.recharts-bar-rectangle path').first().waitFor();
    // The last of the 24 bars.
    await page.getByRole('figure').getByRole('application').focus();
    for (let presses = 0; presses < 23; presses += 1) await page.keyboard.press('ArrowRight');
    await page.getByText('Succeeded : 1').waitFor();
    await page.getByText('Refused or not answered: Use denied (1).').waitFor();
    await page.getByText('The chart as a table').click();
    const table = page.getByRole('table', { name: 'Requests, last 24 hours' });
    await table.getByRole('row', { name: /1 1 1 \d+ ms \d+ ms$/ }).waitFor();
    expect(await table.getByRole('row').count()).toBe(25);
    await page.getByRole('combobox', { name: 'Time' }).selectOption('Last 90 days');
    await page.getByText('The chart as a table').click();
    const days = page.getByRole('table', { name: 'Requests, last 90 days' });
    await days.getByRole('row', { name: /1 1 1 \d+ ms \d+ ms$/ }).waitFor();
    expect(await days.getByRole('row').count()).toBe(91);
    await page.getByRole('button', { name: 'Actions for counted' }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('It was used in the last 90 days by:').waitFor();
    await dialog.getByRole('row', { name: /\S+ payroll 3 (just now|\d+ minutes? ago)$/ }).waitFor();
    await dialog.getByRole('textbox').fill('counted');
    await dialog.getByRole('button', { name: 'Delete' }).click();
    await page.getByText('Deleted counted.').waitFor();
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByText('Restored counted.').waitFor();
    await page.getByRole('heading', { level: 1, name: 'counted' }).waitFor();
    // It is still in use.
    await page.getByRole('button', { name: 'Convert to “Service app”' }).click();
    await page.getByRole('textbox', { name: 'Client ID' }).fill('0oa1ab2cd3EF4GH5i0d7');
    await page.getByRole('textbox', { name: 'Scopes' }).fill('okta.users.read');
    await page.getByRole('button', { name: 'Convert', exact: true }).click();
    await page.getByRole('checkbox', { name: 'Yes, change it for all who use it' }).check();
    await expectAccessible(page, 'acknowledgement');
    await page.getByRole('button', { name: 'Convert', exact: true }).click();
    await page.getByRole('heading', { name: 'Pending conversion' }).waitFor();
  });

  it('shows notes in Markdown without HTML, images and unsafe links, and edits them', async () => {
    const { id } = await create('noted');
    const notes = [
      '# Rotation',
      'Ask **first**, see [the runbook](https://wiki.example/okta) or [write](mailto:ada@example.com).',
      '<img src="https://elsewhere.example/1.png" onerror="document.title=1"> <script>document.title=1</script>',
      '![a picture](https://elsewhere.example/2.png) [script](javascript:document.title=1) [inside](/api/v1/viewer)',
      '[![a badge](https://elsewhere.example/3.png)](https://ci.example)',
      '[data](data:text/html,x) [disguised](JaVaScRiPt:document.title=1) <javascript:document.title=1>',
    ].join('\n\n');
    await client().request(updateMutation, { id, input: { notes } });
    const watched = await open('noted', 'Usage');
    const { page } = watched;
    const region = page.getByRole('region', { name: 'Notes' });
    await region.getByRole('heading', { level: 3, name: 'Rotation' }).waitFor();
    await region.getByText('<script>document.title=1</script>').waitFor();
    const links = await region
      .getByRole('link')
      .evaluateAll((all) => all.map((link) => link.getAttribute('href')));
    expect(links).toEqual(['https://wiki.example/okta', 'mailto:ada@example.com', 'https://ci.example']);
    // Images are their text, also as the only content of a link, which would have no name without it.
    await region.getByText('a picture').waitFor();
    await region.getByRole('link', { name: 'a badge' }).waitFor();
    expect(await region.locator('img, script').count()).toBe(0);
    expect(await page.title()).toMatch(/^noted/);
    await expectAccessible(page, 'notes');
    await region.getByRole('button', { name: 'Edit notes' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox', { name: 'Notes' }).fill('ü'.repeat(5_001));
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('The notes must have at most 10000 bytes.').waitFor();
    await dialog.getByRole('textbox', { name: 'Notes' }).fill('- one\n- two');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await region.getByRole('listitem').nth(1).waitFor();
    expect(watched.console()).toBe('');
    expect(watched.urls().filter((url) => !url.startsWith(dashboard.server.url))).toEqual([]);
  });

  it('shows notes that cannot be rendered as they are', async () => {
    const { id } = await create('nested');
    const { page } = await open('nested', 'Usage');
    const region = page.getByRole('region', { name: 'Notes' });
    for (const marker of ['> ', '- ', '1. ', '>']) {
      const notes = `${marker.repeat(9_900 / marker.length)}deep`;
      await client().request(updateMutation, { id, input: { notes } });
      await page.reload();
      await region.getByText(notes, { exact: true }).waitFor();
    }
    await region.getByRole('button', { name: 'Edit notes' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox', { name: 'Notes' }).fill('> better');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await region.locator('blockquote').getByText('better').waitFor();
  });

  it('shows callers without scopes what they may see, and names the scopes that they lack', async () => {
    const { id } = await create('looked-at');
    const { key } = await createKey(client(), { name: 'reader', scopes: ['CONNECTIONS_READ'] });
    const { page } = await openPage(dashboard.browser);
    await page.goto(`${dashboard.server.url}/${path(id, 'try')}`);
    await page.getByRole('textbox', { name: 'API key' }).fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('signed in without the scope connections:use.').waitFor();
    expect(await page.getByRole('button', { name: 'Verify now' }).count()).toBe(0);
    await page.getByRole('tab', { name: 'Use policy' }).click();
    await page.getByText('signed in without the scope connections:write.').waitFor();
    expect(await page.getByRole('button', { name: 'Save policy' }).count()).toBe(0);
    await page.getByRole('button', { name: 'Test' }).click();
    await page.getByText('Rule 8 of the use policy READ_ONLY allows GET on /api/v1/**.').waitFor();
    await page.getByRole('tab', { name: 'Recent writes' }).click();
    await page.getByText('signed in without the scope audit:read.').waitFor();
    await page.getByRole('tab', { name: 'Usage' }).click();
    await page.getByText('No requests were sent through this connection in this time.').waitFor();
  });

  /** Presses Tab until the element has the focus. */
  async function tabTo(page: Page, element: Locator): Promise<void> {
    for (let presses = 0; presses < 60; presses += 1) {
      if ((await element.and(page.locator(':focus')).count()) > 0) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`Tab does not lead to ${element}.`);
  }

  it('allows reordering rules and sending a request by keyboard alone', async () => {
    const { id } = await create('by-keyboard');
    await client().request(presetMutation, { id, preset: 'USERS_AND_GROUPS_READ' });
    const { page } = await dashboard.open();
    const link = page.getByRole('link', { name: 'by-keyboard' });
    await link.waitFor();
    await tabTo(page, link);
    await page.keyboard.press('Enter');
    const tab = page.getByRole('tab', { name: 'Usage' });
    await tab.waitFor();
    await tabTo(page, tab);
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('ArrowRight');
    await policySelect(page).waitFor();
    await tabTo(page, policySelect(page));
    await page.keyboard.press('End');
    const up = (position: number) => page.getByRole('button', { name: `Move rule ${position} up` });
    await up(9).waitFor();
    await tabTo(page, up(2));
    await page.keyboard.press('Enter');
    // The focus moves with the rule, and stays at the end of the list.
    await up(1).and(page.locator(':focus')).waitFor();
    await page.keyboard.press('Enter');
    expect(await page.getByRole('textbox', { name: 'Path of rule 1' }).inputValue()).toBe(
      '/api/v1/eventHooks*',
    );
    await tabTo(page, page.getByRole('button', { name: 'Remove rule 1' }));
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Add rule' }).and(page.locator(':focus')).waitFor();
    const save = page.getByRole('button', { name: 'Save policy' });
    await tabTo(page, save);
    await page.keyboard.press('Enter');
    await page.getByText('Saved the use policy.').waitFor();
    await save.and(page.locator(':focus')).waitFor();

    await page.keyboard.press('Shift+Tab');
    await page.goto(`${dashboard.server.url}/${path(id, 'try')}`);
    await pathInput(page).waitFor();
    await tabTo(page, pathInput(page));
    await page.keyboard.type('groups/{groupId}/users');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Enter');
    // The parameter is selected, and typing replaces it.
    await page.keyboard.type('00gak46y5hydV6NdM0g4');
    expect(await pathInput(page).inputValue()).toBe('/api/v1/groups/00gak46y5hydV6NdM0g4/users');
    await page.keyboard.press('Escape');
    await tabTo(page, page.getByRole('button', { name: 'Send', exact: true }));
    await page.keyboard.press('Enter');
    await response(page).getByText('ada.admin@example.com').first().waitFor();
    await page.getByRole('button', { name: 'Send', exact: true }).and(page.locator(':focus')).waitFor();
  });

  it.each([
    ['light', 390],
    ['dark', 1440],
  ] as const)(
    'has no serious axe violations and no horizontal scrolling, %s and %i pixels wide',
    async (colorScheme, width) => {
      const name = `seen-${colorScheme}-${width}`;
      const { id } = await create(name);
      await client().request(presetMutation, { id, preset: 'READ_WRITE' });
      const { page } = await dashboard.open({ colorScheme, viewport: { width, height: 900 } });
      await page.getByRole('link', { name }).click();
      await page.getByText('No requests were sent').waitFor();
      await page.getByText('Changes as a table').click();
      await expectAccessible(page, 'usage, empty');
      await page.getByRole('tab', { name: 'Try it' }).click();
      await pathInput(page).fill('users');
      await page.getByRole('listbox').getByRole('option').first().waitFor();
      await expectAccessible(page, 'paths');
      await pathInput(page).fill('/api/v1/users');
      await page.keyboard.press('Escape');
      await page.getByText('The same request with curl').click();
      await send(page);
      await page.getByText(/^Headers/).click();
      await expectAccessible(page, 'response');
      await pathInput(page).fill('/api/v1/eventHooks');
      await page.keyboard.press('Escape');
      await send(page);
      await page.getByRole('alert').waitFor();
      await expectAccessible(page, 'refusal');
      await page.getByRole('combobox', { name: 'Method' }).selectOption('DELETE');
      await pathInput(page).fill('/api/v1/groups/a');
      await page.keyboard.press('Escape');
      await send(page);
      await page.getByRole('dialog').waitFor();
      await expectAccessible(page, 'confirmation');
      await page.getByRole('button', { name: 'Send DELETE' }).click();
      await response(page).getByText('404', { exact: true }).waitFor();
      await page.getByRole('tab', { name: 'Use policy' }).click();
      await page.getByText('The rules of this policy').click();
      await expectAccessible(page, 'preset');
      await policySelect(page).selectOption({ label: 'Rules of my own' });
      await page.getByRole('textbox', { name: 'Path of rule 1', exact: true }).fill('no slash');
      await page.getByRole('button', { name: 'Save policy' }).click();
      await page.getByText('A path pattern starts with a slash').waitFor();
      await client().request(presetMutation, { id, preset: 'LOGS_READ' });
      await page.getByText('Someone has saved version 3.').waitFor();
      await expectAccessible(page, 'rules with an error and a conflict');
      await page.getByRole('tab', { name: 'Recent writes' }).click();
      await page.getByRole('table', { name: 'Recent writes' }).waitFor();
      await expectAccessible(page, 'writes');
      await page.getByRole('tab', { name: 'Usage' }).click();
      await expect
        .poll(
          async () => {
            await page.getByRole('button', { name: 'Refresh' }).click();
            return page.locator('.recharts-bar-rectangle path').count();
          },
          { interval: 500 },
        )
        .toBeGreaterThan(0);
      await page.getByText('The chart as a table').click();
      await expectAccessible(page, 'usage');
      await page.goto(`${dashboard.server.url}/${path('00000000-0000-4000-8000-000000000000')}`);
      await page.getByText('There is no such connection').waitFor();
      await expectAccessible(page, 'no such connection');
    },
    90_000,
  );
});
