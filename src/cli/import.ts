/** Imports the organisations of a file of `export`, or connections from a list: `npm run import`. */

import { commandLine } from '../common/command-name.ts';
import { StartupError } from '../common/errors.ts';
import { formatCount } from '../common/format-count.ts';
import { withStartupLock } from '../database/startup-lock.ts';
import { countRows, type ImportedOrganisation, importFile } from '../moving/import-file.ts';
import { ensureRecipient } from '../moving/recipient.ts';
import { UsageError } from './arguments.ts';
import { describeUser } from './describe-user.ts';
import { runConnectionsImport } from './import-connections.ts';
import { defineProgram, type Invocation } from './program.ts';
import { withStores } from './with-stores.ts';

const usage = `${commandLine('import', '--input FILE [--sha256 HEX] [--replace-unfinished] [--dry-run] [--json]')}
    Import the organisations of a file of "export". Rows that are here are not stored again, and rows with other
    content are not replaced. If it is interrupted, run it again with the same file, or with a newer one and
    --replace-unfinished, which deletes first what the interrupted import has stored. With --dry-run, nothing is stored.
    --sha256 is what the export has printed; a file that was exported for a recipient needs it.
${commandLine('import', '--print-recipient [--json]')}
    Print the public key of this database, for "export --recipient" on the other side.
${commandLine('import', '--connections FILE [--url URL] [--api-key-file FILE] [--dry-run] [--json]')}
    Create connections from CSV or JSON through a running server. The columns are name, project, instanceUrl,
    method, description, and tokenEnv or tokenFile, which name a variable or a file with the token. With --dry-run,
    Okta verifies the tokens, and nothing is stored.`;

/** Runs `npm run import`. */
export const run = defineProgram(
  {
    usage,
    options: {
      input: { type: 'string' },
      connections: { type: 'string' },
      url: { type: 'string' },
      'api-key-file': { type: 'string' },
      sha256: { type: 'string' },
      'replace-unfinished': { type: 'boolean' },
      'dry-run': { type: 'boolean' },
      'print-recipient': { type: 'boolean' },
      json: { type: 'boolean' },
    },
    failure: 'Cannot import',
  },
  async (given, invocation) => {
    const { input, connections, sha256, 'dry-run': isDryRun = false, json = false } = given;
    const { 'replace-unfinished': replaceUnfinished = false } = given;
    if (given['print-recipient']) {
      if (Object.keys(given).some((option) => option !== 'print-recipient' && option !== 'json'))
        throw new UsageError('The option --print-recipient takes only --json beside it.');
      return printRecipient(invocation, json);
    }
    if (connections !== undefined) {
      const other = (['input', 'sha256', 'replace-unfinished'] as const).find(
        (each) => given[each] !== undefined,
      );
      if (other) throw new UsageError(`The options --connections and --${other} exclude each other.`);
      const options = { connections, url: given.url, apiKeyFile: given['api-key-file'], isDryRun, json };
      return runConnectionsImport(options, invocation);
    }
    if (given.url !== undefined || given['api-key-file'] !== undefined)
      throw new UsageError('The options --url and --api-key-file belong to --connections.');
    if (input === undefined)
      throw new UsageError('The option --input FILE or --connections FILE is missing.');
    if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256))
      throw new UsageError('The option --sha256 needs 64 hex digits, which the export has printed.');
    const request = { path: input, sha256, isDryRun, replaceUnfinished, requestedBy: describeUser() };
    const organisations = await withStores(invocation, async (stores) => {
      await stores.unlock();
      return withFileName(input, () => importFile(stores, request));
    });
    return printResult(organisations, invocation, json);
  },
);

function printRecipient(invocation: Invocation, json: boolean): Promise<number> {
  return withStores(invocation, async (stores) => {
    const { database, vault } = stores;
    await stores.unlock();
    const recipient = await withStartupLock(database.asSystem(), (em) => ensureRecipient(em, vault));
    invocation.terminal.log(json ? JSON.stringify({ recipient }) : recipient);
    return 0;
  });
}

/** Errors of the file name it. */
async function withFileName<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof StartupError ? new StartupError(`--input ${file}: ${error.message}`) : error;
  }
}

const resultTexts = {
  imported: 'imported; all counts and hashes are equal',
  importable: 'can be imported',
  unchanged: 'is here already; nothing was changed',
  conflict: 'cannot be imported',
};

function printResult(
  organisations: readonly ImportedOrganisation[],
  { terminal }: Invocation,
  json: boolean,
): number {
  const conflicts = organisations.flatMap((each) => each.conflicts.map((text) => ({ ...each, text })));
  if (json) {
    terminal.log(
      JSON.stringify({
        organisations: organisations.map(({ organisation, ...others }) => ({ ...organisation, ...others })),
      }),
    );
  } else {
    for (const each of organisations) for (const line of formatOrganisation(each)) terminal.log(line);
    for (const { organisation, text } of conflicts)
      terminal.error(`Not imported: organisation ${organisation.id}: ${text}`);
  }
  return conflicts.length > 0 ? 1 : 0;
}

function formatOrganisation(each: ImportedOrganisation): string[] {
  const { organisation, existing, result, replacesUnfinished } = each;
  const { id, name, tables } = organisation;
  const summary = `organisation ${id} "${name}" (${formatCount(countRows(organisation), 'row')}, ${existing} of them here before)`;
  if (result === 'conflict') return [`${summary}: ${resultTexts[result]}`];
  const replaced = replacesUnfinished ? ', in place of what an unfinished import had stored' : '';
  const filled = Object.entries(tables).filter(([, { rows }]) => rows > 0);
  return [
    `${summary}: ${resultTexts[result]}${replaced}`,
    ...filled.map(
      ([table, { rows, hash }]) => `  ${table.padEnd(26)} ${`${rows}`.padStart(8)} rows  SHA-256 ${hash}`,
    ),
  ];
}
