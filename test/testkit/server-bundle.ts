import { copyFileSync, globSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildTestServer } from '../../.ci/release/build.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** Node caches compiled code by its path, so each run has the same one. */
const folder = join(root, 'node_modules/.test-server');

/**
 * Bundles the server for the processes that tests start.
 *
 * @returns the path of its command
 */
export async function bundleServer(): Promise<string> {
  const made = `${folder}.${process.pid}`;
  try {
    await buildTestServer(join(made, 'dist/server'));
    copyFileSync(join(root, 'package.json'), join(made, 'package.json'));
    symlinkSync(join(root, 'dist/dashboard'), join(made, 'dist/dashboard'));
    // Another run may use the same.
    if (read(made) !== read(folder)) {
      rmSync(folder, { recursive: true, force: true });
      renameSync(made, folder);
    }
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
  return join(folder, 'dist/server/app-connections.mjs');
}

function read(cwd: string): string {
  const files = globSync('{package.json,dist/server/*}', { cwd }).sort();
  return files.map((file) => `${file}\n${readFileSync(join(cwd, file), 'utf8')}`).join('\n');
}
