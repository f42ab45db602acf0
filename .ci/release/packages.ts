import { cpSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

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
  dependencies?: Record<string, string>;
}

/** Reads the packages at these paths from the lockfile, sorted by path. */
export function readPackages(root: string, paths: ReadonlySet<string>): LockedPackage[] {
  const lock: { packages: Record<string, LockEntry> } = JSON.parse(
    readFileSync(join(root, 'package-lock.json'), 'utf8'),
  );
  return [...paths].sort().map((path) => {
    const entry = lock.packages[path];
    if (!entry) throw new Error(`${path} is bundled, but not in package-lock.json`);
    const { version, license, integrity, resolved, dependencies = {} } = entry;
    const name = path.replace(/^.*node_modules\//, '');
    return { path, name, version, license, integrity, resolved, dependencies: Object.keys(dependencies) };
  });
}

/** Types, source maps and documents, and what of PGlite the server does not load: extensions, and the CommonJS twin. */
const isNotNeeded =
  /\.(map|[cm]?tsx?|cjs|md)$|\/pglite\/(src|dist\/(contrib|live|worker|[\w-]+\.tar\.gz))($|\/)/i;

/** Copies packages with their licences, without what a running server does not read. */
export function copyPackages(root: string, names: readonly string[], folder: string): void {
  for (const name of names) {
    const path = join('node_modules', name);
    cpSync(join(root, path), join(folder, path), {
      recursive: true,
      filter: (source) => !isNotNeeded.test(source.slice(root.length)),
    });
  }
}

/** Collects the texts of the licences of packages, which have to accompany their code. */
export function collectLicences(root: string, packages: readonly LockedPackage[]): string {
  return packages
    .map(({ path, name, version, license }) => {
      const files = readdirSync(join(root, path)).filter((file) => /^(licen[cs]e|notice)/i.test(file));
      const texts = files.sort().map((file) => readFileSync(join(root, path, file), 'utf8').trim());
      return [`${name} ${version}: ${license}`, ...texts].join('\n\n');
    })
    .join(`\n\n${'-'.repeat(80)}\n\n`)
    .concat('\n');
}
