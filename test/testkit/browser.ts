import { type Browser, chromium, type Page } from 'playwright-core';
import { expect, onTestFinished } from 'vitest';
import { chromiumPath } from './chromium.ts';

/** Why the tests of the dashboard cannot run here; undefined when they can. */
const noBrowser = chromiumPath
  ? undefined
  : 'Skipped: Chromium is not installed; "apt-get install chromium-headless-shell" brings it.';

/** Whether a browser is installed; prints a note when it is not. */
export function hasBrowser(): boolean {
  if (noBrowser) console.warn(noBrowser);
  return noBrowser === undefined;
}

let browser: Promise<Browser> | undefined;

/**
 * Debian's Chromium with an empty profile and without background requests. The files that share a process share it, because
 * to start one takes seconds. It ends with the process.
 */
export function sharedBrowser(): Promise<Browser> {
  browser ??= chromium.launch({
    executablePath: chromiumPath,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--in-process-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
  return browser;
}

/** A page with its recorded console and requests. */
export interface RecordedPage {
  page: Page;
  /** The lines of its console and its uncaught errors. */
  console(): string;
  /** The URLs that it requested. */
  urls(): readonly string[];
}

/** How a page is displayed; by default light, and 1280 by 900 pixels. */
export interface Display {
  colorScheme?: 'light' | 'dark';
  viewport?: { width: number; height: number };
}

/** Pages that finished tests have left empty. */
const emptyPages = new WeakMap<Browser, Page[]>();

/**
 * Opens an empty page for this test. Pages share no storage. A page of an earlier test is emptied and used again, because
 * the process of a new one takes a second to start and to compile the dashboard.
 */
export async function openPage(
  browser: Browser,
  { colorScheme = 'light', viewport = { width: 1280, height: 900 } }: Display = {},
): Promise<RecordedPage> {
  const pages = emptyPages.get(browser) ?? [];
  emptyPages.set(browser, pages);
  const page = pages.pop() ?? (await newPage(browser));
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
  const watched = record(page);
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail') return page.context().close();
    await empty(page, watched.urls());
    pages.push(page);
  });
  return watched;
}

/** Opens a page that no later test uses, for tests that change it for good, such as its clock. */
export async function openUnsharedPage(browser: Browser): Promise<RecordedPage> {
  const page = await newPage(browser);
  onTestFinished(() => page.context().close());
  return record(page);
}

async function newPage(browser: Browser): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(15_000);
  return context.newPage();
}

function record(page: Page): RecordedPage {
  const lines: string[] = [];
  const urls: string[] = [];
  page.on('console', (message) => void lines.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => void lines.push(`uncaught: ${error.stack ?? error.message}`));
  page.on('request', (request) => void urls.push(request.url()));
  return { page, console: () => lines.join('\n'), urls: () => urls };
}

/** Removes what a test has left in a page: its document, handlers, cookies, and the storage of each origin. */
async function empty(page: Page, urls: readonly string[]): Promise<void> {
  page.removeAllListeners();
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  await page.context().setOffline(false);
  await page.context().clearCookies();
  await page.route('**', (route) => route.fulfill({ contentType: 'text/html', body: '' }));
  for (const origin of new Set(urls.map((url) => new URL(url).origin))) {
    if (!origin.startsWith('http')) continue;
    // From the path of the dashboard, going to one of its fragments would load no document.
    await page.goto(`${origin}/empty`);
    await page.evaluate('localStorage.clear(); sessionStorage.clear()');
  }
  await page.unrouteAll();
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
