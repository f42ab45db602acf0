import { startServer } from '../../src/app/start-server.ts';
import { describeStartupError } from '../../src/bootstrap/describe-error.ts';
import { openStores } from '../../src/bootstrap/stores.ts';
import { run as admin } from '../../src/cli/admin.ts';
import { run as doctor } from '../../src/cli/doctor.ts';
import { run as keys } from '../../src/cli/encryption-keys.ts';
import { run as exportOrganisations } from '../../src/cli/export.ts';
import { run as auditExport } from '../../src/cli/export-audit.ts';
import { run as importOrganisations } from '../../src/cli/import.ts';
import { run as audit } from '../../src/cli/verify-audit.ts';
import { createLog } from '../../src/common/log.ts';
import { readConfig } from '../../src/config/read-config.ts';
import { type ProgramResult, type ServerProcess, stderrOfFailedStart } from './process.ts';

// Runs the programs and the server in the process of the test, because a process of their own takes a second to load the server.
// Tests of what only a process has (signals, exit codes, streams) start one with `process.ts`.

type Environment = Readonly<Record<string, string>>;

const programs = {
  admin,
  keys,
  doctor,
  'audit:verify': audit,
  'audit:export': auditExport,
  export: exportOrganisations,
  import: importOrganisations,
};

/** Runs a program of `src/cli/`, such as `npm run admin`, with only these environment variables. */
export async function runProgram(
  name: keyof typeof programs,
  environment: Environment,
  ...args: string[]
): Promise<ProgramResult> {
  let stdout = '';
  let stderr = '';
  const terminal = {
    log: (line: string) => {
      stdout += `${line}\n`;
    },
    error: (line: string) => {
      stderr += `${line}\n`;
    },
  };
  const code = await programs[name]({ args, environment, terminal, ownsProcess: false });
  return { code, stdout, stderr };
}

/**
 * Starts a server as `main.ts` does, on a free port with only these environment variables. `kill` calls what the handler of the
 * signal calls in a process.
 */
export function startProgram(environment: Environment): ServerProcess {
  let stdout = '';
  let stderr = '';
  const print = (text: string) => {
    stdout += text;
  };
  const start = async () => {
    const config = readConfig({
      HOST: '127.0.0.1',
      PORT: '0',
      SHUTDOWN_DELAY_SECONDS: '0',
      ...environment,
    });
    const server = await startServer(config, createLog(config.logLevel, { write: print }));
    server.announce((text) => print(`${text}\n`));
    return server;
  };
  const ended = Promise.withResolvers<{ code: number; signal: null }>();
  const started = start();
  started.catch((error: unknown) => {
    stderr += `Cannot start: ${describeStartupError(error)}\n`;
    ended.resolve({ code: 1, signal: null });
  });
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= started.then(async (server) => {
      await server.stop();
      ended.resolve({ code: 0, signal: null });
    });
    return stopping;
  };
  return {
    stdout: () => stdout,
    stderr: () => stderr,
    ready: async () => (await started).url,
    ended: () => ended.promise,
    kill: (signal) => {
      if (signal === 'SIGHUP') void started.then((server) => server.reloadKeys());
      else if (signal === 'SIGTERM' || signal === 'SIGINT') stop().catch(ended.reject);
      else throw new Error(`${signal} needs a process`);
    },
    [Symbol.asyncDispose]: () => stop().catch(() => {}),
  };
}

/** Starts a server that fails, and returns the line that it prints. */
export function errorOfStart(environment: Environment): Promise<string> {
  return stderrOfFailedStart(environment, startProgram);
}

/** Reads the configuration and opens and closes the database; throws if a server could not start with it. */
export async function tryStart(environment: Environment): Promise<void> {
  const stores = await openStores(readConfig(environment), createLog('silent'));
  await stores.close();
}
