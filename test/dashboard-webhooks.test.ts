import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { firstProjectId } from '../src/identity/organisations.ts';
import { createKey } from './testkit/access.ts';
import { displayVariants, expectAccessible } from './testkit/axe.ts';
import { expectNowhere, hasBrowser, openPage } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import { createMutation, okta } from './testkit/operations.ts';
import { startReceiver, verifyWebhook, type WebhookReceiver } from './testkit/webhook-receiver.ts';

describe.skipIf(!hasBrowser())('webhooks in the dashboard', () => {
  let dashboard: TestDashboard;
  let receiver: WebhookReceiver;
  beforeAll(async () => {
    receiver = await startReceiver();
    dashboard = await startDashboard({
      webhookIntervalMs: 50,
      config: { trustedInstanceHosts: new Set([receiver.hostPort]) },
    });
    dashboard.okta.behave(handleFakeOkta);
  });
  afterAll(async () => {
    await dashboard?.close();
    await receiver?.[Symbol.asyncDispose]();
  });
  afterEach(() => receiver.behave((_, response) => response.writeHead(204).end()));

  const create = (name: string) =>
    dashboard.server
      .clientFor(dashboard.apiKey)
      .request(
        createMutation,
        okta({ name, projectId: firstProjectId }, { instanceUrl: dashboard.okta.origin }),
      );
  const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();
  const closed = (page: Page) => page.getByRole('dialog').waitFor({ state: 'detached' });
  const readSecret = async (page: Page) =>
    (await page.getByRole('region', { name: 'the secret' }).textContent()) ?? '';

  async function openWebhooks(page: Page, width: number) {
    if (width < 768) await press(page, 'Navigation');
    await page.getByRole('link', { name: 'Webhooks' }).click();
    await page.getByRole('heading', { name: 'Webhooks', level: 1 }).waitFor();
  }

  it.each(displayVariants)(
    'are added, changed, tested, sent again and deleted, without serious axe violations, %s and %i pixels wide',
    async (colorScheme, width) => {
      const recorded = await dashboard.open({ colorScheme, viewport: { width, height: 800 } });
      const { page } = recorded;
      const path = `/${colorScheme}`;
      await openWebhooks(page, width);
      await page.getByText('No endpoints yet').waitFor();
      await expectAccessible(page, 'no endpoints');

      await press(page, 'Add endpoint');
      await press(page, 'Add');
      await page.getByText('The URL is required.').waitFor();
      await page.getByRole('textbox', { name: 'URL' }).fill(receiver.url + path);
      await page.getByRole('checkbox', { name: 'All events' }).uncheck();
      await press(page, 'Add');
      await page.getByText('Choose at least one type.').waitFor();
      await page.getByRole('checkbox', { name: 'Connection created' }).check();
      await expectAccessible(page, 'form');
      await press(page, 'Add');
      await page.getByText('Copy the secret now. It is not shown again.').waitFor();
      await expectAccessible(page, 'secret');
      const secret = await readSecret(page);
      await press(page, 'Done');
      await closed(page);
      await page.getByText('Nothing sent yet').filter({ visible: true }).waitFor();
      await expectAccessible(page, 'endpoints');

      await page.getByRole('link', { name: receiver.url + path }).click();
      await press(page, 'Send test event');
      await page.getByRole('listitem').getByText('Delivered').waitFor();
      const [test] = await receiver.waitFor(1, path);
      verifyWebhook(secret, test as never);
      await expectNowhere(recorded, secret);

      receiver.behave((_, response) => response.writeHead(503, { 'retry-after': '80000' }).end());
      await create(`seen-${colorScheme}`);
      await press(page, 'Refresh');
      await page.getByText('tried once: HTTP status 503').waitFor();
      await page.getByText('Failing', { exact: true }).waitFor();
      await page.getByText('Attempts').first().click();
      await expectAccessible(page, 'endpoint');
      receiver.behave((_, response) => response.writeHead(204).end());
      await press(page, 'Send again: Test event');
      await page.getByText('1 message is sent again.').waitFor();
      await page.getByText('tried 2 times: HTTP status 204').first().waitFor();
      // It waits for its next attempt.
      await press(page, 'Send again: Connection created');
      await page.getByText('tried 2 times: HTTP status 204').nth(1).waitFor();

      await press(page, 'Send a time span again');
      await press(page, 'Send again');
      await page.getByText('The time is required.').waitFor();
      await page.getByLabel('From').fill('2026-01-01T00:00');
      await expectAccessible(page, 'time span');
      await press(page, 'Send again');
      await page.getByText(/messages? (is|are) sent again\./).waitFor();
      await closed(page);

      await press(page, 'Rotate secret');
      await page.getByRole('dialog').waitFor();
      await expectAccessible(page, 'rotation');
      await press(page, 'Rotate');
      await page.getByText('Copy the secret now. It is not shown again.').waitFor();
      const rotated = await readSecret(page);
      expect(rotated).not.toBe(secret);
      await press(page, 'Hide the secret');
      await expectNowhere(recorded, rotated);

      await press(page, 'Edit');
      await page.getByRole('textbox', { name: 'Description' }).fill('Tells the team.');
      await page.getByRole('checkbox', { name: 'Connection failing' }).check();
      await press(page, 'Save');
      await page.getByText('Connection created, Connection failing').waitFor();
      receiver.behave((_, response) => response.writeHead(503, { 'retry-after': '80000' }).end());
      await press(page, 'Send test event');
      await page.getByText(/HTTP status 503, next in/).waitFor();
      await press(page, 'Disable');
      await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
      await page.getByText('The endpoint is disabled.').waitFor();
      // A disabled endpoint has no next attempt.
      await page.getByText('tried once: HTTP status 503', { exact: false }).waitFor();
      await page.getByText(/HTTP status 503, next in/).waitFor({ state: 'detached' });
      await expectAccessible(page, 'disabled');
      await press(page, 'Enable');
      await page.getByText('The endpoint is enabled.').waitFor();
      await press(page, 'Delete');
      await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
      await page.getByText('No endpoints yet').waitFor();
    },
    90_000,
  );

  it('say what is missing to callers without their scopes, and are read-only without webhooks:write', async () => {
    const client = dashboard.server.clientFor(dashboard.apiKey);
    const signIn = async (key: string) => {
      const { page } = await openPage(dashboard.browser);
      await page.goto(dashboard.server.url);
      await page.getByRole('textbox', { name: 'API key' }).fill(key);
      await page.keyboard.press('Enter');
      await openWebhooks(page, 1280);
      return page;
    };
    const { key } = await createKey(client, { name: 'no-webhooks', scopes: ['CONNECTIONS_READ'] });
    const without = await signIn(key);
    await without.getByText('You are signed in without the scope webhooks:read').waitFor();
    await expectAccessible(without, 'missing scope');
    const reader = await createKey(client, {
      name: 'webhooks-reader',
      scopes: ['CONNECTIONS_READ', 'WEBHOOKS_READ'],
    });
    const page = await signIn(reader.key);
    await page.getByText('No endpoints yet').waitFor();
    expect(await page.getByRole('button', { name: 'Add endpoint' }).count()).toBe(0);
  });
});
