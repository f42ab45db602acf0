import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, linkSync, renameSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { operatorActor } from '../administration/organisations.ts';
import { type AuditDeps, appendEvents, withRequestContext } from '../audit/hash-chain.ts';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { describeFileError } from '../common/file-error.ts';
import { fsyncParentFolder } from '../common/fsync-parent-folder.ts';
import { unattributedOrgId } from '../identity/organisations.ts';
import { createExportKeys } from './export-key.ts';
import { type ExportedOrganisation, type WriteLine, writeOrganisations } from './export-organisations.ts';
import { assertNotNewer } from './newer-database.ts';
import type { Recipient } from './recipient.ts';
import { sealStream } from './sealed-stream.ts';

/** What to export, and where to. */
export interface ExportRequest {
  /** The path of the file, which must not exist. */
  file: string;
  /** Absent: all, except those that are being deleted. */
  orgIds?: readonly string[] | undefined;
  /** The key of the other side. Absent: the other side has the same root keys. */
  recipient?: Recipient | undefined;
  /** The user and the machine of the command. */
  requestedBy: string;
}

/** A complete export. */
export interface ExportReport {
  file: string;
  bytes: number;
  /** Of the file, in hex. */
  sha256: string;
  organisations: ExportedOrganisation[];
}

/**
 * Exports organisations to an encrypted file that only this user can read, while servers run. The file appears under its name when it is
 * complete. Before, each organisation gets an event in the trail of the server: no export exists without one.
 *
 * @throws StartupError if the file exists or cannot be written, or as `writeOrganisations`
 * @throws KmsUnavailableError
 */
export async function exportToFile(deps: AuditDeps, request: ExportRequest): Promise<ExportReport> {
  const { file, requestedBy } = request;
  if (existsSync(file)) throw existingFile(file);
  await assertNotNewer(deps.database);
  // Not the process id: in a container, a killed server and the next one have the same.
  const partial = `${file}.${randomBytes(4).toString('hex')}.partial`;
  const handle = await withFileErrors(file, () => open(partial, 'wx', 0o600));
  try {
    const { organisations, ...written } = await writeFile(deps, request, handle);
    await withFileErrors(file, () => handle.sync());
    await recordExport(deps, organisations, requestedBy);
    await withFileErrors(file, async () => moveWithoutReplacing(partial, file));
    await fsyncParentFolder(file);
    return { file, ...written, organisations };
  } finally {
    await handle.close();
    rmSync(partial, { force: true });
  }
}

function existingFile(file: string): StartupError {
  return new StartupError(`--output ${file}: the file exists, and is not replaced; choose another name`);
}

const reasons = { ENOENT: 'its folder does not exist' };

async function withFileErrors<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = errorField(error, 'code');
    if (code === undefined || errorField(error, 'syscall') === undefined) throw error;
    throw new StartupError(`--output ${file}: ${describeFileError(code, reasons)}`);
  }
}

/** A link is refused if the name exists, which a renaming would replace. */
function moveWithoutReplacing(partial: string, file: string): void {
  try {
    linkSync(partial, file);
  } catch (error) {
    if (errorField(error, 'code') === 'EEXIST' || existsSync(file)) throw existingFile(file);
    // File systems such as exFAT have no links.
    renameSync(partial, file);
  }
}

async function writeFile(
  deps: AuditDeps,
  { file, orgIds, recipient }: ExportRequest,
  handle: FileHandle,
): Promise<Pick<ExportReport, 'bytes' | 'sha256' | 'organisations'>> {
  const { line, keys } = await createExportKeys(deps.vault, recipient);
  const hash = createHash('sha256');
  let bytes = 0;
  const append = async (piece: Uint8Array) => {
    hash.update(piece);
    bytes += piece.length;
    await withFileErrors(file, () => handle.writeFile(piece));
  };
  await append(Buffer.from(`${line}\n`));
  const gzip = createGzip();
  const written = pipeline(gzip, async (compressed) => {
    for await (const piece of sealStream(keys.stream, compressed)) await append(piece);
  });
  // It is awaited below; until then, its error must not count as unhandled.
  written.catch(() => undefined);
  const write: WriteLine = async (text) => {
    if (gzip.write(`${text}\n`)) return;
    await Promise.race([once(gzip, 'drain'), written]);
  };
  try {
    const isResealed = recipient !== undefined;
    const organisations = await writeOrganisations(deps, keys, { orgIds, isResealed }, write);
    gzip.end();
    await written;
    return { bytes, sha256: hash.digest('hex'), organisations };
  } finally {
    gzip.destroy();
  }
}

async function recordExport(
  deps: AuditDeps,
  organisations: readonly ExportedOrganisation[],
  requestedBy: string,
): Promise<void> {
  const events = organisations.map(({ id, name }) =>
    withRequestContext({
      ...operatorActor,
      orgId: unattributedOrgId,
      action: 'EXPORT_ORGANISATION',
      targetName: `${id} "${name}", by ${requestedBy}`,
      outcome: 'OK',
    }),
  );
  await deps.database.asSystem().transactional((em) => appendEvents(em, deps, unattributedOrgId, events));
}
