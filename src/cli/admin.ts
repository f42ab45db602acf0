/**
 * Manages organisations and API keys from the shell: `npm run admin -- help`. It uses the database of the server; if that
 * is the embedded one, the server must be stopped.
 */
import { parseArgs } from 'node:util';
import { displayName } from '../administration/input-schemas.ts';
import { createOrganisation, grantApiKey } from '../administration/organisations.ts';
import { AuditEvent } from '../audit/audit-event.entity.ts';
import { generateApiKey } from '../auth/api-keys.ts';
import { DataDir } from '../bootstrap/data-dir.ts';
import { describeStartupError } from '../bootstrap/describe-error.ts';
import { createSignInLink } from '../bootstrap/sign-in-link.ts';
import { openStores, type Stores } from '../bootstrap/stores.ts';
import { StartupError } from '../common/errors.ts';
import { createLog } from '../common/log.ts';
import type { Config } from '../config/config.ts';
import { readConfig } from '../config/read-config.ts';
import { type Scope, scopes } from '../identity/caller.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import type { Invocation, Program } from './program.ts';

const usage = `npm run admin -- organisations
    List the organisations.
npm run admin -- create-organisation --name "Acme" [--project "First project"]
    Create an organisation with a project and an administrator's API key. The key is shown once.
npm run admin -- create-key --org ID [--name "Administrator"] [--scopes connections:read,audit:read]
    Create an API key with these scopes, by default all. Use it when the administrator's key is lost.
npm run admin -- sign-in-link
    Print a link that signs a browser in, once, to the development server with these settings.
npm run admin -- strangers
    List the last refused sign-ins that belong to no organisation, newest first. Repetitions within a minute are counted
    on one line.`;

/** The options of all commands. */
type CliArguments = Partial<Record<'name' | 'project' | 'org' | 'scopes', string>>;

/** Returns the lines to print. */
type Task = (stores: Stores) => Promise<string[]>;

interface Command {
  options: readonly (keyof CliArguments)[];
  /** Parses the arguments, so that invalid ones are reported before the database is opened. */
  prepare?(args: CliArguments): Task;
  /** Used instead of `prepare` by commands without a database, which a running server may have locked. */
  print?(config: Config): string;
}

const organisations: Command = {
  options: [],
  prepare:
    () =>
    async ({ database }) => {
      const where = { id: { $ne: unattributedOrgId } };
      const rows = await database.asSystem().find(Organisation, where, { orderBy: { createdAt: 'asc' } });
      return rows.map(({ id, name }) => `${id}  ${name}`);
    },
};

const createOrganisationCommand: Command = {
  options: ['name', 'project'],
  prepare({ name, project = 'First project' }) {
    const administratorKey = generateApiKey();
    const organisation = { name: parseName(name), projectName: parseName(project), administratorKey };
    return async (stores) => {
      const { orgId, projectId } = await stores.database
        .asSystem()
        .transactional((em) => createOrganisation(em, stores, organisation));
      return [
        `organisation  ${orgId}`,
        `project       ${projectId}`,
        `API key       ${administratorKey.reveal()} (not shown again)`,
      ];
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
      return [`API key id    ${apiKey.id}`, `API key       ${key.reveal()} (not shown again)`];
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
      return events.map(({ at, address, count }) => {
        const times = count === null ? '' : `  ${count} more`;
        return `${at.toISOString()}  ${address ?? 'unknown address'}${times}`;
      });
    },
};

const signInLink: Command = {
  options: [],
  print: (config) => createSignInLink(config, new DataDir(config.dataDir)),
};

const commands: ReadonlyMap<string | undefined, Command> = new Map([
  ['organisations', organisations],
  ['create-organisation', createOrganisationCommand],
  ['create-key', createKey],
  ['strangers', unattributedSignIns],
  ['sign-in-link', signInLink],
]);

/** Runs `npm run admin`. */
export const run: Program = async (invocation) => {
  try {
    return await runCommand(invocation);
  } catch (error) {
    invocation.terminal.error(`Command failed: ${describeStartupError(error)}`);
    return 1;
  }
};

async function runCommand({ args, environment, terminal, ownsProcess }: Invocation): Promise<number> {
  const { name, options } = parseCommandLine(args);
  const command = commands.get(name);
  // An option of another command is an error, so that it is not silently ignored.
  if (!command || Object.keys(options).some((option) => !command.options.some((each) => each === option))) {
    terminal.log(usage);
    return name === 'help' ? 0 : 2;
  }
  const task = command.prepare?.(options);
  const config = readConfig(environment);
  if (command.print) {
    terminal.log(command.print(config));
    return 0;
  }
  const stores = await openStores(config, createLog('silent'), { limitsMemory: ownsProcess });
  try {
    await stores.unlock();
    for (const line of (await task?.(stores)) ?? []) terminal.log(line);
  } finally {
    await stores.close();
  }
  return 0;
}

function parseCommandLine(args: string[]): { name?: string | undefined; options: CliArguments } {
  const text = { type: 'string' } as const;
  try {
    const { positionals, values } = parseArgs({
      args,
      options: { name: text, project: text, org: text, scopes: text },
      allowPositionals: true,
    });
    return { name: positionals.length === 1 ? positionals[0] : undefined, options: values };
  } catch {
    return { options: {} };
  }
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
