import { existsSync } from 'node:fs';

/**
 * The path of Debian's Chromium, undefined if it is not installed. The headless shell needs a quarter less processor time than the
 * whole browser.
 */
export const chromiumPath = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'].find((path) =>
  existsSync(path),
);
