import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import type { EntityManager } from '@mikro-orm/postgresql';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import type { Vault } from '../encryption/vault.ts';
import { type ExportKeys, openExportKeys } from './export-key.ts';
import type { ExportedOrganisation, ExportLine } from './export-organisations.ts';
import { type RowContent, TableSummer } from './rows.ts';
import { damagedFile, openStream } from './sealed-stream.ts';
import { findTable, type MovedTable } from './tables.ts';

const maxHeaderBytes = 65_536;

/** An export whose key is known. */
export interface ExportFile extends AsyncDisposable {
  /** It stays open, so that each reading is of the same file, whatever the name leads to meanwhile. */
  handle: FileHandle;
  keys: ExportKeys;
  /** The length of the first line, in bytes. */
  headerBytes: number;
}

/** A row of an export. */
export interface ExportedRow extends RowContent {
  table: MovedTable;
  /** Of a data key: the key, encrypted for the export; empty if it is destroyed. */
  key?: string;
}

/** What an export contains, in its order. */
export type ExportItem =
  | { kind: 'begin'; id: string; name: string }
  | { kind: 'row'; row: ExportedRow }
  | { kind: 'end'; organisation: ExportedOrganisation };

/**
 * Opens an export, until it is disposed of.
 *
 * @throws StartupError if it cannot be read, or as `openExportKeys`
 * @throws KmsUnavailableError
 */
export async function openExport(
  em: EntityManager,
  vault: Vault,
  path: string,
  rootKeyLocation: string,
): Promise<ExportFile> {
  // Without O_NONBLOCK, opening a pipe waits for its writer. Windows has no such flag.
  const flags = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);
  const handle = await open(path, flags).catch(throwUnreadable);
  try {
    // The file is read several times.
    if (!(await handle.stat()).isFile())
      throw new StartupError('it is a folder, a pipe or a device; name a regular file');
    const line = await readHeaderLine(handle);
    const keys = await openExportKeys(em, vault, line, rootKeyLocation);
    const headerBytes = Buffer.byteLength(line) + 1;
    return { handle, keys, headerBytes, [Symbol.asyncDispose]: () => handle.close() };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readHeaderLine(handle: FileHandle): Promise<string> {
  const bytes = Buffer.alloc(maxHeaderBytes);
  const { bytesRead } = await handle.read(bytes, 0, maxHeaderBytes, 0).catch(throwUnreadable);
  const end = bytes.subarray(0, bytesRead).indexOf('\n');
  return bytes.toString('utf8', 0, Math.max(end, 0));
}

async function* readBytes(handle: FileHandle, start: number): AsyncGenerator<Buffer> {
  try {
    yield* handle.createReadStream({ start, autoClose: false });
  } catch (error) {
    throwUnreadable(error);
  }
}

function throwUnreadable(error: unknown): never {
  throw new StartupError(`it cannot be read (${errorField(error, 'code') ?? 'unknown error'})`);
}

/**
 * Reads an export. Everything that it yields is authentic; that the export is complete is known at the end.
 *
 * @throws StartupError if it was changed, or is incomplete
 */
export async function* readExport({ handle, keys, headerBytes }: ExportFile): AsyncGenerator<ExportItem> {
  const compressed = openStream(keys.stream, readBytes(handle, headerBytes));
  const gunzip = createGunzip();
  // Its error also ends the iteration below.
  pipeline(Readable.from(compressed), gunzip, () => undefined);
  let current: string | undefined;
  let organisations = 0;
  let isComplete = false;
  const summers = new Map<string, TableSummer>();
  for await (const line of splitLines(gunzip)) {
    if (isComplete) throw damagedFile();
    if (line.startsWith('{"table":')) {
      const row = parseRow(line);
      if (current === undefined) throw damagedFile();
      const summer = summers.get(row.table.name) ?? new TableSummer();
      summers.set(row.table.name, summer);
      summer.add(row);
      yield { kind: 'row', row };
      continue;
    }
    const parsed: ExportLine = JSON.parse(line);
    if ('begin' in parsed) {
      current = parsed.begin;
      organisations += 1;
      summers.clear();
      yield { kind: 'begin', id: parsed.begin, name: parsed.name };
    } else if ('end' in parsed) {
      assertSums(parsed.end, summers);
      current = undefined;
      yield { kind: 'end', organisation: parsed.end };
    } else {
      if (parsed.trailer.organisations !== organisations) throw damagedFile();
      isComplete = true;
    }
  }
  if (!isComplete) throw damagedFile();
}

function assertSums({ tables }: ExportedOrganisation, summers: ReadonlyMap<string, TableSummer>): void {
  for (const [name, expected] of Object.entries(tables)) {
    const { rows, hash } = (summers.get(name) ?? new TableSummer()).sum();
    if (rows !== expected.rows || hash !== expected.hash) throw damagedFile();
  }
}

/** The row itself stays as it is written: it is the last member. */
function parseRow(line: string): ExportedRow {
  const start = line.indexOf('"row":');
  const members = JSON.parse(`${line.slice(0, start)}"row":0}`);
  const table = findTable(members.table);
  if (!table) throw damagedFile();
  const { key, fingerprint } = members;
  return { table, text: line.slice(start + '"row":'.length, -1), key, fingerprint };
}

async function* splitLines(source: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of source) {
    rest = rest.length > 0 ? Buffer.concat([rest, piece]) : piece;
    let start = 0;
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', start)) {
      yield rest.toString('utf8', start, end);
      start = end + 1;
    }
    rest = rest.subarray(start);
  }
  if (rest.length > 0) throw damagedFile();
}

/** Computes the SHA-256 of an export, in hex. */
export async function hashFile({ handle }: ExportFile): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of readBytes(handle, 0)) hash.update(piece);
  return hash.digest('hex');
}
