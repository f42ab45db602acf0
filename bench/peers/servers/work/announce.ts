/** Sends the server's URL to the runner once it accepts requests, and exits when the runner exits. */
export function announce(url: string): void {
  if (!process.send) throw new Error('start this through run.ts');
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.send(url);
}
