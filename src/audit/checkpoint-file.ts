import { appendFileSync, existsSync, readFileSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { errorField } from '../common/error-field.ts';
import { StartupError } from '../common/errors.ts';
import { fsyncParentFolder } from '../common/fsync-parent-folder.ts';
import type { RowMacs } from '../encryption/row-macs.ts';

/** A signed checkpoint: the sequence number and the hash of the last event of an audit trail at a time. */
export interface Checkpoint {
  orgId: string;
  seq: number;
  hash: string;
  /** The time at which it was written. */
  at: string;
  mac: string;
}

/** Above this size in bytes, the file is compacted to the newest checkpoint of each trail. */
const maxBytes = 8 * 2 ** 20;

/** Adds the MAC to a checkpoint. */
export function signCheckpoint(macs: RowMacs, checkpoint: Omit<Checkpoint, 'mac'>): Checkpoint {
  return { ...checkpoint, mac: macs.mac('checkpoint', checkpoint) };
}

/** Whether the MAC of a checkpoint is valid. */
export function isAuthenticCheckpoint(macs: RowMacs, { mac, ...checkpoint }: Checkpoint): boolean {
  return macs.isMac(mac, 'checkpoint', checkpoint);
}

/**
 * Parses checkpoints from a checkpoint file (one per line) or a log (several per line). Other lines are skipped, such as one
 * that a crash truncated.
 */
export function parseCheckpoints(text: string): Checkpoint[] {
  return text.split('\n').flatMap((line) => {
    const value = parseLine(line);
    const candidates: unknown[] = Array.isArray(value?.auditCheckpoints) ? value.auditCheckpoints : [value];
    return candidates.filter(isCheckpoint);
  });
}

function parseLine(line: string): { auditCheckpoints?: unknown } | undefined {
  try {
    return JSON.parse(line) ?? undefined;
  } catch {
    return undefined;
  }
}

function isCheckpoint(value: unknown): value is Checkpoint {
  const { orgId, seq, hash, at, mac } = (value ?? {}) as Record<string, unknown>;
  return [orgId, hash, at, mac].every((text) => typeof text === 'string') && Number.isInteger(seq);
}

/** An append-only file of checkpoints. Only one server writes to it. */
export class CheckpointFile {
  readonly #path: string;
  #bytes: number;
  /** The newest checkpoint of each organisation. */
  readonly newest = new Map<string, Checkpoint>();

  /** @throws StartupError if the file cannot be read and written */
  constructor(path: string) {
    this.#path = path;
    try {
      if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) {
        throw new StartupError(
          `AUDIT_CHECKPOINT_FILE ${path}: is a folder, a pipe or a device; name a regular file`,
        );
      }
      // The line break ends a line that a crash truncated.
      appendFileSync(path, existsSync(path) && statSync(path).size > 0 ? '\n' : '', { mode: 0o600 });
      this.#bytes = statSync(path).size;
      for (const checkpoint of parseCheckpoints(readFileSync(path, 'utf8'))) this.#updateNewest(checkpoint);
    } catch (error) {
      if (error instanceof StartupError) throw error;
      const code = errorField(error, 'code');
      throw new StartupError(
        `AUDIT_CHECKPOINT_FILE ${path}: cannot be read and written (${code ?? 'unknown error'})`,
      );
    }
  }

  /** Appends checkpoints and flushes them to disk. */
  async append(checkpoints: readonly Checkpoint[]): Promise<void> {
    this.#bytes += await writeCheckpoints(this.#path, 'a', checkpoints);
    for (const checkpoint of checkpoints) this.#updateNewest(checkpoint);
    if (this.#bytes > maxBytes) await this.#compact();
  }

  /** Replaces the file in one step, so that a crash leaves either the old or the new one. */
  async #compact(): Promise<void> {
    const temporaryPath = `${this.#path}.new`;
    this.#bytes = await writeCheckpoints(temporaryPath, 'w', [...this.newest.values()]);
    await rename(temporaryPath, this.#path);
    await fsyncParentFolder(this.#path);
  }

  #updateNewest(checkpoint: Checkpoint): void {
    const { orgId, seq } = checkpoint;
    if (seq >= (this.newest.get(orgId)?.seq ?? 0)) this.newest.set(orgId, checkpoint);
  }
}

/** @returns the number of bytes written and flushed to disk */
async function writeCheckpoints(
  path: string,
  flags: 'a' | 'w',
  checkpoints: readonly Checkpoint[],
): Promise<number> {
  const text = checkpoints.map((checkpoint) => `${JSON.stringify(checkpoint)}\n`).join('');
  await using file = await open(path, flags, 0o600);
  await file.writeFile(text);
  await file.datasync();
  return Buffer.byteLength(text);
}
