import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createApps } from '../src/apps/index.ts';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { firstProjectId } from '../src/identity/organisations.ts';
import { displayVariants, expectAccessible } from './testkit/axe.ts';
import { hasBrowser } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import { slowHeaders, startOkta, type TestOkta, tokenRejected } from './testkit/okta.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { fakeParcelDepot, parcelDepot } from './testkit/second-app.ts';

describe.skipIf(!hasBrowser())('accessibility of the dashboard', () => {
  let dashboard: TestDashboard;
  let depot: TestOkta;
  beforeAll(async () => {
    depot = await startOkta({ handler: fakeParcelDepot });
    dashboard = await startDashboard({
      apps: [...createApps({ trustedHosts: { has: () => true } }), parcelDepot(depot)],
      config: { trustedInstanceHosts: new Set([depot.hostPort]) },
      outbound: { timeoutMs: 120_000 },
    });
    const { okta: ownOkta, server, apiKey } = dashboard;
    ownOkta.behave(handleFakeOkta);
    const input = okta({ name: 'example-connection', projectId: firstProjectId });
    await server.clientFor(apiKey).request(createMutation, input);
  });
  afterAll(async () => {
    await dashboard?.close();
    await depot?.close();
  });

  it.each(displayVariants)(
    'has no serious axe violations on any screen, %s and %i pixels wide',
    async (colorScheme, width) => {
      const { page } = await dashboard.open({ colorScheme, viewport: { width, height: 800 } });
      const open = async (action: string) => {
        await page.getByRole('button', { name: 'Actions for example-connection' }).click();
        await page.getByRole('menuitem', { name: action }).click();
        await page.getByRole('dialog').waitFor();
      };
      await page.getByRole('button', { name: 'Actions for example-connection' }).waitFor();
      await expectAccessible(page, 'list');
      await page.getByRole('button', { name: 'Actions for example-connection' }).click();
      await page.getByRole('menuitem', { name: 'Delete' }).waitFor();
      await expectAccessible(page, 'menu');
      await page.keyboard.press('Escape');
      for (const action of ['Edit details', 'Replace token', 'Audit trail', 'Delete']) {
        await open(action);
        await expectAccessible(page, action);
        await page.keyboard.press('Escape');
        await page.getByRole('dialog').waitFor({ state: 'detached' });
      }
      await page.getByRole('searchbox').fill('no-such-connection');
      await page.getByText('No matching connections').waitFor();
      await expectAccessible(page, 'no results');

      await page.getByRole('link', { name: 'Add Connection' }).click();
      await page.getByRole('link', { name: /Okta/ }).waitFor();
      await expectAccessible(page, 'choice of app');
      await page.getByRole('link', { name: /Okta/ }).click();
      await page.getByRole('button', { name: 'Create' }).click();
      await page.getByText('The name is required.').waitFor();
      await expectAccessible(page, 'invalid form');
      const fillIn = async () => {
        await page.getByRole('textbox', { name: 'Name' }).fill(`seen-${colorScheme}-${width}`);
        await page.getByRole('textbox', { name: 'Instance URL' }).fill(dashboard.okta.origin);
        await page.getByRole('textbox', { name: 'API token' }).fill('00-good-enough');
        await page.getByRole('button', { name: 'Create' }).click();
      };
      dashboard.okta.behave(tokenRejected);
      await fillIn();
      await page.getByRole('alert').waitFor();
      await expectAccessible(page, 'diagnosis');
      dashboard.okta.behave(slowHeaders);
      await fillIn();
      await page.getByRole('button', { name: 'Cancel' }).waitFor();
      await expectAccessible(page, 'verifying');
      await page.getByRole('button', { name: 'Cancel' }).click();
      dashboard.okta.behave(handleFakeOkta);
      await fillIn();
      await page.getByRole('heading', { name: 'Connection created' }).waitFor();
      await expectAccessible(page, 'created');
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByRole('textbox', { name: 'API key' }).waitFor();
      await expectAccessible(page, 'sign in');
    },
    90_000,
  );

  it('has no serious axe violations while data is loading', async () => {
    const { page } = await dashboard.open();
    const hold = Promise.withResolvers<void>();
    await page.route('**/graphql', async (route) => {
      if (/query (Audit|Options)/.test(route.request().postData() ?? '')) await hold.promise;
      await route.continue();
    });
    await page.reload();
    await page.getByRole('button', { name: 'Actions for example-connection' }).click();
    await page.getByRole('menuitem', { name: 'Audit trail' }).click();
    const loading = { name: 'Loading' };
    await page.getByRole('dialog').getByRole('status', loading).waitFor();
    await expectAccessible(page, 'audit trail');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByRole('link', { name: 'Add Connection' }).click();
    await page.getByRole('status', loading).waitFor();
    await expectAccessible(page, 'choice of app');
    hold.resolve();
    await page.getByRole('link', { name: /Okta/ }).waitFor();
  });

  /** Presses Tab until the element has the focus. */
  async function tabTo(page: Page, element: Locator): Promise<void> {
    for (let presses = 0; presses < 60; presses += 1) {
      await page.keyboard.press('Tab');
      if ((await element.and(page.locator(':focus')).count()) > 0) return;
    }
    throw new Error(`Tab does not lead to ${element}.`);
  }

  it('opens a menu that was asked for by keyboard before its script was loaded, and gives the focus back', async () => {
    const { page } = await dashboard.open();
    const hold = Promise.withResolvers<void>();
    await page.route('**/openable-menu*', async (route) => {
      await hold.promise;
      await route.continue();
    });
    await page.reload();
    const button = page.getByRole('button', { name: 'Actions for example-connection' });
    await button.waitFor();
    await tabTo(page, button);
    await page.keyboard.press('Enter');
    expect(await page.getByRole('menuitem').count()).toBe(0);
    hold.resolve();
    await page.getByRole('menuitem').and(page.locator(':focus')).waitFor();
    await page.keyboard.press('Escape');
    await button.and(page.locator(':focus')).waitFor();

    await page.unroute('**/openable-menu*');
    await page.route('**/openable-menu*', (route) => route.abort());
    await page.reload();
    await page.getByTitle('This could not be loaded. Reload the page.').first().waitFor();
    await expectAccessible(page, 'list without menus');
  });

  it('allows creating, editing, replacing the token, deleting and restoring by keyboard alone', async () => {
    dashboard.okta.behave(handleFakeOkta);
    const { page } = await dashboard.open();
    await page.getByRole('button', { name: 'Actions for example-connection' }).waitFor();
    await tabTo(page, page.getByRole('link', { name: 'Add Connection' }));
    await page.keyboard.press('Enter');
    await page.getByRole('link', { name: /Okta/ }).waitFor();
    await tabTo(page, page.getByRole('link', { name: /Okta/ }));
    await page.keyboard.press('Enter');
    await page.getByRole('textbox', { name: 'Name' }).waitFor();
    await tabTo(page, page.getByRole('textbox', { name: 'Name' }));
    await page.keyboard.type('made-by-keyboard');
    await tabTo(page, page.getByRole('textbox', { name: 'Instance URL' }));
    await page.keyboard.type('https://example.okta.com');
    await tabTo(page, page.getByRole('textbox', { name: 'API token' }));
    await page.keyboard.type('00-by-keyboard');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Connection created' }).and(page.locator(':focus')).waitFor();
    await tabTo(page, page.getByRole('link', { name: 'All connections', exact: true }));
    await page.keyboard.press('Enter');

    const menu = page.getByRole('button', { name: 'Actions for made-by-keyboard' });
    const pick = async (name: string) => {
      await menu.waitFor();
      await tabTo(page, menu);
      await page.keyboard.press('Enter');
      const item = page.getByRole('menuitem', { name });
      await page.getByRole('menuitem').and(page.locator(':focus')).waitFor();
      for (let presses = 0; (await item.and(page.locator(':focus')).count()) === 0; presses += 1) {
        expect(presses).toBeLessThan(10);
        await page.keyboard.press('ArrowDown');
      }
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').getByRole('textbox').and(page.locator(':focus')).waitFor();
    };
    await pick('Edit details');
    await tabTo(page, page.getByRole('dialog').getByRole('textbox', { name: 'Description' }));
    await page.keyboard.type('Typed.');
    await tabTo(page, page.getByRole('button', { name: 'Save' }));
    await page.keyboard.press('Enter');
    await page.getByText('Saved the details').waitFor();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await pick('Replace token');
    await page.keyboard.type('00-by-keyboard-again');
    await page.keyboard.press('Enter');
    await page.getByText('Replaced the token of made-by-keyboard.').waitFor();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await pick('Delete');
    await page.keyboard.type('made-by-keyboard');
    await page.keyboard.press('Enter');
    await page.getByText('Deleted made-by-keyboard.').waitFor();
    await tabTo(page, page.getByRole('button', { name: 'Undo' }));
    await page.keyboard.press('Enter');
    await menu.waitFor();
  });

  it('shows a form for an app that the page does not know', async () => {
    const { page } = await dashboard.open();
    await page.getByRole('link', { name: 'Add Connection' }).click();
    await page.getByRole('link', { name: /Parcel Depot/ }).click();
    await page.getByRole('textbox', { name: 'Name' }).fill('first-depot');
    await page.getByRole('textbox', { name: 'Client id' }).fill('not-a-client');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText('Client secret is required.').waitFor();
    const fillInSecrets = async () => {
      await page.getByRole('textbox', { name: 'Client secret' }).fill('open-sesame');
      await page.getByRole('textbox', { name: 'Signing key' }).fill('a-key-that-signs');
      await page.getByRole('button', { name: 'Create' }).click();
    };
    await fillInSecrets();
    // The server knows the rule.
    await page.getByText('A client id is c-12345.', { exact: true }).waitFor();
    await page.getByRole('textbox', { name: 'Client id' }).fill('c-12345');
    await fillInSecrets();
    await page.getByRole('heading', { name: 'Connection created' }).waitFor();
    expect(await page.getByRole('main').textContent()).toContain('"signingKey": "<YOUR-SIGNING-KEY>"');
  });
});
