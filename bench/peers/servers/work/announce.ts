/** Tells the runner where this server is, now that it answers. */
export function announce(url: string): void {
  if (!process.send) throw new Error('start this through run.ts');
  process.send(url);
}
