import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import { firstOrganisationId, firstProjectId } from '../src/access/organisations.ts';
import { bringAxe, expectFit, looks } from './testkit/axe.ts';
import { expectNowhere, hasBrowser, openPage, type Watched } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import { startProvider, type TestProvider } from './testkit/oidc.ts';
import { dashboardClient } from './testkit/oidc-people.ts';
import { startTestServer } from './testkit/server.ts';

const anHourMs = 3_600_000;

describe.skipIf(!hasBrowser())('signing in at the dashboard with an identity provider', () => {
  let provider: TestProvider;
  let dashboard: TestDashboard;
  /** Another host than the provider's, so that browsers take them for different sites. */
  let home: string;
  beforeAll(async () => {
    provider = await startProvider();
    const { oidc } = provider.settings({ OIDC_CLIENT_ID: dashboardClient });
    dashboard = await startDashboard({ config: { graphiql: false, oidc } });
    home = dashboard.server.url.replace('127.0.0.1', 'localhost');
  });
  afterAll(async () => {
    await dashboard?.close();
    await provider?.stop();
  });
  afterEach(() => {
    vi.useRealTimers();
    provider.answer('/token');
  });

  interface Visit extends Watched {
    /** Every token that the provider has given this page. */
    tokens(): Promise<string[]>;
  }

  async function visit(place = '', given: Parameters<TestProvider['receive']>[0] = {}): Promise<Visit> {
    const usual = {
      dashboard: home,
      claims: { org: firstOrganisationId },
      lastsSeconds: 300,
      mayRenew: false,
    };
    provider.receive({ ...usual, ...given });
    const watched = await openPage(dashboard.browser);
    const answers: Promise<Record<string, unknown>>[] = [];
    watched.page.on('response', (response) => {
      if (response.url().endsWith('/token') && response.ok()) answers.push(response.json());
    });
    await watched.page.goto(`${home}/${place}`);
    return {
      ...watched,
      tokens: async () =>
        (await Promise.all(answers)).flatMap(({ access_token, refresh_token, id_token }) =>
          [access_token, refresh_token, id_token].filter((token) => typeof token === 'string'),
        ),
    };
  }

  const leave = (page: Page) =>
    page.getByRole('button', { name: 'Sign in with your identity provider' }).click();
  const goOn = (page: Page) => page.getByRole('button', { name: 'Go on as Ada' }).click();
  const table = (page: Page) => page.getByText('Changes appear by themselves.').waitFor();
  const stored = (page: Page) => page.evaluate('sessionStorage.length + localStorage.length');

  test('leads from a cold page to the connections, and leaves no token anywhere', async () => {
    const visited = await visit();
    const { page } = visited;
    await leave(page);
    await goOn(page);
    await table(page);
    expect(page.url()).toBe(`${home}/#/projects/${firstProjectId}/integrations/app-connections`);
    expect(await stored(page)).toBe(0);
    const [token, ...others] = await visited.tokens();
    expect(token).toMatch(/^eyJ/);
    for (const each of [token ?? '', ...others]) await expectNowhere(visited, each);
    expect(visited.console()).toBe('');
    // The code was used up, so going back must not lead to it.
    await page.goBack();
    expect(page.url()).not.toContain('code=');
    expect(dashboard.server.logs()).not.toContain('code=');
    const elsewhere = visited
      .urls()
      .filter((url) => !url.startsWith(home) && !url.startsWith(provider.issuer));
    expect(elsewhere).toEqual([]);
  });

  test('comes back to where one wanted to go', async () => {
    const place = `#/projects/${firstProjectId}/integrations/app-connections/add/okta`;
    const { page } = await visit(place);
    await leave(page);
    await goOn(page);
    await page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
    expect(page.url()).toBe(`${home}/${place}`);
  });

  test('asks for what the server accepts, with a challenge, and from the one origin that the policy names', async () => {
    const { page } = await visit();
    const policy = (await page.reload())?.headers()['content-security-policy'];
    expect(policy).toContain(`connect-src 'self' ${provider.issuer};`);
    const asked = page.waitForRequest((request) => request.url().startsWith(`${provider.issuer}/auth?`));
    await leave(page);
    const parameters = Object.fromEntries(new URL((await asked).url()).searchParams);
    expect(parameters).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      resource: provider.settings().oidc.audience,
      scope: 'openid connections:read connections:write connections:verify audit:read',
    });
    for (const name of ['state', 'nonce', 'code_challenge']) expect(parameters[name]).toMatch(/^[\w-]{43}$/);
  });

  test.each([
    ['another tab', false],
    ['another sign-in', true],
  ])('an answer to %s is refused, and its code is not used', async (_, isUnderWay) => {
    const { page } = await visit();
    if (isUnderWay) {
      await leave(page);
      await page.getByRole('button', { name: 'Go on as Ada' }).waitFor();
    }
    const before = provider.asked('/token');
    await page.goto(
      `${home}/?code=an-attackers&state=an-attackers&iss=${encodeURIComponent(provider.issuer)}`,
    );
    await page.getByRole('alert').getByText('answers no sign-in that was begun in this tab').waitFor();
    expect(page.url()).toBe(`${home}/`);
    expect(provider.asked('/token')).toBe(before);
    expect(await stored(page)).toBe(0);
  });

  test('a refusal at the provider is told, and does not keep one from trying again', async () => {
    const { page } = await visit();
    await leave(page);
    await page.getByRole('button', { name: 'Refuse' }).click();
    const alert = page.getByRole('alert');
    await alert.getByText('has not let you in: Ada has refused (access_denied).').waitFor();
    await alert.getByText('Sign in again and allow it').waitFor();
    expect(page.url()).toBe(`${home}/`);
    await leave(page);
    await goOn(page);
    await table(page);
  });

  test('a token with another nonce is not trusted', async () => {
    const { page } = await visit();
    await leave(page);
    await page.getByRole('button', { name: 'Go on as Ada' }).waitFor();
    const [token, idToken] = await Promise.all([
      provider.forge({ org: firstOrganisationId }),
      provider.forge({ aud: dashboardClient, nonce: 'of-another-sign-in' }, { header: { typ: 'JWT' } }),
    ]);
    provider.answer('/token', (_, response) => {
      response.setHeader('content-type', 'application/json').setHeader('access-control-allow-origin', home);
      response.end(JSON.stringify({ access_token: token, token_type: 'bearer', id_token: idToken }));
    });
    await goOn(page);
    await page.getByRole('alert').getByText('cannot be trusted').waitFor();
  });

  test('a provider that does not answer the page is told with a remedy', async () => {
    const { page } = await visit();
    await leave(page);
    provider.answer('/token', (request) => void request.socket.destroy());
    await goOn(page);
    await page.getByRole('alert').getByText('does not answer this page').waitFor();
    await page.getByText('Check your network, then sign in again.').waitFor();
  });

  test('a token that the server refuses is told with a remedy', async () => {
    const { page } = await visit('', { claims: {} });
    await leave(page);
    await goOn(page);
    const alert = page.getByRole('alert');
    await alert.getByText("The token's claim org is missing or cannot be read.").waitFor();
    await alert.getByText('tell your administrator').waitFor();
  });

  test('who has expired is asked to sign in again, and is back in the same place', async () => {
    const { page } = await visit();
    await leave(page);
    await goOn(page);
    await table(page);
    await page.getByRole('link', { name: 'Add Connection' }).first().click();
    await page.getByRole('link', { name: /Okta/ }).click();
    await page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
    const place = page.url();
    vi.setSystemTime(Date.now() + anHourMs);
    await page.getByRole('textbox', { name: 'Name' }).fill('too-late');
    await page.getByRole('textbox', { name: 'Instance URL' }).fill('https://example.okta.com');
    await page.getByRole('textbox', { name: 'API token' }).fill('00-too-late');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByRole('alert').getByText('Your sign-in has expired').waitFor();
    vi.useRealTimers();
    await leave(page);
    // The provider still knows who it is.
    await page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
    expect(page.url()).toBe(place);
  });

  test('is renewed before its end where the provider grants that, and nobody notices', async () => {
    const visited = await visit('', { lastsSeconds: 20, mayRenew: true });
    const { page } = visited;
    await leave(page);
    await goOn(page);
    await table(page);
    const before = provider.asked('/token');
    // Less than half a minute before its end, every request is one shortly before.
    await page.getByRole('searchbox', { name: 'Search' }).fill('nothing-is-called-so');
    await page.getByText('No connection is like this').waitFor();
    expect(provider.asked('/token')).toBeGreaterThan(before);
    expect(visited.console()).toBe('');
    for (const token of await visited.tokens()) await expectNowhere(visited, token);
  });

  test('lasts as long as the tab if asked, until one signs out, here and at the provider', async () => {
    const visited = await visit();
    const { page } = visited;
    await page.getByRole('checkbox', { name: 'Keep me signed in until I close this tab' }).check();
    await leave(page);
    await goOn(page);
    await table(page);
    await page.reload();
    await table(page);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign out of the provider' }).click();
    await page.getByRole('textbox', { name: 'API key' }).waitFor();
    expect(page.url()).toBe(`${home}/`);
    expect(await stored(page)).toBe(0);
    for (const token of await visited.tokens()) await expectNowhere(visited, token);
    await leave(page);
    await page.getByRole('button', { name: 'Go on as Ada' }).waitFor();
  });

  test('goes on with what was known while the provider is down, and an API key needs no provider', async () => {
    await visit();
    await provider.stop();
    onTestFinished(() => provider.start());
    vi.setSystemTime(Date.now() + anHourMs);
    const { page } = await visit();
    await page.getByRole('button', { name: 'Sign in with your identity provider' }).waitFor();
    await page.getByRole('textbox', { name: 'API key' }).fill(dashboard.apiKey);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await table(page);
  });

  test('is offered as soon as a provider can be reached that could not', async () => {
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

  test.each(looks)('axe finds nothing serious, %s and %i pixels wide', async (colorScheme, width) => {
    provider.receive({ dashboard: home });
    const { page } = await openPage(dashboard.browser, { colorScheme, viewport: { width, height: 900 } });
    await bringAxe(page);
    await page.goto(home);
    await page.getByRole('button', { name: 'Sign in with your identity provider' }).waitFor();
    await expectFit(page, 'sign in');
    await page.goto(`${home}/?error=server_error&state=none`);
    await page.getByRole('alert').waitFor();
    await expectFit(page, 'refused');
  });
});
