import { spawn } from 'node:child_process';

/** The command that opens a URL in the browser, by operating system. */
const openers: Readonly<Record<string, readonly [string, ...string[]]>> = {
  darwin: ['open'],
  // `start` takes a first quoted argument as the title of a window.
  win32: ['cmd', '/c', 'start', ''],
};

/** Opens a URL in the browser, or prints one line if that fails. Never throws. */
export function openBrowser(url: string): void {
  const [command, ...args] = openers[process.platform] ?? ['xdg-open'];
  const opener = spawn(command, [...args, url], { stdio: 'ignore', detached: true });
  opener.unref();
  const printFailure = (why: string) =>
    console.error(`--open: ${command} ${why}; open the link above yourself.`);
  opener.once('error', ({ code }: NodeJS.ErrnoException) =>
    printFailure(code === 'ENOENT' ? 'is not installed' : `cannot be started (${code})`),
  );
  opener.once('exit', (code) => code && printFailure(`ended with exit code ${code}`));
}
