import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { firstProjectId } from '../src/identity/organisations.ts';
import { displayVariants, expectAccessible } from './testkit/axe.ts';
import { expectNowhere, hasBrowser, openPage } from './testkit/browser.ts';
import {
  continueButton,
  countStored,
  type OidcDashboard,
  startLogin,
  startOidcDashboard,
  waitForList,
} from './testkit/dashboard-oidc.ts';

const anHourMs = 3_600_000;

describe.skipIf(!hasBrowser())('signing in to the dashboard with OIDC', () => {
  let dashboard: OidcDashboard;
  beforeAll(async () => {
    dashboard = await startOidcDashboard();
  });
  afterAll(() => dashboard?.close());
  afterEach(() => void vi.useRealTimers());

  it('leads from a new page to the connections, without a token in the URL or storage', async () => {
    const visited = await dashboard.visit();
    const { page } = visited;
    await startLogin(page);
    await continueButton(page).click();
    await waitForList(page);
    expect(page.url()).toBe(`${dashboard.home}/#/projects/${firstProjectId}/integrations/app-connections`);
    expect(await countStored(page)).toBe(0);
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
      .filter((url) => !url.startsWith(dashboard.home) && !url.startsWith(dashboard.provider.issuer));
    expect(elsewhere).toEqual([]);
  });

  it('works by keyboard alone and returns to the requested page', async () => {
    const place = `#/projects/${firstProjectId}/integrations/app-connections/add/okta`;
    const { page } = await dashboard.visit(place);
    await page.getByRole('button', { name: 'Sign in with your identity provider' }).waitFor();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await continueButton(page).click();
    await page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
    expect(page.url()).toBe(`${dashboard.home}/${place}`);
  });

  it("sends a PKCE challenge, the server's scopes and audience, from the origin that the CSP allows", async () => {
    const { page } = await dashboard.visit();
    const policy = (await page.reload())?.headers()['content-security-policy'];
    expect(policy).toContain(`connect-src 'self' ${dashboard.provider.issuer};`);
    const authorizationRequest = page.waitForRequest((request) =>
      request.url().startsWith(`${dashboard.provider.issuer}/auth?`),
    );
    await startLogin(page);
    const parameters = Object.fromEntries(new URL((await authorizationRequest).url()).searchParams);
    expect(parameters).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      resource: dashboard.provider.settings().oidc.audience,
      scope: 'openid connections:read connections:write connections:verify connections:use audit:read',
    });
    for (const name of ['state', 'nonce', 'code_challenge']) expect(parameters[name]).toMatch(/^[\w-]{43}$/);
  });

  it('asks to sign in again when the session expires, and returns to the same page', async () => {
    const { page } = await dashboard.visit();
    await startLogin(page);
    await continueButton(page).click();
    await waitForList(page);
    await page.getByRole('link', { name: 'Add Connection' }).first().click();
    await page.getByRole('link', { name: /Okta/ }).click();
    await page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
    const place = page.url();
    vi.setSystemTime(Date.now() + anHourMs);
    await page.getByRole('textbox', { name: 'Name' }).fill('too-late');
    await page.getByRole('textbox', { name: 'Instance URL' }).fill('https://example.okta.com');
    await page.getByRole('textbox', { name: 'API token' }).fill('00-too-late');
    await page.getByRole('button', { name: 'Create' }).click();
    await page.getByRole('alert').getByText('Your session has expired').waitFor();
    vi.useRealTimers();
    await startLogin(page);
    // The provider still knows who it is.
    await page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
    expect(page.url()).toBe(place);
  });

  it('renews the session silently before its expiry when the provider issues a refresh token', async () => {
    const visited = await dashboard.visit('', { lastsSeconds: 20, mayRenew: true });
    const { page } = visited;
    await startLogin(page);
    await continueButton(page).click();
    await waitForList(page);
    const before = dashboard.provider.requestCount('/token');
    // Less than half a minute before its end, every request is one shortly before.
    await page.getByRole('searchbox', { name: 'Search' }).fill('nothing-is-called-so');
    await page.getByText('No matching connections').waitFor();
    expect(dashboard.provider.requestCount('/token')).toBeGreaterThan(before);
    expect(visited.console()).toBe('');
    for (const token of await visited.tokens()) await expectNowhere(visited, token);
  });

  it('keeps the session for the tab on request, until signing out here and at the provider', async () => {
    const visited = await dashboard.visit();
    const { page } = visited;
    await page.getByRole('checkbox', { name: 'Keep me signed in until I close this tab' }).check();
    await startLogin(page);
    await continueButton(page).click();
    await waitForList(page);
    await page.reload();
    await waitForList(page);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('button', { name: 'Sign out of the provider' }).click();
    await page.getByRole('textbox', { name: 'API key' }).waitFor();
    expect(page.url()).toBe(`${dashboard.home}/`);
    expect(await countStored(page)).toBe(0);
    for (const token of await visited.tokens()) await expectNowhere(visited, token);
    await startLogin(page);
    await continueButton(page).waitFor();
  });

  it.each(displayVariants)(
    'has no serious axe violations, %s and %i pixels wide',
    async (colorScheme, width) => {
      dashboard.provider.receive({ dashboard: dashboard.home });
      const { page } = await openPage(dashboard.browser, { colorScheme, viewport: { width, height: 900 } });
      await page.goto(dashboard.home);
      await page.getByRole('button', { name: 'Sign in with your identity provider' }).waitFor();
      await expectAccessible(page, 'sign in');
      await page.goto(`${dashboard.home}/?error=server_error&state=none`);
      await page.getByRole('alert').waitFor();
      await expectAccessible(page, 'refused');
    },
  );
});
