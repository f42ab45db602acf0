/**
 * Exports organisations to an encrypted file, with which `import` takes them to another database: `npm run export`.
 */
import { resolve } from 'node:path';
import type { Stores } from '../bootstrap/stores.ts';
import { commandLine } from '../common/command-name.ts';
import { type ExportReport, exportToFile } from '../moving/export-file.ts';
import { countRows } from '../moving/import-file.ts';
import { parseRecipient } from '../moving/recipient.ts';
import { UsageError } from './arguments.ts';
import { describeUser } from './describe-user.ts';
import { findOrganisation } from './find-organisation.ts';
import { defineProgram } from './program.ts';
import { withStores } from './with-stores.ts';

const usage = `${commandLine('export', '--output FILE [--organisation NAME …] [--recipient KEY] [--json]')}
    Export organisations to an encrypted file, while servers run. NAME is a name or an id; without it, all are
    exported. Without --recipient, the other side needs the first root key of this one. With it, the file opens only
    for the database that printed the KEY: ${commandLine('import', '--print-recipient')}.`;

/** Runs `npm run export`. */
export const run = defineProgram(
  {
    usage,
    options: {
      output: { type: 'string' },
      organisation: { type: 'string', multiple: true },
      recipient: { type: 'string' },
      json: { type: 'boolean' },
    },
    failure: 'Cannot export',
  },
  async ({ output, organisation, recipient, json }, invocation) => {
    if (output === undefined) throw new UsageError('The option --output FILE is missing.');
    const request = {
      file: resolve(output),
      recipient: recipient === undefined ? undefined : parseRecipient(recipient),
      requestedBy: describeUser(),
    };
    const report = await withStores(invocation, async (stores) => {
      await stores.unlock();
      return exportToFile(stores, { ...request, orgIds: await findIds(stores, organisation) });
    });
    const { terminal } = invocation;
    if (json) terminal.log(JSON.stringify(report));
    else for (const line of formatReport(report)) terminal.log(line);
    return 0;
  },
);

async function findIds({ database }: Stores, names: string[] | undefined): Promise<string[] | undefined> {
  if (!names) return undefined;
  const ids: string[] = [];
  for (const name of names) ids.push((await findOrganisation(database.asSystem(), name)).id);
  return ids;
}

function formatReport({ file, bytes, sha256, organisations }: ExportReport): string[] {
  return [
    ...organisations.map(
      (each) => `organisation ${each.id} "${each.name}": ${countRows(each)} rows exported`,
    ),
    `file    ${file} (${bytes} bytes)`,
    `SHA-256 ${sha256}`,
  ];
}
