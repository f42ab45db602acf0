import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { StartupError } from '../common/errors.ts';
import type { Config } from '../config/config.ts';
import { askLocalSocket } from '../outbound/local-socket.ts';
import { DataDir } from './data-dir.ts';

/** The longest path of a socket on Linux has 107 bytes, and on macOS 103. */
const maxPathBytes = 103;

/** Returns the path of the control socket of a server; undefined if there cannot be one. */
export function controlSocketPath(dataDir: string): { folder: string; socket: string } | undefined {
  const folder = join(dataDir, 'control');
  const socket = join(folder, 'socket');
  const isPossible = process.platform !== 'win32' && Buffer.byteLength(socket) <= maxPathBytes;
  return isPossible ? { folder, socket } : undefined;
}

/**
 * Asks the server that has the embedded database of this configuration to carry out a request.
 *
 * @returns undefined if no server has it, or commands cannot reach the server
 * @throws StartupError with the reason for which the server has not carried it out
 */
export async function askRunningServer(config: Config, request: object): Promise<unknown> {
  if (config.databaseUrl || config.production || !existsSync(config.dataDir)) return undefined;
  const path = controlSocketPath(config.dataDir);
  if (!path || !new DataDir(config.dataDir).isLocked()) return undefined;
  const answer = await askLocalSocket(path.socket, JSON.stringify(request));
  if (answer === undefined) return undefined;
  if (!answer.endsWith('\n')) throw new StartupError('the server has ended before it was done; try again');
  const { result, error }: { result?: unknown; error?: string } = JSON.parse(answer);
  if (error !== undefined) throw new StartupError(error);
  return result;
}
