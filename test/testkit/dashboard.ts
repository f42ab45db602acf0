import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Browser } from 'playwright-core';
import { addOrganisation } from '../../src/administration/organisations.ts';
import { generateApiKey } from '../../src/auth/api-keys.ts';
import type { Secret } from '../../src/common/secret.ts';
import { firstOrganisation } from '../../src/identity/organisations.ts';
import { type Display, openPage, type RecordedPage, sharedBrowser } from './browser.ts';
import { startOkta, type TestOkta } from './okta.ts';
import { until } from './process.ts';
import { startTestServer, type TestServer, type TestServerOptions } from './server.ts';
import { dashboardFolder } from './template-environment.ts';

const build = fileURLToPath(new URL('../../src/dashboard/build.js', import.meta.url));

/** Builds the dashboard in the first worker of a run that needs it, and returns its directory. */
export async function buildDashboard(): Promise<string> {
  const folder = process.env[dashboardFolder];
  if (!folder) throw new Error(`${dashboardFolder} is not set`);
  const lock = `${folder}.lock`;
  while (!existsSync(folder)) {
    if (takeLock(lock)) {
      try {
        const aside = `${folder}.new`;
        await promisify(execFile)(process.execPath, [build, aside]);
        renameSync(aside, folder);
      } finally {
        rmdirSync(lock);
      }
    } else {
      await until('another worker has built the dashboard', () => !existsSync(lock) || undefined, 120_000);
    }
  }
  return folder;
}

function takeLock(folder: string): boolean {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** A server with the dashboard, a programmable fake Okta, and a browser. */
export interface TestDashboard {
  server: TestServer;
  okta: TestOkta;
  browser: Browser;
  /** The directory of the built dashboard. */
  folder: string;
  /** The API key with which pages sign in. */
  apiKey: string;
  /** Opens the list of connections of the first project. */
  open(display?: Display): Promise<RecordedPage>;
  close(): Promise<void>;
}

export async function startDashboard(options: TestServerOptions = {}): Promise<TestDashboard> {
  const folder = await buildDashboard();
  const okta = await startOkta();
  const key: Secret = generateApiKey();
  const server = await startTestServer({
    ...options,
    dashboardFolder: folder,
    signInKey: key,
    config: {
      ...options.config,
      trustedInstanceHosts: new Set([okta.hostPort, ...(options.config?.trustedInstanceHosts ?? [])]),
    },
  });
  const em = server.asOwner();
  await addOrganisation(em, server.vault, firstOrganisation(key));
  await em.flush();
  const browser = await sharedBrowser();
  return {
    server,
    okta,
    browser,
    folder,
    apiKey: key.reveal(),
    open: async (display) => {
      const watched = await openPage(browser, display);
      await watched.page.goto(server.signInLink() ?? '');
      await watched.page.getByText('Live updates are on.').waitFor();
      return watched;
    },
    close: async () => {
      await server.close();
      await okta.close();
    },
  };
}
