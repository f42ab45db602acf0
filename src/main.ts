import { describeStartupError } from './bootstrap/describe-error.ts';
import { openBrowser } from './bootstrap/open-browser.ts';
import { onDebugSignal, onReloadSignal, onStopSignal } from './bootstrap/signals.ts';
import { isRelease } from './common/command-name.ts';
import { StartupError } from './common/errors.ts';
import { createLog, safeErrorFields } from './common/log.ts';
import type { Config } from './config/config.ts';
import { readConfig } from './config/read-config.ts';
import { limitMemory, precompileEmbedded } from './database/embedded-files.ts';

async function start(): Promise<void> {
  const config = readConfig();
  const isToOpen = readArguments(config);
  if (!config.databaseUrl) {
    limitMemory();
    precompileEmbedded();
  }
  // Imported after the settings were read: it takes longer than everything that a wrong setting needs.
  const { startServer } = await import('./app/start-server.ts');
  const log = createLog(config.logLevel);
  const server = await startServer(config, log);
  // Before the server reports that it is ready: from then on, a signal must stop it gracefully.
  onStopSignal(() => {
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error({ error: safeErrorFields(error) }, 'could not shut down cleanly');
        process.exit(1);
      },
    );
  });
  onReloadSignal(() => void server.reloadKeys(), config.npmScript);
  onDebugSignal(log);
  process.off('uncaughtException', endUnstarted);
  server.announce(console.log);
  if (isToOpen) openBrowser(server.signInLink ?? server.url);
}

/**
 * Whether the arguments contain `--open`.
 *
 * @throws StartupError for any other argument
 */
function readArguments({ production }: Config): boolean {
  const given = process.argv.slice(2);
  if (given.some((argument) => argument !== '--open'))
    throw new StartupError(`${isRelease ? 'app-connections start' : 'npm start'} accepts only --open`);
  if (production && given.length > 0)
    throw new StartupError('--open is not allowed when NODE_ENV=production');
  return given.length > 0;
}

/** Writes synchronously to the descriptor, because the process ends before a stream is flushed. */
function endUnstarted(error: unknown): never {
  console.error(`Cannot start: ${describeStartupError(error)}`);
  process.exit(1);
}

// Handles unhandled rejections too.
process.on('uncaughtException', endUnstarted);
await start().catch(endUnstarted);
