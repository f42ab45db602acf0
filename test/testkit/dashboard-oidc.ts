import type { Page } from 'playwright-core';
import { firstOrganisationId } from '../../src/identity/organisations.ts';
import { openPage, type RecordedPage } from './browser.ts';
import { startDashboard, type TestDashboard } from './dashboard.ts';
import { startProvider, type TestProvider } from './oidc.ts';
import { type Accounts, dashboardClient } from './oidc-accounts.ts';

/** A page that is not signed in, and what the identity provider has given it. */
export interface OidcPage extends RecordedPage {
  /** Every token that the provider has given this page. */
  tokens(): Promise<string[]>;
}

/** A dashboard that is not signed in, and an identity provider to sign in with. */
export interface OidcDashboard extends TestDashboard {
  provider: TestProvider;
  /** The dashboard's address, on another host than the provider's, so that browsers take them for different sites. */
  home: string;
  /**
   * @param place the part of the address from # on
   * @param people how the provider receives people, where not as usual; `dashboard` also is the address that is opened
   */
  visit(place?: string, people?: Partial<Accounts>): Promise<OidcPage>;
}

/** @param basePath the path under which everything is */
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
export const leave = (page: Page) =>
  page.getByRole('button', { name: 'Sign in with your identity provider' }).click();

/** The button of the identity provider that signs in Ada. */
export const goOn = (page: Page) => page.getByRole('button', { name: 'Go on as Ada' });

/** Waits for the list of connections. */
export const seeTable = (page: Page) => page.getByText('Live updates are on.').waitFor();

/** Returns the number of entries in the storages of a page. */
export const stored = (page: Page) => page.evaluate('sessionStorage.length + localStorage.length');
