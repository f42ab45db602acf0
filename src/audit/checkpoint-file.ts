import { appendFileSync, existsSync, readFileSync, statSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { StartupError } from '../common/errors.ts';
import type { RowMacs } from '../encryption/row-macs.ts';

/** How far a trail had come, with what it hashed to there, signed. */
export interface Checkpoint {
  orgId: string;
  seq: number;
  hash: string;
  /** When it was written. */
  at: string;
  mac: string;
}

/** A file beyond this size, in bytes, is cut down to the newest checkpoint of each trail. */
const maxBytes = 8 * 2 ** 20;

/** A checkpoint with its MAC. */
export function signCheckpoint(macs: RowMacs, made: Omit<Checkpoint, 'mac'>): Checkpoint {
  return { ...made, mac: macs.mac('checkpoint', made) };
}

/** Whether a server with these keys wrote a checkpoint. */
export function isAuthenticCheckpoint(macs: RowMacs, { mac, ...made }: Checkpoint): boolean {
  return macs.isMac(mac, 'checkpoint', made);
}

/**
 * The checkpoints in a text: one a line, or several in a line of the log. What is anything else is passed over, such as a
 * line that a crash has cut short.
 */
export function parseCheckpoints(text: string): Checkpoint[] {
  return text.split('\n').flatMap((line) => {
    const value = parseLine(line);
    const all: unknown[] = Array.isArray(value?.auditCheckpoints) ? value.auditCheckpoints : [value];
    return all.filter(isCheckpoint);
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

/** A file to which checkpoints are appended. It belongs to one server. */
export class CheckpointFile {
  readonly #path: string;
  #bytes: number;
  /** The newest checkpoint of each trail, by organisation. */
  readonly newest = new Map<string, Checkpoint>();

  /** @throws StartupError when the file cannot be read and written */
  constructor(path: string) {
    this.#path = path;
    try {
      // Also ends a line that a crash has cut short.
      appendFileSync(path, existsSync(path) && statSync(path).size > 0 ? '\n' : '', { mode: 0o600 });
      this.#bytes = statSync(path).size;
      for (const checkpoint of parseCheckpoints(readFileSync(path, 'utf8'))) this.#remember(checkpoint);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new StartupError(
        `AUDIT_CHECKPOINT_FILE ${path}: cannot be read and written (${code ?? 'unknown error'})`,
      );
    }
  }

  /** Appends checkpoints, and returns once they are on the disk. */
  async append(checkpoints: readonly Checkpoint[]): Promise<void> {
    await this.#write(this.#path, 'a', checkpoints);
    for (const checkpoint of checkpoints) this.#remember(checkpoint);
    if (this.#bytes <= maxBytes) return;
    const aside = `${this.#path}.new`;
    this.#bytes = 0;
    await this.#write(aside, 'w', [...this.newest.values()]);
    await rename(aside, this.#path);
  }

  async #write(path: string, flags: 'a' | 'w', checkpoints: readonly Checkpoint[]): Promise<void> {
    const text = checkpoints.map((checkpoint) => `${JSON.stringify(checkpoint)}\n`).join('');
    await using file = await open(path, flags, 0o600);
    await file.writeFile(text);
    await file.datasync();
    this.#bytes += Buffer.byteLength(text);
  }

  #remember(checkpoint: Checkpoint): void {
    const { orgId, seq } = checkpoint;
    if (seq >= (this.newest.get(orgId)?.seq ?? 0)) this.newest.set(orgId, checkpoint);
  }
}
