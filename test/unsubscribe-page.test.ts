import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { expectAccessible } from './testkit/axe.ts';
import { hasBrowser, openPage, sharedBrowser } from './testkit/browser.ts';
import { type MailServer, startMailServer } from './testkit/mail-server.ts';
import { until } from './testkit/process.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createEndpoint } from './testkit/webhook-receiver.ts';

describe.skipIf(!hasBrowser())('the page that the link for unsubscribing opens', () => {
  const stack = new AsyncDisposableStack();
  let server: TestServer;
  let mail: MailServer;
  beforeAll(async () => {
    mail = stack.use(await startMailServer());
    server = await startTestServer({
      webhookIntervalMs: 50,
      config: {
        publicUrl: 'https://connections.example',
        mail: { url: new Secret(mail.url), from: 'app-connections@example.com' },
      },
    });
    stack.defer(() => server.close());
  });
  afterAll(() => stack.disposeAsync());

  /** Returns the address of the page in an e-mail to an address. */
  async function readLink(address: string): Promise<string> {
    const { client } = await server.newOrganisation();
    const { id } = await createEndpoint(client, { url: `mailto:${address}`, format: 'EMAIL' });
    const sendTest = 'mutation ($id: UUID!) { sendTestWebhook(endpointId: $id) { message { id } } }';
    await client.request(sendTest, { id });
    const received = await until('the e-mail', () => mail.received.find(({ to }) => to.includes(address)));
    const [, link = ''] = /<(.*)>/.exec(received.header('List-Unsubscribe') ?? '') ?? [];
    return server.url + new URL(link).pathname;
  }

  const press = (page: Page, name: string) => page.getByRole('button', { name, exact: true }).click();
  const textColor = (page: Page) =>
    page.evaluate<string>('getComputedStyle(document.querySelector("p")).color');

  it.each(
    (['light', 'dark'] as const).flatMap((colorScheme) =>
      [390, 1440].map((width) => [colorScheme, width] as const),
    ),
  )(
    'stops the e-mails to a long address and lets it get them again, without serious axe violations, %s and %i pixels wide',
    async (colorScheme, width) => {
      const address = `${colorScheme}-${width}-${'a'.repeat(50)}@${'b'.repeat(60)}.${'c'.repeat(60)}.example.com`;
      const link = await readLink(address);
      const { page, console, urls } = await openPage(await sharedBrowser(), {
        colorScheme,
        viewport: { width, height: 800 },
      });
      await page.goto(link);
      await page.getByRole('main').getByText(`${address} gets e-mails`).waitFor();
      expect(await page.title()).toBe('E-mails of App Connections');
      // The text is dark on light, or light on dark.
      expect(await textColor(page)).toBe(colorScheme === 'dark' ? 'rgb(255, 255, 255)' : 'rgb(0, 0, 0)');
      await expectAccessible(page, 'before');
      await press(page, 'Stop these e-mails');
      await page.getByText(`${address} gets no e-mails`).waitFor();
      await expectAccessible(page, 'stopped');
      await press(page, 'Get e-mails again');
      await page.getByText(`${address} gets e-mails`).waitFor();

      await page.goto(link.slice(0, -1));
      await page.getByText('The link is not valid.').waitFor();
      await page.getByText('Use the whole link of the newest e-mail.').waitFor();
      await expectAccessible(page, 'a link that was cut off');
      expect(console()).not.toContain('Content Security Policy');
      expect(urls().filter((url) => !url.startsWith(server.url))).toEqual([]);
    },
  );
});
