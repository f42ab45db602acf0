import { generateKeyPairSync } from 'node:crypto';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { firstProjectId } from '../src/identity/organisations.ts';
import { displayVariants, expectAccessible } from './testkit/axe.ts';
import { expectNowhere, findInPage, hasBrowser, openPage, type RecordedPage } from './testkit/browser.ts';
import { startDashboard, type TestDashboard } from './testkit/dashboard.ts';
import { tokenRejected } from './testkit/okta.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { createConnection, verifyMutation } from './testkit/operations.ts';
import { createLink, revokeLink } from './testkit/setup-links.ts';

const oldToken = '00planted-token-of-a-person-who-has-left';
const newToken = '00planted-token-of-another-administrator';

const createManagedMutation = `mutation ($input: CreateOktaConnectionInput!) {
  create: createOktaConnection(input: $input) { appConnection { id } }
}`;

/** A service app whose key this server makes. */
const managedInput = (name: string, instanceUrl: string) => ({
  input: {
    name,
    projectId: firstProjectId,
    method: 'SERVICE_APP',
    credentials: {
      instanceUrl,
      clientId: '0oa1ab2cd3EF4GH5i0d7',
      scopes: ['okta.users.read', 'okta.groups.read'],
    },
  },
});

describe.skipIf(!hasBrowser())('setup links in the dashboard', () => {
  let dashboard: TestDashboard;
  let standIn: OktaStandIn;
  beforeAll(async () => {
    standIn = await startOktaStandIn();
    dashboard = await startDashboard({ config: { trustedInstanceHosts: new Set([standIn.hostPort]) } });
  });
  afterAll(async () => {
    await dashboard?.close();
    await standIn?.[Symbol.asyncDispose]();
  });

  const client = () => dashboard.server.clientFor(dashboard.apiKey);

  /** A connection whose token Okta has rejected. */
  async function createRejected(name: string): Promise<string> {
    dashboard.okta.behave(handleFakeOkta);
    const credentials = { instanceUrl: dashboard.okta.origin, apiToken: oldToken };
    const { id } = await createConnection(
      { client: client() },
      { name, projectId: firstProjectId },
      credentials,
    );
    dashboard.okta.behave(tokenRejected);
    await client().request(verifyMutation, { id });
    return id;
  }

  const openMenu = async (page: Page, name: string) => {
    await page.getByRole('button', { name: `Actions for ${name}` }).click();
    await page.getByRole('menuitem', { name: 'Setup links' }).click();
    return page.getByRole('dialog', { name: `Setup links of ${name}` });
  };

  /** Opens the address of a link as a person without an account. */
  async function follow(url: string, display?: Parameters<typeof openPage>[1]): Promise<RecordedPage> {
    const watched = await openPage(dashboard.browser, display);
    await watched.page.goto(url);
    return watched;
  }

  const tokenField = (page: Page) => page.getByRole('textbox', { name: 'API token' });
  const save = (page: Page) => page.getByRole('button', { name: 'Check and save' }).click();

  it('lead two people from a rejected token to a connection that works', async () => {
    await createRejected('left-behind');
    const engineer = await dashboard.open();
    const dialog = await openMenu(engineer.page, 'left-behind');
    await dialog.getByText('There are no setup links yet.').waitFor();
    await dialog.getByRole('combobox', { name: 'The link works for' }).selectOption('1 day');
    await dialog.getByRole('button', { name: 'Create link' }).click();
    const region = dialog.getByRole('region', { name: 'the link' });
    const url = (await region.textContent()) ?? '';
    expect(url).toMatch(new RegExp(`^${dashboard.server.url}/setup#acs_\\w{49}$`));
    await dialog.getByText(/created just now, not opened, until/).waitFor();
    await expectAccessible(engineer.page, 'dialog with a link');
    await engineer.page.keyboard.press('Escape');

    const administrator = await follow(url);
    const { page } = administrator;
    await page.getByRole('heading', { level: 1, name: /^Connect Okta for / }).waitFor();
    await page.getByText('left-behind').first().waitFor();
    expect(await page.getByRole('listitem').first().textContent()).toContain('Okta Admin Console');
    await page.getByText(dashboard.okta.origin).waitFor();
    await page.getByText('The connection does not work').waitFor();
    expect(page.url()).toBe(`${dashboard.server.url}/setup`);
    await expectAccessible(page, 'setup page');

    await save(page);
    await page.getByText('The API token is empty.').waitFor();
    await tokenField(page).and(page.locator(':focus')).fill(newToken);
    await save(page);
    const alert = page.getByRole('alert');
    await alert.getByText('Credentials rejected').waitFor();
    expect(await page.getByText('The connection does not work').count()).toBe(0);
    await expectAccessible(page, 'setup page with a rejected token');
    await page.reload();
    dashboard.okta.behave(handleFakeOkta);
    await tokenField(page).fill(newToken);
    await save(page);
    await page.getByRole('heading', { level: 1, name: 'Okta is connected' }).waitFor();
    await expectAccessible(page, 'finished setup');
    await expectNowhere(administrator, newToken);
    expect(await findInPage(page, new URL(url).hash.slice(1))).toEqual([]);
    expect(administrator.urls().filter((each) => !each.startsWith(dashboard.server.url))).toEqual([]);
    expect(administrator.console()).not.toMatch(/uncaught|Content Security Policy/);
    await page.goto(url);
    await page.reload();
    await page.getByRole('heading', { level: 1, name: 'This link does not work' }).waitFor();
    await page.getByText('This setup link was used already.').waitFor();
    await expectAccessible(page, 'used link');

    await engineer.page.getByRole('row', { name: /left-behind.*Verified/ }).waitFor();
    await openMenu(engineer.page, 'left-behind');
    await dialog.getByText('Finished').waitFor();
    expect(await dialog.getByRole('button', { name: /^Revoke/ }).count()).toBe(0);
  });

  it('are revoked in the dashboard, and their pages say so', async () => {
    const id = await createRejected('revoked-link');
    const { url } = await createLink(client(), id);
    const { page } = await follow(url);
    await tokenField(page).fill(newToken);
    const engineer = await dashboard.open();
    const dialog = await openMenu(engineer.page, 'revoked-link');
    await dialog.getByText(/opened just now/).waitFor();
    await dialog.getByRole('button', { name: /^Revoke/ }).click();
    await dialog.getByText('Revoked', { exact: true }).waitFor();
    await save(page);
    await page.getByText('This setup link was revoked.').waitFor();
    await page.goto(`${dashboard.server.url}/setup`);
    await page.getByText('The address is incomplete').waitFor();
  });

  it('lead to a service app whose key this server made and whose client id only the administrator knows, without a secret', async () => {
    const { input } = managedInput('service-app', 'https://example.okta.com');
    const { clientId, ...withoutClientId } = input.credentials;
    const { create } = await client().request<{ create: { appConnection: { id: string } } }>(
      createManagedMutation,
      { input: { ...input, credentials: withoutClientId } },
    );
    const { id } = create.appConnection;
    const keysUrl = `${dashboard.server.url}/.well-known/app-connections/${id}/jwks.json`;
    const engineer = await dashboard.open();
    await engineer.page.getByRole('link', { name: 'service-app', exact: true }).click();
    await engineer.page.getByRole('region', { name: 'URL of the public keys' }).getByText(keysUrl).waitFor();
    await engineer.page.getByText('Pending', { exact: true }).first().waitFor();
    await expectAccessible(engineer.page, 'page of a service app');
    const { page } = await follow((await createLink(client(), id)).url);
    await page.getByText('Not set up yet').waitFor();
    await page.getByRole('region', { name: 'URL of the public keys' }).getByText(keysUrl).waitFor();
    await page.getByText('okta.groups.read').waitFor();
    await page.getByText('Copy the key itself').click();
    await page
      .getByRole('region', { name: /^Public key / })
      .getByText('"kid"')
      .waitFor();
    expect(await page.locator('input[type=password]').count()).toBe(0);
    await expectAccessible(page, 'setup page of a service app');
    const check = page.getByRole('button', { name: 'Check now' });
    await check.click();
    await page.getByText(/^The client id is empty/).waitFor();
    const field = page.getByRole('textbox', { name: 'Client ID' });
    await field.and(page.locator(':focus')).fill('0oaunknown1234567890');
    await check.click();
    await page.getByText(/knows no app with this client id/).waitFor();
    await expectAccessible(page, 'setup page with an unknown client id');
    await page.reload();
    expect(await field.inputValue()).toBe('0oaunknown1234567890');
    await field.fill(clientId);
    await check.click();
    await page.getByRole('heading', { level: 1, name: 'Okta is connected' }).waitFor();
    await engineer.page.getByText('Verified', { exact: true }).first().waitFor();
    await changeCredentials(engineer.page);
  });

  /** Changes the client id and the scopes of the connection `service-app`, whose key stays. */
  async function changeCredentials(page: Page) {
    await page.getByRole('button', { name: 'Actions for service-app' }).click();
    await page.getByRole('menuitem', { name: 'Change credentials' }).click();
    const dialog = page.getByRole('dialog', { name: 'Change the credentials of service-app' });
    const clientId = dialog.getByRole('textbox', { name: 'Client ID' });
    const scopes = dialog.getByRole('textbox', { name: 'Scopes' });
    expect([await clientId.inputValue(), await scopes.inputValue()]).toEqual([
      '0oa1ab2cd3EF4GH5i0d7',
      'okta.groups.read okta.users.read',
    ]);
    expect(await dialog.locator('input[type=password]').count()).toBe(0);
    await scopes.fill('users:read');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByText(/is not the name of a scope of Okta/).waitFor();
    await expectAccessible(page, 'dialog with a wrong scope');
    await scopes.and(page.locator(':focus')).fill('okta.users.read, okta.logs.read');
    await clientId.fill('0oaunknown1234567890');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await dialog.getByRole('alert').getByText('knows no app with this client id').waitFor();
    await expectAccessible(page, 'dialog with an unknown client id');
    await clientId.fill('0oa9zy8xw7VU6TS5r4q3');
    await dialog.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Changed the credentials of service-app.').waitFor();
    await page.getByText('0oa9zy8xw7VU6TS5r4q3').waitFor();
    await page.getByText('okta.logs.read, okta.users.read').first().waitFor();
    await page.getByText('This server made the key').waitFor();
  }

  it('lead to a service app whose key is rotated on its page, which shows the new key until Okta accepts it', async () => {
    const input = managedInput('rotated', standIn.origin);
    const { create } = await client().request<{ create: { appConnection: { id: string } } }>(
      createManagedMutation,
      input,
    );
    const { id } = create.appConnection;
    const app = {
      ...input.input.credentials,
      jwksUrl: `${dashboard.server.url}/.well-known/app-connections/${id}/jwks.json`,
    };
    await standIn.setServiceApp(app);
    await client().request(verifyMutation, { id });
    const { page } = await dashboard.open();
    await page.getByRole('link', { name: 'rotated', exact: true }).click();
    const rotate = page.getByRole('button', { name: 'Rotate key' });
    await rotate.click();
    await page.getByText('Okta has accepted the new key').waitFor();
    await page.getByText('Retired', { exact: true }).waitFor();
    // Okta uses the keys that it fetches with this verification.
    await standIn.setServiceApp({ ...app, jwksCacheSeconds: 3_600 });
    await client().request(verifyMutation, { id });
    await rotate.click();
    const region = page.getByRole('region', { name: 'new public key' });
    const newKey = JSON.parse((await region.textContent()) ?? '') as object;
    expect(newKey).toEqual({ ...newKey, kid: expect.any(String), kty: 'EC', use: 'sig' });
    expect(Object.keys(newKey)).not.toContain('d');
    await page.getByRole('button', { name: 'Copy new public key' }).waitFor();
    await page.getByText('there is nothing to do').waitFor();
    expect(await rotate.count()).toBe(0);
    await expectAccessible(page, 'new key that Okta does not know');
    await standIn.setServiceApp(app);
    await page.getByRole('button', { name: 'Check now' }).click();
    await region.waitFor({ state: 'detached' });
    await rotate.waitFor();
    await expectAccessible(page, 'rotated key');
  });

  it('complete the conversion of a connection that was started on its page', async () => {
    await createConnection(
      { client: client() },
      { name: 'converted', projectId: firstProjectId },
      { apiToken: 'a-good-token' },
    );
    const { page } = await dashboard.open();
    await page.getByRole('link', { name: 'converted', exact: true }).click();
    const start = page.getByRole('button', { name: 'Convert to “Service app”' });
    const clientId = page.getByRole('textbox', { name: 'Client ID' });
    const convert = async () => {
      await start.click();
      await clientId.fill('0oa1ab2cd3EF4GH5i0d7');
      await page.getByRole('textbox', { name: 'Scopes' }).fill('okta.users.read');
      await page.getByRole('button', { name: 'Convert', exact: true }).click();
      await page.getByRole('heading', { name: 'Pending conversion' }).waitFor();
    };
    await start.click();
    await expectAccessible(page, 'dialog of a conversion');
    await page.getByRole('button', { name: 'Convert', exact: true }).click();
    await page.getByText(/^Give at least one scope/).waitFor();
    await page.getByRole('button', { name: 'Cancel', exact: true }).click();
    await convert();
    await expectAccessible(page, 'pending conversion');
    await page.getByRole('button', { name: 'Cancel conversion' }).click();
    await convert();
    await page.getByRole('button', { name: 'Check now' }).click();
    await page.getByRole('heading', { name: 'Pending conversion' }).waitFor({ state: 'detached' });
    await page.getByRole('heading', { name: 'Public keys' }).waitFor();
  });

  it('complete the change from a key of the caller to one of this server', async () => {
    const { privateKey } = generateKeyPairSync('ec', {
      namedCurve: 'P-256',
      privateKeyEncoding: { format: 'pem', type: 'pkcs8' },
      publicKeyEncoding: { format: 'pem', type: 'spki' },
    });
    const { input } = managedInput('own-key', 'https://example.okta.com');
    const credentials = { ...input.credentials, privateKey };
    const { create } = await client().request<{ create: { appConnection: { id: string } } }>(
      createManagedMutation,
      { input: { ...input, credentials } },
    );
    const { page } = await dashboard.open();
    await page.getByRole('link', { name: 'own-key', exact: true }).click();
    const start = page.getByRole('button', { name: 'Let this server make the key' });
    await start.click();
    const clientId = page.getByRole('textbox', { name: 'Client ID' });
    expect(await clientId.inputValue()).toBe(credentials.clientId);
    expect(await page.getByRole('textbox', { name: 'Scopes' }).inputValue()).toBe(
      'okta.groups.read okta.users.read',
    );
    expect(await page.locator('input[type=password]').count()).toBe(0);
    await expectAccessible(page, 'dialog for a key of this server');
    await page.getByRole('button', { name: 'Convert', exact: true }).click();
    await page.getByRole('heading', { name: 'Pending conversion' }).waitFor();
    const administrator = await follow((await createLink(client(), create.appConnection.id)).url);
    await administrator.page.getByRole('button', { name: 'Check now' }).click();
    await administrator.page.getByRole('heading', { level: 1, name: 'Okta is connected' }).waitFor();
    await page.getByText('This server made the key').waitFor();
    expect(await start.count()).toBe(0);
  });

  it.each(displayVariants)(
    'have a page without axe violations, %s and %i pixels wide',
    async (colorScheme, width) => {
      const id = await createRejected(`shown-${colorScheme}-${width}`);
      const link = await createLink(client(), id);
      const { page } = await follow(link.url, { colorScheme, viewport: { width, height: 800 } });
      await page.getByText('The connection does not work').waitFor();
      await expectAccessible(page, 'setup page');
      await revokeLink(client(), link.id);
      await page.reload();
      await page.getByText('This setup link was revoked.').waitFor();
      await expectAccessible(page, 'dead link');
    },
  );

  it('have a page that is not indexed, framed or stored, and loads only own files', async () => {
    const { status, headers } = await fetch(`${dashboard.server.url}/setup`);
    expect(status).toBe(200);
    expect(headers.get('x-robots-tag')).toBe('noindex, nofollow');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
    expect(headers.get('x-frame-options')).toBe('DENY');
    expect(headers.get('cache-control')).toBe('no-store');
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy).toContain("connect-src 'self';");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:/);
  });
});
