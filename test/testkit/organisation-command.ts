import { parseCommand } from '../../src/cli/organisation.ts';
import { runProgram } from './in-process.ts';
import { temporaryFolder } from './process.ts';
import type { TestServer } from './server.ts';

/**
 * Runs `npm run admin -- organisation` on the database of a running server, and returns its JSON. A process of its own cannot open an
 * embedded database that a server uses, so the command then runs with the stores of the server.
 */
export async function organisationCommand(
  { location, database, vault, rootKey }: TestServer,
  ...args: string[]
): Promise<Record<string, unknown>> {
  if (location.kind === 'embedded') {
    let output = '';
    const log = (line: string) => {
      output += line;
    };
    await parseCommand([...args, '--json'])({ database, vault }, { log });
    return JSON.parse(output);
  }
  using folder = temporaryFolder();
  const environment = {
    DATA_DIR: folder.path,
    DATABASE_URL: location.url.reveal(),
    ...(location.directUrl && { DATABASE_DIRECT_URL: location.directUrl.reveal() }),
    ENCRYPTION_KEYS: rootKey,
  };
  const { code, stdout, stderr } = await runProgram('admin', environment, 'organisation', ...args, '--json');
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
