import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';

const executablePath = '/usr/bin/chromium';

/** Why the tests of the dashboard cannot run here; undefined when they can. */
const noBrowser = existsSync(executablePath)
  ? undefined
  : `Skipped: there is no ${executablePath}; "apt-get install chromium" brings it.`;

/** Whether a browser is installed; prints a note when it is not. */
export function hasBrowser(): boolean {
  if (noBrowser) console.warn(noBrowser);
  return noBrowser === undefined;
}

/** Starts Debian's Chromium with an empty profile and without background requests. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A page with its recorded console and requests. */
export interface RecordedPage {
  page: Page;
  /** The lines of its console and its uncaught errors. */
  console(): string;
  /** The URLs that it requested. */
  urls(): readonly string[];
}

/** Opens a page in a context of its own, which closes with the test. Contexts share no storage. */
export async function openPage(browser: Browser, options: BrowserContextOptions = {}): Promise<RecordedPage> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  onTestFinished(() => context.close());
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const lines: string[] = [];
  const urls: string[] = [];
  page.on('console', (message) => void lines.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => void lines.push(`uncaught: ${error.stack ?? error.message}`));
  page.on('request', (request) => void urls.push(request.url()));
  return { page, console: () => lines.join('\n'), urls: () => urls };
}

/** Expects that the page has stored, shown, logged and sent the secret nowhere. */
export async function expectNowhere({ page, console, urls }: RecordedPage, secret: string): Promise<void> {
  const kept = await page.evaluate(`JSON.stringify([
    document.documentElement.outerHTML,
    [...document.querySelectorAll('input, textarea')].map(({ value }) => value),
    location.href, history.state, document.cookie, document.title,
    { ...localStorage }, { ...sessionStorage },
  ])`);
  expect(String(kept)).not.toContain(secret);
  expect(console()).not.toContain(secret);
  expect(urls().join('\n')).not.toContain(encodeURIComponent(secret));
  expect(await page.context().cookies(page.url())).toEqual([]);
}

/** Returns the persistent places of a page that contain a text. */
export function findInPage(page: Page, text: string): Promise<unknown> {
  return page.evaluate(`(() => {
    const places = {
      document: document.documentElement.outerHTML + [...document.querySelectorAll('input')].map(({ value }) => value),
      address: location.href + JSON.stringify(history.state) + document.cookie,
      localStorage: JSON.stringify({ ...localStorage }),
      sessionStorage: JSON.stringify({ ...sessionStorage }),
    };
    return Object.keys(places).filter((place) => places[place].includes(${JSON.stringify(text)}));
  })()`);
}
