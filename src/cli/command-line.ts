import { commandLine } from '../common/command-name.ts';
import { version } from '../common/server-identity.ts';
import { suggest } from '../common/suggest.ts';
import { findCommand, parseArguments, UsageError } from './arguments.ts';
import type { Invocation, Program } from './program.ts';

/** A command of the released package. */
interface Command {
  /** What `help` says about it. */
  summary: string;
  load(): Promise<Program>;
}

const commands: Readonly<Record<string, Command>> = {
  start: {
    summary: 'Start the server (the default). On the embedded database if DATABASE_URL is not set',
    load: () => Promise.reject(new Error('start is no program')),
  },
  admin: {
    summary: 'Organisations, API keys, sign-in links',
    load: async () => (await import('./admin.ts')).run,
  },
  keys: {
    summary: 'Status and rotation of encryption keys',
    load: async () => (await import('./encryption-keys.ts')).run,
  },
  audit: {
    summary: '"audit verify": verify audit trails and rows; "audit export": print audit events',
    load: async () => (await import('./audit.ts')).run,
  },
  migrate: {
    summary: 'Apply the migrations of this version to the database, and exit',
    load: async () => (await import('./migrate.ts')).run,
  },
  export: {
    summary: 'Export organisations to an encrypted file',
    load: async () => (await import('./export.ts')).run,
  },
  import: {
    summary: 'Import organisations from such a file, or connections from CSV or JSON',
    load: async () => (await import('./import.ts')).run,
  },
  doctor: {
    summary: 'Check configuration, database, keys, clock, identity provider and Okta',
    load: async () => (await import('./doctor.ts')).run,
  },
  version: { summary: 'Print the version', load: async () => printVersion },
};

const help = `App Connections ${version}

Usage: app-connections [command] [options]

Commands:
${Object.entries({ ...commands, help: { summary: 'Print this text, or "help <command>"' } })
  .map(([name, { summary }]) => `  ${name.padEnd(9)} ${summary}`)
  .join('\n')}

Every command that prints results has --json. Exit codes: 0 success, 1 failure, 2 wrong arguments.
The configuration is in environment variables: see docs/operations/configuration.md.
`;

/** The commands that can be given as options. */
const optionCommands: ReadonlyMap<string, string> = new Map([
  ['--version', 'version'],
  ['-v', 'version'],
  ['--help', 'help'],
  ['-h', 'help'],
]);

/**
 * Runs a command line, and sets the exit code of the process.
 *
 * @param start starts the server with its arguments
 */
export async function runCommandLine(
  args: readonly string[],
  start: (args: string[]) => Promise<void>,
): Promise<void> {
  process.stdout.on('error', ({ code }: NodeJS.ErrnoException) => {
    // Such as `| head`, which stops reading.
    if (code === 'EPIPE') process.exit(0);
    console.error(`Standard output cannot be written (${code}); what was printed is not complete`);
    process.exit(1);
  });
  const [first = 'start', ...rest] = args;
  const name = optionCommands.get(first) ?? first;
  if (name === 'start' || name === '--open')
    process.exitCode = await runStart(name === 'start' ? rest : args, start);
  else process.exitCode = await runProgram(name, rest);
}

/** What can be in place of a command. */
const globalOptions = ['--version', '--help', '--open'];

/** Starts the server, which then runs until a signal. */
async function runStart(
  args: readonly string[],
  start: (args: string[]) => Promise<void>,
): Promise<number | undefined> {
  try {
    const { name, options } = parseArguments([...args], {
      open: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    });
    if (name !== undefined) throw new UsageError(`Unexpected argument "${name}".`);
    if (!options.help) {
      await start([...args]);
      return process.exitCode === undefined ? undefined : Number(process.exitCode);
    }
    console.log('app-connections [start] [--open]\n    Start the server. With --open, open the browser.');
    return 0;
  } catch (error) {
    return reportError('start', error);
  }
}

async function runProgram(name: string, args: string[]): Promise<number> {
  if (name === 'help' && args.length === 0) {
    process.stdout.write(help);
    return 0;
  }
  const isHelp = name === 'help' || args.includes('--help') || args.includes('-h');
  try {
    if (name.startsWith('-')) throw new UsageError(`Unknown option ${name}.${suggest(name, globalOptions)}`);
    const { load } = findCommand(commands, name === 'help' ? args[0] : name);
    const run = await load();
    const { env: environment } = process;
    const invocation: Invocation = {
      args: isHelp ? ['help'] : args,
      environment,
      terminal: console,
      ownsProcess: true,
    };
    return await run(invocation);
  } catch (error) {
    return reportError(name, error);
  }
}

/** Prints wrong arguments, or why a command could not be loaded; programs report later errors themselves. */
function reportError(name: string, error: unknown): number {
  if (error instanceof UsageError) {
    console.error(`${error.message} "app-connections help" lists the commands.`);
    return 2;
  }
  const { name: kind, code, syscall } = Object(error);
  if (syscall === 'uv_cwd') {
    console.error(`Cannot run "${name}": the current folder does not exist any more; change to another one`);
    return 1;
  }
  console.error(`Cannot run "${name}": ${kind}${code ? ` (${code})` : ''}; install the package again`);
  return 1;
}

const printVersion: Program = async ({ args, terminal }) => {
  const { name, options } = parseArguments(args, { json: { type: 'boolean' } });
  if (name === 'help') terminal.log(`${commandLine('version', '[--json]')}\n    Print the version.`);
  else if (options.json) terminal.log(JSON.stringify({ version, node: process.versions.node }));
  else terminal.log(version);
  return 0;
};
