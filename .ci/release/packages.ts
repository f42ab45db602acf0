import { cpSync, existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** A package of the lockfile. */
export interface LockedPackage {
  /** Its folder: `node_modules/pino`. */
  path: string;
  name: string;
  version: string;
  license: string | undefined;
  /** `sha512-…` in base64. */
  integrity: string | undefined;
  resolved: string | undefined;
  /** The names of the packages that it imports. */
  dependencies: readonly string[];
}

interface LockEntry {
  version: string;
  license?: string;
  integrity?: string;
  resolved?: string;
  dev?: boolean;
  devOptional?: boolean;
  dependencies?: Record<string, string>;
}

/** Reads the packages that the server needs from the lockfile, sorted by path. */
export function readProductionPackages(root: string): LockedPackage[] {
  const lock: { packages: Record<string, LockEntry> } = JSON.parse(
    readFileSync(join(root, 'package-lock.json'), 'utf8'),
  );
  return Object.entries(lock.packages)
    .filter(([path, entry]) => path !== '' && !entry.dev && !entry.devOptional)
    .filter(([path]) => existsSync(join(root, path)))
    .map(([path, { version, license, integrity, resolved, dependencies = {} }]) => ({
      path,
      name: path.replace(/^.*node_modules\//, ''),
      version,
      license,
      integrity,
      resolved,
      dependencies: Object.keys(dependencies),
    }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Types, source maps and documents, which take two fifths of the space, and extensions of PGlite that the server does not load. */
const isNotNeeded = /\.(map|[cm]?tsx?|md|markdown|tsbuildinfo|flow)$|\/pglite\/dist\/[\w-]+\.tar\.gz$/i;

/** Copies packages with their licences, without what a running server does not read. */
export function copyPackages(root: string, packages: readonly LockedPackage[], folder: string): void {
  for (const { path } of packages) {
    cpSync(join(root, path), join(folder, path), {
      recursive: true,
      // Packages inside of this one have entries of their own.
      filter: (source) =>
        source === join(root, path) || (basename(source) !== 'node_modules' && !isNotNeeded.test(source)),
    });
  }
}
