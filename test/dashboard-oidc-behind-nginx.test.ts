import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { firstProjectId } from '../src/identity/organisations.ts';
import { expectNowhere, hasBrowser } from './testkit/browser.ts';
import {
  continueButton,
  countStored,
  type OidcDashboard,
  startLogin,
  startOidcDashboard,
  waitForList,
} from './testkit/dashboard-oidc.ts';
import { hasNginx, type Nginx, startNginx } from './testkit/nginx.ts';

describe.skipIf(!hasBrowser() || !hasNginx())(
  'signing in to the dashboard with OIDC under BASE_PATH=/connections',
  () => {
    let dashboard: OidcDashboard;
    let nginx: Nginx;
    beforeAll(async () => {
      dashboard = await startOidcDashboard('/connections');
      nginx = await startNginx('');
    });
    afterAll(async () => {
      await nginx?.[Symbol.asyncDispose]();
      await dashboard?.close();
    });
    const origin = () => new URL(dashboard.server.url).origin;

    describe.each([
      ['without a proxy', () => undefined],
      ['behind a proxy that keeps the path', () => `location /connections { proxy_pass ${origin()}; }`],
      [
        'behind a proxy that strips the path',
        () => `location /connections/ { proxy_pass ${origin()}/; absolute_redirect off; }`,
      ],
    ])('%s', (_, locations) => {
      let home: string;
      beforeAll(async () => {
        const configuration = locations();
        if (configuration) await nginx.configure(configuration);
        // The host differs from the provider's, so that browsers treat them as different sites.
        home = configuration ? `${nginx.url.replace('127.0.0.1', 'localhost')}/connections` : dashboard.home;
      });

      it('returns to the requested page under the path, without a token in the URL', async () => {
        const fragment = `#/projects/${firstProjectId}/integrations/app-connections/add/okta`;
        const visited = await dashboard.visit(fragment, { dashboard: home });
        const { page } = visited;
        const authorizationRequest = page.waitForRequest((request) => request.url().includes('/auth?'));
        await startLogin(page);
        expect(new URL((await authorizationRequest).url()).searchParams.get('redirect_uri')).toBe(`${home}/`);
        await continueButton(page).click();
        await page.getByRole('heading', { name: 'Okta Connection' }).waitFor();
        expect(page.url()).toBe(`${home}/${fragment}`);
        expect(await countStored(page)).toBe(0);
        const [token, ...others] = await visited.tokens();
        expect(token).toMatch(/^eyJ/);
        for (const each of [token ?? '', ...others]) await expectNowhere(visited, each);
        expect(visited.console()).toBe('');
        const { issuer } = dashboard.provider;
        for (const url of visited.urls())
          expect(url.startsWith(`${home}/`) || url.startsWith(`${issuer}/`), url).toBe(true);
        expect(dashboard.server.logs()).not.toContain('code=');
      });

      it('signs out of the tab and the provider, and returns under the path', async () => {
        const { page } = await dashboard.visit('', { dashboard: home });
        await startLogin(page);
        await continueButton(page).click();
        await waitForList(page);
        await page.getByRole('button', { name: 'Sign out' }).click();
        await page.getByRole('button', { name: 'Sign out of the provider' }).click();
        await page.getByRole('textbox', { name: 'API key' }).waitFor();
        expect(page.url()).toBe(`${home}/`);
        expect(await countStored(page)).toBe(0);
        await startLogin(page);
        await continueButton(page).waitFor();
      });

      it('rejects an unsolicited response and removes it from the URL', async () => {
        const { page } = await dashboard.visit('', { dashboard: home });
        await page.goto(`${home}/?code=an-attackers&state=an-attackers`);
        await page
          .getByRole('alert')
          .getByText('does not belong to a sign-in that was started in this tab')
          .waitFor();
        expect(page.url()).toBe(`${home}/`);
      });
    });
  },
);
