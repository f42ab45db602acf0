/**
 * Manages organisations and API keys from the shell: `npm run admin -- help`. It uses the database of the server; if that
 * is the embedded one, the server must be stopped.
 */
import { displayName } from '../administration/input-schemas.ts';
import { listOrganisations } from '../administration/list-organisations.ts';
import { assertNameNotDeleted, createOrganisation, grantApiKey } from '../administration/organisations.ts';
import { AuditEvent } from '../audit/audit-event.entity.ts';
import { generateApiKey } from '../auth/api-keys.ts';
import { DataDir } from '../bootstrap/data-dir.ts';
import { describeStartupError } from '../bootstrap/describe-error.ts';
import { createSignInLink } from '../bootstrap/sign-in-link.ts';
import type { Stores } from '../bootstrap/stores.ts';
import { commandLine } from '../common/command-name.ts';
import { StartupError } from '../common/errors.ts';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { type Scope, scopes } from '../identity/caller.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { findCommand, parseArguments, UsageError } from './arguments.ts';
import { formatOrganisations } from './format-organisations.ts';
import { usage as organisationUsage, run as runOrganisation } from './organisation.ts';
import type { Invocation, Program } from './program.ts';
import { withStores } from './with-stores.ts';

const line = (args: string) => commandLine('admin', args);
const usage = `${line('organisations')}
    List the organisations, the oldest first: the numbers of connections, projects, active API keys and audit
    events, the time of the last event or use of a key, and whether it is disabled or will be deleted.
${line('create-organisation --name "Acme" [--project "First project"] [--reuse-name]')}
    Create an organisation with a project and an administrator's API key. The key is shown once. With --reuse-name,
    the name may be that of an organisation that was deleted.
${organisationUsage}
${line('create-key --org ID [--name "Administrator"] [--scopes connections:read,audit:read]')}
    Create an API key with these scopes, by default all. Use it when the administrator's key is lost.
${line('sign-in-link')}
    Print a link that signs a browser in, once, to the development server with these settings.
${line('strangers')}
    List the last refused sign-ins that belong to no organisation, newest first. Repetitions within a minute are counted
    on one line.
With --json, the result is JSON.`;

/** The options of all commands. */
type CliArguments = Partial<Record<'name' | 'project' | 'org' | 'scopes', string>> & {
  'reuse-name'?: boolean;
};

/** The result of a command. */
interface Result {
  lines: string[];
  json: object;
}

type Task = (stores: Stores) => Promise<Result>;

interface Command {
  options: readonly (keyof CliArguments)[];
  /** Parses the arguments, so that invalid ones are reported before the database is opened. */
  prepare?(args: CliArguments): Task;
  /** Used instead of `prepare` by commands without a database, which a running server may have locked. */
  print?(config: Config): Result;
}

const organisations: Command = {
  options: [],
  prepare:
    () =>
    async ({ database }) => {
      const sizes = await listOrganisations(database.asSystem());
      return { lines: formatOrganisations(sizes), json: sizes };
    },
};

const createOrganisationCommand: Command = {
  options: ['name', 'project', 'reuse-name'],
  prepare({ name, project = 'First project', 'reuse-name': reusesName = false }) {
    const administratorKey = generateApiKey();
    const organisation = { name: parseName(name), projectName: parseName(project), administratorKey };
    return async (stores) => {
      const { orgId, projectId } = await stores.database.asSystem().transactional(async (em) => {
        if (!reusesName) await assertNameNotDeleted(em, organisation.name);
        return createOrganisation(em, stores, organisation);
      });
      const apiKey = administratorKey.reveal();
      return {
        lines: [
          `organisation  ${orgId}`,
          `project       ${projectId}`,
          `API key       ${apiKey} (not shown again)`,
        ],
        json: { orgId, projectId, apiKey },
      };
    };
  },
};

const createKey: Command = {
  options: ['org', 'name', 'scopes'],
  prepare({ org, name = 'Administrator', scopes: list = scopes.join(',') }) {
    const grant = { orgId: parseUuid(org), name: parseName(name), scopes: parseScopes(list) };
    return async (stores) => {
      const { apiKey, key } = await stores.database
        .asSystem()
        .transactional((em) => grantApiKey(em, stores, grant));
      return {
        lines: [`API key id    ${apiKey.id}`, `API key       ${key.reveal()} (not shown again)`],
        json: { id: apiKey.id, apiKey: key.reveal() },
      };
    };
  },
};

const unattributedSignIns: Command = {
  options: [],
  prepare:
    () =>
    async ({ database }) => {
      const newest = { orderBy: { seq: 'desc' }, limit: 50 } as const;
      const events = await database
        .forOrganisation(unattributedOrgId)
        .find(AuditEvent, { orgId: unattributedOrgId, action: 'SIGN_IN' }, newest);
      const lines = events.map(({ at, address, count }) => {
        const times = count === null ? '' : `  ${count} more`;
        return `${at.toISOString()}  ${address ?? 'unknown address'}${times}`;
      });
      return {
        lines,
        json: events.map(({ at, address, count }) => ({ at, address, repetitions: count ?? 0 })),
      };
    },
};

const signInLink: Command = {
  options: [],
  print: (config) => {
    const url = createSignInLink(config, new DataDir(config.dataDir));
    return { lines: [url], json: { url } };
  },
};

const commands: Readonly<Record<string, Command>> = {
  organisations,
  // `runCommand` passes it on.
  organisation: { options: [] },
  'create-organisation': createOrganisationCommand,
  'create-key': createKey,
  strangers: unattributedSignIns,
  'sign-in-link': signInLink,
};

const text = { type: 'string' } as const;
const options = {
  name: text,
  project: text,
  org: text,
  scopes: text,
  json: { type: 'boolean' },
  'reuse-name': { type: 'boolean' },
} as const;

/** Runs `npm run admin`. */
export const run: Program = async (invocation) => {
  try {
    return await runCommand(invocation);
  } catch (error) {
    if (error instanceof UsageError) {
      invocation.terminal.log(usage);
      invocation.terminal.error(error.message);
      return 2;
    }
    invocation.terminal.error(`Command failed: ${describeStartupError(error)}`);
    return 1;
  }
};

async function runCommand(invocation: Invocation): Promise<number> {
  const { args, environment, terminal } = invocation;
  const first = args.findIndex((argument) => argument !== '--json');
  if (args[first] === 'organisation')
    return runOrganisation({ ...invocation, args: args.toSpliced(first, 1) });
  const { name, options: given } = parseArguments(args, options);
  if (name === 'help') {
    terminal.log(usage);
    return 0;
  }
  const command = findCommand(commands, name);
  const { json, ...values } = given;
  // An option of another command is an error, so that it is not silently ignored.
  const foreign = Object.keys(values).find((option) => !command.options.some((each) => each === option));
  if (foreign) throw new UsageError(`The command ${name} has no option --${foreign}.`);
  const print = (result: Result) => {
    if (json) terminal.log(JSON.stringify(result.json));
    else for (const line of result.lines) terminal.log(line);
  };
  const task = command.prepare?.(values);
  if (command.print) {
    print(command.print(readConfig(environment)));
    return 0;
  }
  await withStores(invocation, async (stores) => {
    await stores.unlock();
    if (task) print(await task(stores));
  });
  return 0;
}

function parseName(name: string | undefined): string {
  const { success, data } = displayName.safeParse(name);
  if (success) return data;
  throw new StartupError(
    '--name and --project must have 1 to 64 characters, without line breaks or invisible characters; for example --name "Acme"',
  );
}

function parseUuid(id: string | undefined): string {
  if (id && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)) return id.toLowerCase();
  throw new StartupError(
    '--org must be the id of an organisation, such as 6f03caa1-a5de-43ce-b127-95a145d3464c',
  );
}

function parseScopes(list: string): Scope[] {
  const names = list.split(',').map((name) => name.trim());
  const requested = scopes.filter((scope) => names.includes(scope));
  if (requested.length > 0 && names.every((name) => requested.some((scope) => scope === name)))
    return requested;
  throw new StartupError(`--scopes must be a comma-separated list of ${scopes.join(',')}`);
}
