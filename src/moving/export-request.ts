import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { findOrganisation } from '../administration/find-organisation.ts';
import type { AuditDeps } from '../audit/hash-chain.ts';
import { StartupError } from '../common/errors.ts';
import { type ExportReport, exportToFile } from './export-file.ts';
import { parseRecipient } from './recipient.ts';

/** A request for an export, as a command sends it to a running server. */
const exportRequest = z.strictObject({
  command: z.literal('export'),
  /** The absolute path of the file. */
  file: z.string().max(4_096).refine(isAbsolute),
  /** Names or ids. Absent: all. */
  organisations: z.array(z.string().max(200)).optional(),
  recipient: z.string().max(200).optional(),
  /** The user and the machine of the command. */
  requestedBy: z.string().max(500),
});

export type ExportRequest = z.infer<typeof exportRequest>;

/**
 * Carries out a request for an export.
 *
 * @throws StartupError if an organisation does not exist or the recipient is no key, or as `exportToFile`
 * @throws KmsUnavailableError
 */
export async function runExport(
  deps: AuditDeps,
  { file, organisations, recipient, requestedBy }: ExportRequest,
): Promise<ExportReport> {
  const em = deps.database.asSystem();
  let orgIds: string[] | undefined;
  for (const name of organisations ?? []) orgIds = [...(orgIds ?? []), (await findOrganisation(em, name)).id];
  return exportToFile(deps, {
    ...{ file, orgIds, requestedBy },
    recipient: recipient === undefined ? undefined : parseRecipient(recipient),
  });
}

/** Carries out a request from another process, which may have another version. */
export async function answerExportRequest(deps: AuditDeps, request: unknown): Promise<ExportReport> {
  const { success, data } = exportRequest.safeParse(request);
  if (!success) throw new StartupError('the server has another version than this command');
  return runExport(deps, data);
}
