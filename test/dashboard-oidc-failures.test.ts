import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { firstOrganisationId } from '../src/identity/organisations.ts';
import { hasBrowser, openPage } from './testkit/browser.ts';
import {
  continueButton,
  countStored,
  type OidcDashboard,
  startLogin,
  startOidcDashboard,
  waitForList,
} from './testkit/dashboard-oidc.ts';
import { startProvider } from './testkit/oidc.ts';
import { dashboardClient } from './testkit/oidc-accounts.ts';
import { startTestServer } from './testkit/server.ts';

const anHourMs = 3_600_000;

describe.skipIf(!hasBrowser())('failures of signing in to the dashboard with OIDC', () => {
  let dashboard: OidcDashboard;
  beforeAll(async () => {
    dashboard = await startOidcDashboard();
  });
  afterAll(() => dashboard?.close());
  afterEach(() => {
    vi.useRealTimers();
    dashboard.provider.answer('/token');
  });

  it.each([
    ['another tab', false],
    ['another sign-in', true],
  ])('rejects a response to %s without redeeming its code', async (_, isUnderWay) => {
    const { page } = await dashboard.visit();
    if (isUnderWay) {
      await startLogin(page);
      await continueButton(page).waitFor();
    }
    const before = dashboard.provider.requestCount('/token');
    await page.goto(
      `${dashboard.home}/?code=an-attackers&state=an-attackers&iss=${encodeURIComponent(dashboard.provider.issuer)}`,
    );
    await page
      .getByRole('alert')
      .getByText('does not belong to a sign-in that was started in this tab')
      .waitFor();
    expect(page.url()).toBe(`${dashboard.home}/`);
    expect(dashboard.provider.requestCount('/token')).toBe(before);
    expect(await countStored(page)).toBe(0);
  });

  it('allows a new sign-in after going back from the provider', async () => {
    const { page } = await dashboard.visit();
    await startLogin(page);
    await continueButton(page).waitFor();
    await page.goBack();
    await page.getByRole('textbox', { name: 'API key' }).waitFor();
    expect(await countStored(page)).toBe(0);
    await startLogin(page);
    await continueButton(page).click();
    await waitForList(page);
  });

  it('shows an error of the provider and allows another try', async () => {
    const { page } = await dashboard.visit();
    await startLogin(page);
    await page.getByRole('button', { name: 'Refuse' }).click();
    const alert = page.getByRole('alert');
    await alert.getByText('denied access: Ada has refused (access_denied).').waitFor();
    await alert.getByText('Sign in again and allow access').waitFor();
    expect(page.url()).toBe(`${dashboard.home}/`);
    await startLogin(page);
    await continueButton(page).click();
    await waitForList(page);
  });

  it.each([
    ['with a wrong nonce', { nonce: 'of-another-sign-in' }, undefined, 'is not valid'],
    ['for another client', { aud: 'another' }, undefined, 'is not valid'],
    ['that is not a JWT', {}, 'opaque', 'is not a JWT'],
  ])('rejects a token %s', async (_, differing, opaque, words) => {
    const { page } = await dashboard.visit();
    const requestCount = page.waitForRequest((request) =>
      request.url().startsWith(`${dashboard.provider.issuer}/auth?`),
    );
    await startLogin(page);
    const nonce = new URL((await requestCount).url()).searchParams.get('nonce');
    await continueButton(page).waitFor();
    const claims = { aud: dashboardClient, nonce, ...differing };
    const [token, idToken] = await Promise.all([
      dashboard.provider.forge({ org: firstOrganisationId }),
      dashboard.provider.forge(claims, { header: { typ: 'JWT' } }),
    ]);
    dashboard.provider.answer('/token', (_request, response) => {
      response
        .setHeader('content-type', 'application/json')
        .setHeader('access-control-allow-origin', dashboard.home);
      const answer = { access_token: opaque ?? token, token_type: 'bearer', id_token: idToken };
      response.end(JSON.stringify(answer));
    });
    await continueButton(page).click();
    await page.getByRole('alert').getByText(words).waitFor();
  });

  it('shows a remedy when the provider does not answer the page', async () => {
    const { page } = await dashboard.visit();
    await startLogin(page);
    dashboard.provider.answer('/token', (request) => void request.socket.destroy());
    await continueButton(page).click();
    await page.getByRole('alert').getByText('cannot be reached from this page').waitFor();
    await page.getByText('Check your network, then sign in again.').waitFor();
  });

  it('shows a remedy when the server rejects the token', async () => {
    const { page } = await dashboard.visit('', { claims: {} });
    await startLogin(page);
    await continueButton(page).click();
    const alert = page.getByRole('alert');
    await alert.getByText('The claim org of the token is missing or invalid.').waitFor();
    await alert.getByText('compare the token').waitFor();
  });

  it('uses cached provider metadata while the provider is down, and signs in with an API key', async () => {
    await dashboard.visit();
    await dashboard.provider.stop();
    onTestFinished(() => dashboard.provider.start());
    vi.setSystemTime(Date.now() + anHourMs);
    const { page } = await dashboard.visit();
    await page.reload();
    await page.getByRole('button', { name: 'Sign in with your identity provider' }).waitFor();
    await page.getByRole('textbox', { name: 'API key' }).fill(dashboard.apiKey);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await waitForList(page);
  });

  it('offers OIDC when the provider becomes reachable', async () => {
    const another = await startProvider();
    const { oidc } = another.settings({ OIDC_CLIENT_ID: dashboardClient });
    await another.stop();
    const server = await startTestServer({
      beside: dashboard.server,
      dashboardFolder: dashboard.folder,
      config: { graphiql: false, oidc },
    });
    onTestFinished(async () => {
      await server.close();
      await another.stop();
    });
    const { page } = await openPage(dashboard.browser);
    await page.goto(server.url);
    await page.getByRole('alert').getByText('The server cannot reach your identity provider.').waitFor();
    await page.getByRole('textbox', { name: 'API key' }).waitFor();
    await another.start();
    await page.getByRole('button', { name: 'Try again' }).click();
    await page.getByRole('button', { name: 'Sign in with your identity provider' }).waitFor();
  });
});
