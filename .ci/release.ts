/**
 * Makes the released package: `npm run release [-- FOLDER]` writes app-connections-VERSION.tgz, its SHA-256, its SBOM and an entry
 * for tests to dist/release, or to the folder. The package contains all packages that it needs, so its installation downloads
 * nothing. The same sources give the same bytes. With `--dashboard FOLDER`, the dashboard is not built, but taken from there.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { buildServer, oldestNode, unbundled } from './release/build.ts';
import { collectLicences, copyPackages, readPackages } from './release/packages.ts';
import { describePackages } from './release/sbom.ts';

const root = resolve(import.meta.dirname, '..');
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { dashboard: { type: 'string' } },
});
const target = resolve(positionals[0] ?? join(root, 'dist/release'));
const built = values.dashboard && resolve(values.dashboard);
const manifest: {
  name: string;
  version: string;
  description: string;
  license: string;
  dependencies: Record<string, string>;
} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const file = `${manifest.name}-${manifest.version}.tgz`;
const serverFolder = 'dist/server';

process.chdir(root);
const folder = mkdtempSync(join(tmpdir(), 'app-connections-release-'));
try {
  const server = join(folder, serverFolder);
  const { packages: paths, testEntry } = await buildServer(root, server);
  const dashboard = join(folder, 'dist/dashboard');
  if (built) cpSync(built, dashboard, { recursive: true });
  else run(process.execPath, 'src/dashboard/build.js', dashboard);
  const packages = readPackages(root, paths);
  copyPackages(root, unbundled, folder);
  const sbom = describePackages(manifest, packages);
  writeFileSync(join(folder, 'sbom.cdx.json'), sbom);
  writeFileSync(join(folder, 'LICENSES'), collectLicences(root, packages));
  for (const name of ['LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md', 'schema.graphql', 'docs'])
    cpSync(name, join(folder, name), { recursive: true, filter: (source) => !source.endsWith('.png') });
  chmodSync(join(server, 'app-connections.js'), 0o755);
  writeFileSync(join(folder, 'package.json'), `${JSON.stringify(releasedManifest(), null, 2)}\n`);
  mkdirSync(target, { recursive: true });
  run('npm', 'pack', folder, '--pack-destination', target, '--ignore-scripts', '--silent');
  const digest = createHash('sha256')
    .update(readFileSync(join(target, file)))
    .digest('hex');
  writeFileSync(join(target, `${file}.sha256`), `${digest}  ${file}\n`);
  writeFileSync(join(target, file.replace(/\.tgz$/, '.cdx.json')), sbom);
  writeFileSync(join(target, file.replace(/\.tgz$/, '.test-entry.js')), testEntry);
  console.log(`${join(target, file)}\nsha256 ${digest}, ${packages.length} packages`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function releasedManifest(): object {
  const { name, version, description, license } = manifest;
  return {
    name,
    version,
    description,
    license,
    type: 'module',
    bin: { 'app-connections': `${serverFolder}/app-connections.js` },
    files: ['dist', 'docs', 'schema.graphql', 'sbom.cdx.json', 'CHANGELOG.md', 'LICENSES', 'SECURITY.md'],
    engines: { node: `>=${oldestNode}` },
    dependencies: Object.fromEntries(unbundled.map((each) => [each, manifest.dependencies[each]])),
    bundleDependencies: unbundled,
  };
}

function run(command: string, ...args: string[]): void {
  const { status } = spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  if (status === 0) return;
  console.error(`${command} ${args[0]} failed`);
  process.exit(1);
}
