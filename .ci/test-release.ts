/** Makes the released package and runs the tests on it in place of `src/`: `npm run test:release [-- OPTIONS OF VITEST]`. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const { name, version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const folder = join(root, 'dist/release');

run('.ci/release.ts', [folder]);
run('src/launch.js', ['test', 'run', ...process.argv.slice(2)], {
  TEST_ARTEFACT: join(folder, `${name}-${version}.tgz`),
});

function run(script: string, args: string[], environment: Record<string, string> = {}): void {
  const env = { ...process.env, ...environment };
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, env, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
