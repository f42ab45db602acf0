import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { firstProjectId } from '../src/identity/organisations.ts';
import { displayVariants, expectAccessible } from './testkit/axe.ts';
import { expectNowhere, findInPage, hasBrowser, openPage } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import { tokenRejected } from './testkit/okta.ts';
import { type Created, createMutation, okta, updateMutation } from './testkit/operations.ts';
import { parseSignInCode } from './testkit/sign-in-code.ts';

const token = '00planted-in-a-dialog-planted';

describe.skipIf(!hasBrowser())('a connection in the dashboard', () => {
  let dashboard: TestDashboard;
  beforeAll(async () => {
    dashboard = await startDashboard();
  });
  afterAll(() => dashboard?.close());

  async function create(name: string) {
    const { okta: ownOkta, server, apiKey } = dashboard;
    ownOkta.behave(handleFakeOkta);
    const { createOktaConnection } = await server
      .clientFor(apiKey)
      .request<Created>(
        createMutation,
        okta({ name, projectId: firstProjectId }, { instanceUrl: ownOkta.origin }),
      );
    return createOktaConnection.appConnection;
  }

  const findRow = (page: Page, name: string) => page.getByRole('row', { name: new RegExp(`\\b${name}\\b`) });

  async function choose(page: Page, name: string, action: string) {
    await page.getByRole('button', { name: `Actions for ${name}`, exact: true }).click();
    await page.getByRole('menuitem', { name: action }).click();
  }

  it('can be renamed and described, with validation errors at their fields', async () => {
    await create('to-be-edited');
    const { page } = await dashboard.open();
    await choose(page, 'to-be-edited', 'Edit details');
    const dialog = page.getByRole('dialog', { name: 'Edit to-be-edited' });
    await dialog.getByRole('textbox', { name: 'Name' }).fill('No Name');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('The name must be lower-case letters and digits').waitFor();
    await dialog.getByRole('textbox', { name: 'Name' }).fill('edited');
    await dialog.getByRole('textbox', { name: 'Description' }).fill('It has a new name.');
    const [tags, owner, email] = ['Tags', 'Owner', 'E-mail address of the owner'].map((name) =>
      dialog.getByRole('textbox', { name, exact: true }),
    );
    await tags?.fill('env: prod\nteam:identity\na,b: c');
    await owner?.fill('Identity team');
    await email?.fill('identity');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText('The key of a tag must have').waitFor();
    await dialog.getByText('The e-mail address must be one').waitFor();
    await tags?.fill('env: prod\nteam:identity');
    await email?.fill('identity@example.com');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await findRow(page, 'edited').getByText('It has a new name.').waitFor();
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'edited', exact: true }).click();
    await page.getByText('env: prod').waitFor();
    await page.getByText('team: identity').waitFor();
    await page.getByRole('link', { name: 'identity@example.com' }).waitFor();
  });

  it('can have another interval of checks, or none, and keeps the default when something else is edited', async () => {
    const { id } = await create('checked-daily');
    const { page } = await dashboard.open();
    const readInterval = async () => {
      const [row] = await dashboard.server
        .asOwner()
        .execute<[{ check_every: number | null }]>('select check_every from app_connection where id = ?', [
          id,
        ]);
      return row.check_every;
    };
    const dialog = page.getByRole('dialog', { name: 'Edit checked-daily' });
    const interval = dialog.getByRole('combobox', { name: 'Checks' });
    const save = async () => {
      await dialog.getByRole('button', { name: 'Save' }).click();
      await dialog.waitFor({ state: 'detached' });
    };
    await choose(page, 'checked-daily', 'Edit details');
    expect(await interval.inputValue()).toBe('24');
    await dialog.getByRole('textbox', { name: 'Description' }).fill('It is described.');
    await save();
    expect(await readInterval()).toBeNull();
    await choose(page, 'checked-daily', 'Edit details');
    await interval.selectOption('Off');
    await expectAccessible(page, 'the interval of checks');
    await save();
    expect(await readInterval()).toBe(0);
    await dashboard.server
      .clientFor(dashboard.apiKey)
      .request(updateMutation, { id, input: { checkEvery: 17 } });
    await page.reload();
    await choose(page, 'checked-daily', 'Edit details');
    expect(await interval.locator('option:checked').textContent()).toBe('Every 17 hours');
    await interval.selectOption('Every 3 days');
    await save();
    expect(await readInterval()).toBe(72);
  });

  it('keeps its tags when something else is edited, whatever their keys and values are', async () => {
    const { id } = await create('tagged');
    const tags = ['a', 'a: b', 'a:', ':a', 'a:b', 'a= b', 'a: b: c'].flatMap((key, index) => {
      const named = {
        key: key.replace('=', '_'),
        value: ['', 'x', ': x', 'x: y', 'x:y', 'x=y', ':'][index] ?? '',
      };
      return [named, { key: `${named.key} ${index}`, value: '' }];
    });
    const client = dashboard.server.clientFor(dashboard.apiKey);
    await client.request(updateMutation, { id, input: { tags } });
    const readTags = () =>
      client.request('query ($id: UUID!) { appConnection(id: $id) { tags { key value } } }', { id });
    const before = await readTags();
    const { page } = await dashboard.open();
    await choose(page, 'tagged', 'Edit details');
    const dialog = page.getByRole('dialog', { name: 'Edit tagged' });
    await dialog.getByRole('textbox', { name: 'Description' }).fill('It is described now.');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await findRow(page, 'tagged').getByText('It is described now.').waitFor();
    expect(await readTags()).toEqual(before);
  });

  it("cannot be edited over another user's change", async () => {
    const { id } = await create('raced-for');
    const { page } = await dashboard.open();
    await choose(page, 'raced-for', 'Edit details');
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox', { name: 'Description' }).fill('Mine.');
    await dashboard.server
      .clientFor(dashboard.apiKey)
      .request(
        'mutation ($id: UUID!) { updateOktaConnection(id: $id, input: { description: "Theirs." }) { __typename } }',
        { id },
      );
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByRole('alert').getByText('Changed by someone else').waitFor();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await findRow(page, 'raced-for').getByText('Theirs.').waitFor();
  });

  it('gets a new token when Okta accepts it, without the token in the page', async () => {
    await create('to-be-renewed');
    const watched = await dashboard.open();
    const { page } = watched;
    await choose(page, 'to-be-renewed', 'Replace token');
    const dialog = page.getByRole('dialog');
    dashboard.okta.behave(tokenRejected);
    await dialog.getByRole('textbox', { name: 'API token' }).fill(token);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByRole('alert').getByText('create a new token and use that one').waitFor();
    await expectNowhere(watched, token);
    dashboard.okta.behave(handleFakeOkta);
    await dialog.getByRole('textbox', { name: 'API token' }).fill(token);
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Replaced the token of to-be-renewed.').waitFor();
    expect(dashboard.okta.requests.at(-1)?.headers.authorization).toBe(`SSWS ${token}`);
    await expectNowhere(watched, token);
  });

  it('can be verified, with the remedy of a failure, which stays visible', async () => {
    await create('to-be-checked');
    const { page } = await dashboard.open();
    await choose(page, 'to-be-checked', 'Verify now');
    await page.getByText('to-be-checked is verified.').waitFor();
    dashboard.okta.behave(tokenRejected);
    await choose(page, 'to-be-checked', 'Verify now');
    await page.getByRole('alert').getByText('create a new token and use that one').waitFor();
    const row = findRow(page, 'to-be-checked');
    await row.getByText('Rejected').filter({ visible: true }).waitFor();
    await page.reload();
    await row.getByRole('button', { name: 'Why to-be-checked is not verified' }).click();
    await page.getByRole('dialog').getByText('create a new token and use that one').waitFor();
  });

  it('shows its audit trail', async () => {
    await create('looked-into');
    const { page } = await dashboard.open();
    await choose(page, 'looked-into', 'Audit trail');
    const dialog = page.getByRole('dialog', { name: 'Audit trail of looked-into' });
    await dialog.getByRole('listitem').getByText('Create connection: done').waitFor();
  });

  it('is deleted by typing its name and restored with Undo', async () => {
    await create('to-be-deleted');
    const { page } = await dashboard.open();
    await choose(page, 'to-be-deleted', 'Delete');
    const dialog = page.getByRole('dialog', { name: 'Delete to-be-deleted?' });
    const button = dialog.getByRole('button', { name: 'Delete' });
    await dialog.getByRole('textbox').fill('to-be-delete');
    expect(await button.isDisabled()).toBe(true);
    await dialog.getByRole('textbox').fill('to-be-deleted');
    await button.click();
    await findRow(page, 'to-be-deleted').waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Undo' }).click();
    await findRow(page, 'to-be-deleted').waitFor();
    await page.getByText('Restored to-be-deleted.').waitFor();
  });

  it('is restored under another name when its name is taken', async () => {
    await create('wanted-twice');
    const { page } = await dashboard.open();
    await choose(page, 'wanted-twice', 'Delete');
    await page.getByRole('dialog').getByRole('textbox').fill('wanted-twice');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('Deleted wanted-twice.').waitFor();
    await create('wanted-twice');
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.getByRole('textbox', { name: 'New name' }).fill('wanted-again');
    await page.getByRole('button', { name: 'Undo' }).click();
    await findRow(page, 'wanted-again').waitFor();
  });

  it('is updated live in a second browser', async () => {
    const [one, other] = [await dashboard.open(), await dashboard.open()];
    await create('seen-by-both');
    await findRow(one.page, 'seen-by-both').waitFor();
    await findRow(other.page, 'seen-by-both').waitFor();
    await choose(one.page, 'seen-by-both', 'Edit details');
    await one.page.getByRole('dialog').getByRole('textbox', { name: 'Description' }).fill('Said over there.');
    await one.page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
    await findRow(other.page, 'seen-by-both').getByText('Said over there.').waitFor();
  });

  it('is updated in a browser that was offline', async () => {
    const { page } = await dashboard.open();
    await page.context().setOffline(true);
    await page.getByText('Live updates are off').waitFor();
    await create('made-meanwhile');
    await page.context().setOffline(false);
    await findRow(page, 'made-meanwhile').waitFor();
    await page.getByText('Live updates are on.').waitFor();
  });

  it('is searched, filtered, sorted and paged by the server', async () => {
    const { server, apiKey } = dashboard;
    const project = await server
      .clientFor(apiKey)
      .request<{ createProject: { project: { id: string } } }>(
        'mutation { createProject(input: { name: "Many" }) { project { id } } }',
      );
    const projectId = project.createProject.project.id;
    for (let number = 10; number < 35; number += 1) {
      await server
        .clientFor(apiKey)
        .request(createMutation, okta({ name: `one-of-many-${number}`, projectId }));
    }
    const { page } = await dashboard.open();
    await page.getByRole('combobox', { name: 'Project' }).selectOption('Many');
    await page.getByText('25 connections').waitFor();
    await page.getByRole('button', { name: 'Next' }).click();
    await findRow(page, 'one-of-many-34').waitFor();
    expect(await page.getByRole('row').count()).toBe(1 + 5);
    await page.getByRole('button', { name: 'Previous' }).click();
    await findRow(page, 'one-of-many-10').waitFor();
    await page.getByRole('combobox', { name: 'Sort by' }).selectOption('Name, Z to A');
    await findRow(page, 'one-of-many-34').waitFor();
    expect(await page.getByRole('row').nth(1).textContent()).toContain('one-of-many-34');
    await page.getByRole('searchbox', { name: 'Search' }).fill('many-12');
    await page.getByText('1 connection', { exact: true }).waitFor();
    await page.getByRole('combobox', { name: 'Status' }).selectOption('Rejected');
    await page.getByText('No matching connections').waitFor();
  });

  it('keeps the filters and the order of the list in the address, also after a reload, "back" and in a shared link', async () => {
    const { server, apiKey } = dashboard;
    const client = server.clientFor(apiKey);
    const { createProject } = await client.request<{ createProject: { project: { id: string } } }>(
      'mutation { createProject(input: { name: "Addressed" }) { project { id } } }',
    );
    const projectId = createProject.project.id;
    for (const [name, tags] of [
      ['addressed-one', [{ key: 'env', value: 'prod + more=1' }]],
      ['addressed-two', [{ key: 'env', value: 'prod + more=1' }]],
      ['neighbour', [{ key: 'env', value: 'prod + more=1' }]],
      ['addressed-without-tags', []],
    ] as const) {
      await client.request(createMutation, okta({ name, projectId, tags }));
    }
    const { page } = await dashboard.open();
    await page.evaluate(`location.hash = '#/projects/${projectId}/integrations/app-connections'`);
    await page.getByText('4 connections').waitFor();
    const [search, status, order] = [
      page.getByRole('searchbox', { name: 'Search' }),
      page.getByRole('combobox', { name: 'Status' }),
      page.getByRole('combobox', { name: 'Sort by' }),
    ];
    await order.selectOption('Name, Z to A');
    await page.getByRole('textbox', { name: 'Tag', exact: true }).fill('env');
    await page.getByRole('textbox', { name: 'Tag value' }).fill('prod + more=1');
    await search.fill('addressed');
    await page.getByText('2 connections').waitFor();
    await status.selectOption('Rejected');
    await page.getByText('No matching connections').waitFor();
    await page.goBack();
    await page.getByText('2 connections').waitFor();
    expect(await status.inputValue()).toBe('');
    await page.goForward();
    await page.getByText('No matching connections').waitFor();
    expect(await status.inputValue()).toBe('REJECTED');
    await page.goBack();
    await page.getByText('2 connections').waitFor();
    await findRow(page, 'addressed-two').getByRole('link').click();
    await page.getByRole('heading', { level: 1, name: 'addressed-two' }).waitFor();
    await page.goBack();
    await page.getByText('2 connections').waitFor();

    const address = page.url();
    expect(new URL(address).search).toBe('');
    const expectFilters = async () => {
      await page.getByText('2 connections').waitFor();
      expect(await search.inputValue()).toBe('addressed');
      expect(await page.getByRole('textbox', { name: 'Tag value' }).inputValue()).toBe('prod + more=1');
      expect(await page.getByRole('row').nth(1).textContent()).toContain('addressed-two');
    };
    await page.reload();
    await expectFilters();
    await expectAccessible(page, 'a list with filters of the address');
    await page.getByRole('link', { name: 'Webhooks' }).click();
    await page.getByRole('heading', { level: 1, name: 'Webhooks' }).waitFor();
    await page.evaluate(`location.hash = ${JSON.stringify(new URL(address).hash)}`);
    await expectFilters();
    // What a link cannot mean is ignored.
    await page.evaluate(
      `location.hash = '#/projects/${projectId}/integrations/app-connections?status=X&order=%&search=%F0neighbour&tag='`,
    );
    await page.getByText('No matching connections').waitFor();
  });

  it.each(displayVariants)(
    'filters by tags as the API does, %s and %i pixels wide',
    async (colorScheme, width) => {
      const { server, apiKey } = dashboard;
      const { createProject } = await server
        .clientFor(apiKey)
        .request<{ createProject: { project: { id: string } } }>(
          'mutation ($name: String!) { createProject(input: { name: $name }) { project { id } } }',
          { name: `Tagged ${width}` },
        );
      const projectId = createProject.project.id;
      for (const [name, tags] of [
        ['in-production', [{ key: 'env', value: 'prod' }]],
        ['in-test', [{ key: 'env', value: 'test' }]],
        ['in-capitals', [{ key: 'ENV', value: 'prod' }]],
        ['without-tags', []],
      ] as const) {
        await server.clientFor(apiKey).request(createMutation, okta({ name, projectId, tags }));
      }
      const { page } = await dashboard.open({ colorScheme, viewport: { width, height: 800 } });
      await page.evaluate(`location.hash = '#/projects/${projectId}/integrations/app-connections'`);
      await page.getByText('4 connections').waitFor();
      const [key, value] = [
        page.getByRole('textbox', { name: 'Tag', exact: true }),
        page.getByRole('textbox', { name: 'Tag value' }),
      ];
      expect(await value.isDisabled()).toBe(true);
      await key.fill('env');
      await page.getByText('2 connections').waitFor();
      await findRow(page, 'in-production').waitFor();
      await findRow(page, 'in-test').waitFor();
      await value.fill('prod');
      await page.getByText('1 connection', { exact: true }).waitFor();
      await findRow(page, 'in-production').waitFor();
      await expectAccessible(page, 'a list with a filter by a tag');
      await value.fill('pro');
      await page.getByText('No matching connections').waitFor();
      await key.fill('e=v');
      await page.getByRole('alert').getByText('The key of a tag must have').waitFor();
      await expectAccessible(page, 'a filter that the server refuses');
      await key.fill('');
      await page.getByText('4 connections').waitFor();
    },
  );

  it.each(displayVariants)(
    'filters by a time of the health, which stays in the address, %s and %i pixels wide',
    async (colorScheme, width) => {
      const { server, apiKey } = dashboard;
      const client = server.clientFor(apiKey);
      const { createProject } = await client.request<{ createProject: { project: { id: string } } }>(
        'mutation ($name: String!) { createProject(input: { name: $name }) { project { id } } }',
        { name: `Timed ${width}` },
      );
      const projectId = createProject.project.id;
      for (const name of ['works', 'worked-long-ago', 'never-worked']) {
        await client.request(createMutation, okta({ name, projectId }));
      }
      for (const [name, at] of [
        ['worked-long-ago', '2024-02-29T12:00:00Z'],
        ['never-worked', null],
      ] as const) {
        await server
          .asOwner()
          .execute(
            'update app_connection set check_every = 0, last_verified_at = ?::timestamptz where name = ? and project_id = ?',
            [at, name, projectId],
          );
      }
      const { page, urls } = await dashboard.open({ colorScheme, viewport: { width, height: 800 } });
      const list = `#/projects/${projectId}/integrations/app-connections`;
      await page.evaluate(`location.hash = ${JSON.stringify(list)}`);
      await page.getByText('3 connections').waitFor();
      const [time, before] = [
        page.getByRole('combobox', { name: 'Time' }),
        page.getByLabel('Before', { exact: true }),
      ];
      expect(await before.isDisabled()).toBe(true);
      await time.selectOption('Last worked');
      // By the keyboard, as people do: each key gives another date, of which only the last one is meant.
      await before.pressSequentially('030120241000AM');
      await page.getByText('1 connection', { exact: true }).waitFor();
      await findRow(page, 'worked-long-ago').waitFor();
      expect(await before.inputValue()).toBe('2024-03-01T10:00');
      await expectAccessible(page, 'a list with a filter by a time');
      expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBeLessThanOrEqual(0);

      const address = page.url();
      await page.reload();
      await page.getByText('1 connection', { exact: true }).waitFor();
      expect([await time.inputValue(), await before.inputValue()]).toEqual([
        'lastGoodBefore',
        '2024-03-01T10:00',
      ]);
      await time.selectOption('Last check');
      await page.getByText('No matching connections').waitFor();
      await page.goBack();
      await page.getByText('1 connection', { exact: true }).waitFor();
      expect(page.url()).toBe(address);
      expect(await time.inputValue()).toBe('lastGoodBefore');
      // To empty the time keeps the choice, so that another one can be given.
      await before.fill('');
      await page.getByText('3 connections').waitFor();
      expect([await time.inputValue(), await before.isDisabled()]).toEqual(['lastGoodBefore', false]);
      await before.fill('2024-02-29T00:00');
      await page.getByText('No matching connections').waitFor();
      await time.selectOption('Any time');
      await page.getByText('3 connections').waitFor();
      expect(new URL(page.url()).hash).toBe(list);
      // What a link cannot mean is ignored.
      await page.evaluate(
        `location.hash = ${JSON.stringify(`${list}?lastGoodBefore=soon&sinceBefore=%2B275760-09-13T00:00:00Z`)}`,
      );
      await page.getByText('3 connections').waitFor();
      expect(await time.inputValue()).toBe('');
      expect(urls().join()).not.toContain('2024');
    },
  );
});

describe.skipIf(!hasBrowser())('signing in to the dashboard', () => {
  let dashboard: TestDashboard;
  beforeAll(async () => {
    dashboard = await startDashboard();
  });
  afterAll(() => dashboard?.close());

  async function signIn(page: Page, key: string) {
    await page.getByRole('textbox', { name: 'API key' }).fill(key);
    await page.getByRole('button', { name: 'Sign in' }).click();
  }

  it('requires a valid API key, which is forgotten with the page', async () => {
    const watched = await openPage(dashboard.browser);
    const { page } = watched;
    await page.goto(dashboard.server.url);
    await signIn(page, 'no-such-key-no-such-key-no-such-key');
    await page.getByRole('alert').waitFor();
    await signIn(page, dashboard.apiKey);
    await page.getByText('Live updates are on.').waitFor();
    await expectNowhere(watched, dashboard.apiKey);
    await page.reload();
    await page.getByRole('textbox', { name: 'API key' }).waitFor();
  });

  it('keeps the key for the tab on request, until sign-out', async () => {
    const { page } = await openPage(dashboard.browser);
    await page.goto(dashboard.server.url);
    await page.getByRole('checkbox', { name: 'Keep me signed in until I close this tab' }).check();
    await signIn(page, dashboard.apiKey);
    await page.getByText('Live updates are on.').waitFor();
    await page.reload();
    await page.getByText('Live updates are on.').waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('textbox', { name: 'API key' }).waitFor();
    expect(await page.evaluate('sessionStorage.length + localStorage.length')).toBe(0);
  });

  const findStatus = (page: Page) => page.getByRole('status').getByText('Signed in with an API key');
  it('accepts a one-time code in the URL once, also for GraphiQL in the same tab', async () => {
    const { server, apiKey, browser } = dashboard;
    const link = server.signInLink() ?? '';
    const watched = await openPage(browser);
    const { page } = watched;
    await page.goto(link);
    await page.getByText('Live updates are on.').waitFor();
    expect(await findInPage(page, parseSignInCode(link))).toEqual([]);
    expect(await findInPage(page, apiKey)).toEqual(['sessionStorage']);
    await page.reload();
    await page.getByText('Live updates are on.').waitFor();

    await page.goto(server.graphqlUrl);
    await findStatus(page).waitFor();
    await page.getByRole('button', { name: /Execute/ }).click();
    await page.getByRole('menuitem', { name: 'Connections', exact: true }).click();
    await page.getByText('totalCount').nth(1).waitFor();
    expect(await findInPage(page, apiKey)).toEqual(['sessionStorage']);
    expect(watched.urls().filter((url) => url.includes(parseSignInCode(link)))).toEqual([]);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('textbox', { name: 'API key' }).waitFor();
    expect(await page.evaluate('sessionStorage.length')).toBe(0);

    const other = await openPage(browser);
    await other.page.goto(link);
    await other.page.getByRole('alert').getByText('This sign-in link no longer works').waitFor();
    await signIn(other.page, apiKey);
    await other.page.getByText('Live updates are on.').waitFor();
  });

  it('accepts a valid key at GraphiQL, forgotten with the page unless remembered', async () => {
    const { server, apiKey, browser } = dashboard;
    const { page } = await openPage(browser);
    await page.goto(server.graphqlUrl);
    await signIn(page, 'no-such-key-no-such-key-no-such-key');
    await page.getByRole('alert').waitFor();
    await signIn(page, apiKey);
    await findStatus(page).waitFor();
    expect(await findInPage(page, apiKey)).toEqual([]);
    await page.reload();
    await page.getByRole('checkbox', { name: 'Keep me signed in until I close this tab' }).check();
    await signIn(page, apiKey);
    await findStatus(page).waitFor();
    await page.goto(server.url);
    await page.getByText('Live updates are on.').waitFor();
    expect(await findInPage(page, apiKey)).toEqual(['sessionStorage']);
  });

  it('accepts a one-time code at GraphiQL', async () => {
    const { server, apiKey, browser } = dashboard;
    const { page } = await openPage(browser);
    const link = `${server.graphqlUrl}#code=${parseSignInCode(server.signInLink())}`;
    await page.goto(link);
    await findStatus(page).waitFor();
    expect(await findInPage(page, parseSignInCode(link))).toEqual([]);
    expect(await findInPage(page, apiKey)).toEqual(['sessionStorage']);
    await page.goto(`${server.url}/health/live`);
    await page.goto(link);
    await page.getByRole('alert').getByText('The sign-in link is used').waitFor();
  });

  it('signs out with a reason when the key is revoked', async () => {
    const { server, apiKey, browser } = dashboard;
    const client = server.clientFor(apiKey);
    const { createApiKey } = await client.request<{ createApiKey: { key: string; apiKey: { id: string } } }>(
      'mutation { createApiKey(input: { name: "Short", scopes: [CONNECTIONS_READ] }) { key apiKey { id } } }',
    );
    const { page } = await openPage(browser);
    await page.goto(server.url);
    await signIn(page, createApiKey.key);
    await page.getByText('Live updates are on.').waitFor();
    expect(await page.getByRole('link', { name: 'Add Connection' }).count()).toBe(0);
    const { id } = createApiKey.apiKey;
    await client.request('mutation ($id: UUID!) { revokeApiKey(id: $id) { __typename } }', { id });
    await page.getByText('Your API key no longer works').waitFor();
  });
});
