import type { Page } from 'playwright-core';
import { firstOrganisationId } from '../../src/identity/organisations.ts';
import { openPage, type RecordedPage } from './browser.ts';
import { startDashboard, type TestDashboard } from './dashboard.ts';
import { startProvider, type TestProvider } from './oidc.ts';
import { type Accounts, dashboardClient } from './oidc-accounts.ts';

/** A page that is not signed in, and the tokens that the identity provider has issued to it. */
export interface OidcPage extends RecordedPage {
  /** Every token that the provider has issued to this page. */
  tokens(): Promise<string[]>;
}

/** A dashboard that is not signed in, and an identity provider to sign in with. */
export interface OidcDashboard extends TestDashboard {
  provider: TestProvider;
  /** The dashboard's URL. Its host differs from the provider's, so browsers treat them as different sites. */
  home: string;
  /**
   * @param place the fragment of the URL, with #
   * @param people overrides the provider's account settings; the page opens the URL in `dashboard`
   */
  visit(place?: string, people?: Partial<Accounts>): Promise<OidcPage>;
}

/** @param basePath the server's BASE_PATH */
export async function startOidcDashboard(basePath = ''): Promise<OidcDashboard> {
  const provider = await startProvider();
  const { oidc } = provider.settings({ OIDC_CLIENT_ID: dashboardClient });
  const dashboard = await startDashboard({ config: { graphiql: false, oidc, basePath } });
  const home = dashboard.server.url.replace('127.0.0.1', 'localhost');
  const usual = { dashboard: home, claims: { org: firstOrganisationId }, lastsSeconds: 300, mayRenew: false };
  return {
    ...dashboard,
    provider,
    home,
    visit: async (place = '', people = {}) => {
      const received = { ...usual, ...people };
      provider.receive(received);
      const watched = await openPage(dashboard.browser);
      const answers: Promise<Record<string, unknown>>[] = [];
      watched.page.on('response', (response) => {
        if (response.url().endsWith('/token') && response.ok()) answers.push(response.json());
      });
      await watched.page.goto(`${received.dashboard}/${place}`);
      return {
        ...watched,
        tokens: async () =>
          (await Promise.all(answers)).flatMap(({ access_token, refresh_token, id_token }) =>
            [access_token, refresh_token, id_token].filter((token) => typeof token === 'string'),
          ),
      };
    },
    close: async () => {
      await dashboard.close();
      await provider.stop();
    },
  };
}

/** Starts the login with the identity provider. */
export const startLogin = (page: Page) =>
  page.getByRole('button', { name: 'Sign in with your identity provider' }).click();

/** The button of the identity provider that signs in Ada. */
export const continueButton = (page: Page) => page.getByRole('button', { name: 'Go on as Ada' });

/** Waits for the list of connections. */
export const waitForList = (page: Page) => page.getByText('Live updates are on.').waitFor();

/** Returns the number of entries in the storages of a page. */
export const countStored = (page: Page) => page.evaluate('sessionStorage.length + localStorage.length');
