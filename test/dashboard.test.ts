import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstProjectId } from '../src/identity/organisations.ts';
import { expectNowhere, findInPage, hasBrowser } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import * as okta from './testkit/okta.ts';

const token = '00planted-in-the-dashboard-planted';

describe.skipIf(!hasBrowser())('the dashboard', () => {
  let dashboard: TestDashboard;
  beforeAll(async () => {
    // Longer than any test: no request of a test reaches this timeout.
    dashboard = await startDashboard({ outbound: { timeoutMs: 120_000 } });
  });
  afterAll(() => dashboard?.close());

  /** Fills in the form. The form clears the token on each submit. */
  async function fillIn(page: Page, values: { name?: string; url?: string; token?: string }) {
    const { name, url, token } = values;
    if (name !== undefined) await page.getByRole('textbox', { name: 'Name' }).fill(name);
    if (url !== undefined) await page.getByRole('textbox', { name: 'Instance URL' }).fill(url);
    if (token !== undefined) await page.getByRole('textbox', { name: 'API token' }).fill(token);
  }

  async function openForm() {
    const watched = await dashboard.open();
    await watched.page.getByRole('link', { name: 'Add Connection' }).first().click();
    await watched.page.getByRole('link', { name: /^O?\s*Okta/ }).click();
    await watched.page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
    return watched;
  }

  it('creates a connection with one form, and the token stays nowhere', async () => {
    const watched = await dashboard.open();
    const { page } = watched;
    await page.getByRole('link', { name: 'App Connections' }).click();
    await page.getByText('No connections yet').waitFor();
    await page.getByRole('link', { name: 'Add Connection' }).first().click();
    await page.getByRole('link', { name: /Okta/ }).click();
    expect(await page.getByRole('complementary').getByRole('listitem').allTextContents()).toEqual([
      expect.stringContaining('Security > API > Tokens'),
      expect.stringContaining('Any IP'),
      expect.stringContaining('Copy the token'),
    ]);
    await fillIn(page, { name: 'my-okta-connection', url: 'https://example.okta.com', token });
    await page.getByRole('textbox', { name: 'Description' }).fill("Ada's users");
    await page.getByRole('button', { name: 'Create' }).click();

    await page.getByRole('heading', { name: 'Connection created' }).waitFor();
    const text = await page.getByRole('main').textContent();
    expect(text).toContain('ada.admin@example.com (active)');
    expect(text).toContain('"apiToken": "<YOUR-API-TOKEN>"');
    expect(text).toContain(firstProjectId);
    await page.getByRole('tab', { name: 'curl' }).click();
    expect(await page.getByRole('region', { name: 'curl' }).textContent()).toContain(
      "--header 'Authorization: Bearer <YOUR-API-KEY>'",
    );
    await expectNowhere(watched, token);
    // The page signed in by URL and keeps the session for GraphiQL and reloads.
    expect(await findInPage(watched.page, dashboard.apiKey)).toEqual(['sessionStorage']);

    await page.getByRole('link', { name: 'All connections', exact: true }).click();
    const row = page.getByRole('row', { name: /my-okta-connection/ });
    await expect.poll(() => row.locator('svg path:visible').count()).toBe(1);
    expect(await row.textContent()).toMatch(
      /Okta[\s\S]*Ada's users[\s\S]*API token[\s\S]*Verified[\s\S]*checked just now/,
    );
    expect(watched.console()).toBe('');
    expect(watched.urls().filter((url) => !url.startsWith(dashboard.server.url))).toEqual([]);
  });

  it("shows the server's validation errors at their fields without a request to Okta", async () => {
    const { page } = await openForm();
    const before = dashboard.okta.requests.length;
    await fillIn(page, { name: 'Not A Name', url: 'https://acme-admin.okta.com', token: 'SSWS abc' });
    await page.getByRole('button', { name: 'Create' }).click();
    const name = page.getByRole('textbox', { name: 'Name' });
    await expect.poll(() => name.getAttribute('aria-invalid')).toBe('true');
    await page.getByText('The name must be lower-case letters and digits').waitFor();
    await page.getByText('Use the one without “-admin”: https://acme.okta.com.').waitFor();
    await page.getByText('Leave out “SSWS”').waitFor();
    await page.locator('input[name=name]:focus').waitFor();
    expect(dashboard.okta.requests.length).toBe(before);
  });

  const failures = [
    ['a revoked token', okta.tokenRejected, 'create a new token and use that one'],
    ['a role with too few permissions', okta.insufficientRole, 'give the owner of the token an admin role'],
    ['an exhausted rate limit', okta.rateLimited(new Date(Date.now() + 60_000)), 'Try again after'],
    ['an Okta that is broken', okta.failing(), 'https://status.okta.com'],
    ['a host that is not Okta', okta.notJson(), 'Use the address that you see when you sign in to Okta'],
    [
      'a host that closes the connection',
      okta.closesConnection,
      'whether this server may connect to that host',
    ],
  ] as const;
  it.each(failures)('shows the remedy for %s, and asks for the token again', async (_, behaviour, remedy) => {
    const watched = await openForm();
    const { page } = watched;
    dashboard.okta.behave(behaviour);
    await fillIn(page, { name: 'never-made', url: dashboard.okta.origin, token });
    await page.getByRole('button', { name: 'Create' }).click();
    expect(await page.getByRole('alert').textContent()).toContain(remedy);
    await page.getByText('Enter them again').waitFor();
    expect(await page.getByRole('textbox', { name: 'API token' }).inputValue()).toBe('');
    await expectNowhere(watched, token);
  });

  it('creates nothing when the user cancels during verification', async () => {
    const { page } = await openForm();
    dashboard.okta.behave(okta.slowHeaders);
    const before = dashboard.okta.requests.length;
    await fillIn(page, { name: 'cancelled', url: dashboard.okta.origin, token });
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByText('Verifying with Okta…').waitFor();
    await expect.poll(() => dashboard.okta.requests.length).toBe(before + 1);
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.getByText('Cancelled. Nothing was created.').waitFor();
    await dashboard.okta.requests.at(-1)?.disconnected;
    const client = dashboard.server.clientFor(dashboard.apiKey);
    const event = () => client.request(`{ auditEvents(first: 1) { nodes { connectionName outcome } } }`);
    await expect.poll(event).toEqual({
      auditEvents: { nodes: [{ connectionName: 'cancelled', outcome: 'UPSTREAM_UNREACHABLE' }] },
    });
  });

  it('shows the remedy for a host that is not allowed', async () => {
    const { page } = await openForm();
    await fillIn(page, { name: 'never-made', url: 'https://127.0.0.1', token });
    await page.getByRole('button', { name: 'Create' }).click();
    expect(await page.getByRole('alert').textContent()).toContain('TRUSTED_INSTANCE_HOSTS');
  });
});
