import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstProjectId } from '../src/identity/organisations.ts';
import { hasBrowser, openUnsharedPage } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import { hasNginx, type Nginx, startNginx } from './testkit/nginx.ts';
import { createMutation, okta } from './testkit/operations.ts';

describe.skipIf(!hasBrowser() || !hasNginx())('the dashboard under /connections behind nginx', () => {
  let dashboard: TestDashboard;
  let nginx: Nginx;
  beforeAll(async () => {
    dashboard = await startDashboard({ config: { basePath: '/connections' } });
    nginx = await startNginx('');
  });
  afterAll(async () => {
    await nginx?.[Symbol.asyncDispose]();
    await dashboard?.close();
  });

  const make = (name: string) =>
    dashboard.server
      .clientFor(dashboard.apiKey)
      .request(createMutation, okta({ name, projectId: firstProjectId }));
  const location = (settings: string) =>
    `location /connections { proxy_pass ${new URL(dashboard.server.url).origin}; ${settings} }`;

  async function signIn() {
    const watched = await openUnsharedPage(dashboard.browser);
    await watched.page.clock.install();
    await watched.page.goto(`${nginx.url}/connections`);
    await watched.page.getByRole('textbox', { name: 'API key' }).fill(dashboard.apiKey);
    await watched.page.getByRole('button', { name: 'Sign in' }).click();
    return watched;
  }

  it('updates live, requests no other origin and loads its script from the right URL', async () => {
    await nginx.configure(location(''));
    const { page, urls, console } = await signIn();
    await page.getByText('Live updates are on.').waitFor();
    await make('seen-through-nginx');
    await page.getByRole('row', { name: /seen-through-nginx/ }).waitFor();
    await page.getByRole('link', { name: 'seen-through-nginx' }).click();
    await page.getByRole('tab', { name: 'Try it' }).click();
    await page.getByRole('combobox', { name: 'Path' }).fill('/api/v1/users');
    await page.keyboard.press('Enter');
    await page.getByText('ada.admin@example.com', { exact: false }).first().waitFor();
    await page.getByText('The same request with curl').click();
    expect(await page.getByRole('region', { name: 'curl' }).textContent()).toContain(
      `'${nginx.url}/connections/api/v1/app-connections/okta/`,
    );
    for (const url of urls()) expect(url).toMatch(new RegExp(`^${nginx.url}/connections(/|$)`));
    expect(console()).not.toMatch(/error|uncaught/);
  });

  it('polls and says so while nginx buffers events, and recovers by itself', async () => {
    await nginx.configure(location('proxy_ignore_headers X-Accel-Buffering; proxy_buffers 8 64k;'));
    const { page } = await signIn();
    await page.getByText('Live updates are off').waitFor();
    await page.getByRole('row', { name: /seen-through-nginx/ }).waitFor();
    await make('held-back');
    await page.clock.fastForward(10_000);
    await page.getByRole('row', { name: /held-back/ }).waitFor();
    expect(await page.getByText('Live updates are on.').count()).toBe(0);
    await make('held-back-too');
    await page.clock.fastForward(10_000);
    await page.getByRole('row', { name: /held-back-too/ }).waitFor();
    await nginx.configure(location(''));
    // The client closes the silent stream, waits, and opens another.
    await page.clock.fastForward(40_000);
    await page.clock.fastForward(40_000);
    await page.getByText('Live updates are on.').waitFor();
    await make('live-again');
    await page.getByRole('row', { name: /live-again/ }).waitFor();
  });

  it('polls when the event stream falls silent, and keeps the list while the server is down', async () => {
    await nginx.configure(location(''));
    const { page } = await signIn();
    await page.getByText('Live updates are on.').waitFor();
    await page.getByRole('row', { name: /seen-through-nginx/ }).waitFor();
    await nginx.configure('location / { return 502; }');
    await page.getByText('Live updates are off').waitFor();
    await page.clock.fastForward(10_000);
    await page.getByRole('row', { name: /seen-through-nginx/ }).waitFor();
    expect(await page.getByRole('alert').count()).toBe(0);
    await nginx.configure(location(''));
    await page.clock.fastForward(60_000);
    await page.getByText('Live updates are on.').waitFor();
  });

  it.each([
    ['a rejected subscription', 'if ($http_accept = "text/event-stream") { return 503; }'],
    ['a stream that ends immediately', 'proxy_read_timeout 1s; proxy_ignore_headers X-Accel-Buffering;'],
  ])('polls the list with %s', async (name, settings) => {
    await nginx.configure(location(settings));
    const { page } = await signIn();
    await page.getByRole('row', { name: /seen-through-nginx/ }).waitFor();
    await page.getByText('Live updates are off').waitFor();
    const connection = name.replaceAll(' ', '-');
    await make(connection);
    await page.clock.fastForward(10_000);
    await page.getByRole('row', { name: new RegExp(connection) }).waitFor();
  });
});
