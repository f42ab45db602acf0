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

/** A command; it prints its result. */
interface Command {
  options: readonly (keyof CliArguments)[];
  /** Parses the arguments, so that invalid ones are reported before the database is opened, and returns the task. */
  prepare?(args: CliArguments): (stores: Stores) => Promise<void>;
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
      for (const { id, name } of rows) console.log(`${id}  ${name}`);
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
      console.log(`organisation  ${orgId}`);
      console.log(`project       ${projectId}`);
      console.log(`API key       ${administratorKey.reveal()} (not shown again)`);
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
      console.log(`API key id    ${apiKey.id}`);
      console.log(`API key       ${key.reveal()} (not shown again)`);
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
      for (const { at, address, count } of events) {
        const times = count === null ? '' : `  ${count} more`;
        console.log(`${at.toISOString()}  ${address ?? 'unknown address'}${times}`);
      }
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

async function run(): Promise<void> {
  const { name, args } = parseCommandLine();
  const command = commands.get(name);
  // An option of another command is an error, so that it is not silently ignored.
  if (!command || Object.keys(args).some((option) => !command.options.some((each) => each === option))) {
    console.log(usage);
    if (name !== 'help') process.exitCode = 2;
    return;
  }
  const task = command.prepare?.(args);
  const config = readConfig();
  if (command.print) {
    console.log(command.print(config));
    return;
  }
  const stores = await openStores(config, createLog('silent'));
  try {
    await stores.unlock();
    await task?.(stores);
  } finally {
    await stores.close();
  }
}

function parseCommandLine(): { name?: string | undefined; args: CliArguments } {
  const text = { type: 'string' } as const;
  try {
    const { positionals, values } = parseArgs({
      options: { name: text, project: text, org: text, scopes: text },
      allowPositionals: true,
    });
    return { name: positionals.length === 1 ? positionals[0] : undefined, args: values };
  } catch {
    return { args: {} };
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

try {
  await run();
} catch (error) {
  console.error(`Command failed: ${describeStartupError(error)}`);
  process.exitCode = 1;
}
