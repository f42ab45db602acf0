/**
 * Exports organisations to an encrypted file, with which `import` takes them to another database: `npm run export`. It runs beside
 * servers. The embedded database is exported by the server that has it.
 */

import { resolve } from 'node:path';
import { askRunningServer } from '../bootstrap/control-client.ts';
import { commandLine } from '../common/command-name.ts';
import { formatCount } from '../common/format-count.ts';
import { readConfig } from '../config/read-config.ts';
import type { ExportReport } from '../moving/export-file.ts';
import { type ExportRequest, runExport } from '../moving/export-request.ts';
import { countRows } from '../moving/import-file.ts';
import { parseRecipient } from '../moving/recipient.ts';
import { UsageError } from './arguments.ts';
import { describeUser } from './describe-user.ts';
import { defineProgram, type Invocation } from './program.ts';
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
    if (recipient !== undefined) parseRecipient(recipient);
    const report = await runHereOrThere(invocation, {
      command: 'export',
      file: resolve(output),
      ...(organisation && { organisations: organisation }),
      ...(recipient !== undefined && { recipient }),
      requestedBy: describeUser(),
    });
    const { terminal } = invocation;
    if (json) terminal.log(JSON.stringify(report));
    else for (const line of formatReport(report)) terminal.log(line);
    return 0;
  },
);

async function runHereOrThere(invocation: Invocation, request: ExportRequest): Promise<ExportReport> {
  const answered = await askRunningServer(readConfig(invocation.environment), request);
  if (answered !== undefined) return answered as ExportReport;
  return withStores(invocation, async (stores) => {
    await stores.unlock();
    return runExport(stores, request);
  });
}

function formatReport({ file, bytes, sha256, organisations }: ExportReport): string[] {
  return [
    ...organisations.map(
      (each) => `organisation ${each.id} "${each.name}": ${formatCount(countRows(each), 'row')} exported`,
    ),
    `file    ${file} (${bytes} bytes)`,
    `SHA-256 ${sha256}`,
  ];
}
