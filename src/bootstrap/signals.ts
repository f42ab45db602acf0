import { isatty } from 'node:tty';
import type { Logger } from '../common/log.ts';

const stdoutDescriptor = 1;
/** A terminal signals all its processes, and npm forwards the signal to its script, so one Ctrl-C arrives twice. */
const sameSignalMs = 1_000;
const lookForParentMs = 1_000;

/**
 * Calls `stop` on the first SIGTERM or SIGINT. A later one ends the process immediately.
 */
export function onStopSignal(stop: () => void): void {
  let stoppedAt: number | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stoppedAt === undefined) {
        stoppedAt = performance.now();
        stop();
      } else if (performance.now() - stoppedAt > sameSignalMs) {
        process.exit(1);
      }
    });
  }
}

/**
 * Changes the level of the log on each SIGUSR2: to `debug`, or to `info` if it is at least as detailed, and back.
 */
export function onDebugSignal(log: Logger): void {
  const configured = log.level;
  const other = log.isLevelEnabled('debug') ? 'info' : 'debug';
  process.on('SIGUSR2', () => {
    const next = log.level === configured ? other : configured;
    // At the more detailed of the two levels, so that the line is in the log.
    if (next === 'debug') log.level = next;
    log.info({ level: next }, 'changed the log level');
    log.level = next;
  });
}

/**
 * Calls `reload` on each SIGHUP, unless the terminal was closed, which stops the process. A SIGHUP to `npm start` ends npm,
 * which does not forward it; a missing npm process therefore means the same.
 *
 * @param startedBy the name of the npm script that runs this process
 */
export function onReloadSignal(reload: () => void, startedBy: string | undefined): void {
  const hadTerminal = isatty(stdoutDescriptor);
  const hungUp = () => {
    if (hadTerminal && !isatty(stdoutDescriptor)) process.kill(process.pid, 'SIGTERM');
    else reload();
  };
  process.on('SIGHUP', hungUp);
  if (startedBy !== 'start') return;
  const parent = process.ppid;
  const looking = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(looking);
    hungUp();
  }, lookForParentMs).unref();
}
