/** Tells the runner where this server is, now that it answers; whatever becomes of the runner, this ends with it. */
export function announce(url: string): void {
  if (!process.send) throw new Error('start this through run.ts');
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  process.send(url);
}
