import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Plugin } from 'vite';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A released package, which is tested in place of `src/`: TEST_ARTEFACT=/path/to/app-connections-VERSION.tgz. */
const artefact = process.env.TEST_ARTEFACT;

/** Where it is unpacked. Vitest leaves what is in `node_modules` to Node. */
const folder = join(root, 'node_modules/.artefact/node_modules/app-connections');
const entry = join(folder, 'dist/server/test-entry.js');

/** The command of the package; undefined if `src/` is tested. */
export const artefactCommand = artefact && join(folder, 'dist/server/app-connections.js');

/**
 * Files whose promises are about the source tree: its npm scripts, its linter, its generated files, and what a copy of it does; or that
 * count the objects of libraries, of which the package has copies.
 */
export const sourceOnly = [
  'cache-bounds',
  'docs-adding-an-app',
  'docs-coverage',
  'graphql-schema',
  'launcher',
  'migrations',
  'outbound-import-rule',
  'release',
  'traces-process',
];

/**
 * Makes tests import the modules of the package in place of those of `src/`, and starts its processes in place of those of `src/`.
 *
 * @returns the plugins for Vitest; none if `src/` is tested
 */
export function useArtefact(): Plugin[] {
  if (!artefact) return [];
  unpack(resolve(artefact));
  const virtual = '\0artefact:';
  let modules: Promise<Record<string, object>> | undefined;
  const readModules = () => {
    modules ??= import(pathToFileURL(entry).href).then((loaded) => loaded.modules);
    return modules;
  };
  return [
    {
      name: 'artefact',
      enforce: 'pre',
      async resolveId(source, importer) {
        if (!importer?.startsWith(root) || importer.includes('/node_modules/')) return undefined;
        if (source === 'graphql/index.js') return `${virtual}graphql`;
        if (!source.startsWith('.')) return undefined;
        const path = relative(root, resolve(dirname(importer), source));
        return path in (await readModules()) ? virtual + path : undefined;
      },
      async load(id) {
        if (!id.startsWith(virtual)) return undefined;
        const path = id.slice(virtual.length);
        const names = Object.keys((await readModules())[path] ?? {}).join(', ');
        return [
          `import { modules } from ${JSON.stringify(entry)};`,
          `const { ${names} } = modules[${JSON.stringify(path)}];`,
          `export { ${names} };`,
        ].join('\n');
      },
    },
  ];
}

function unpack(file: string): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  execFileSync('tar', ['-xzf', file, '-C', folder, '--strip-components=1']);
  copyFileSync(file.replace(/\.tgz$/, '.test-entry.js'), entry);
}
