import { spawn } from 'node:child_process';

/** What opens an address in the browser, by operating system. */
const openers: Readonly<Record<string, readonly [string, ...string[]]>> = {
  darwin: ['open'],
  // A first argument in quotes would be taken for the title of a window.
  win32: ['cmd', '/c', 'start', ''],
};

/** Opens an address in the browser, or says in one line that this cannot be done. Never fails. */
export function openBrowser(url: string): void {
  const [command, ...args] = openers[process.platform] ?? ['xdg-open'];
  const opener = spawn(command, [...args, url], { stdio: 'ignore', detached: true });
  opener.unref();
  const cannot = (why: string) => console.error(`--open: ${command} ${why}; open the link above yourself.`);
  opener.once('error', ({ code }: NodeJS.ErrnoException) =>
    cannot(code === 'ENOENT' ? 'is not installed' : `cannot be started (${code})`),
  );
  opener.once('exit', (code) => code && cannot(`ended with exit code ${code}`));
}
