import { rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { type OutputChunk, type Plugin, type RolldownOutput, rolldown } from 'rolldown';

/** The oldest Node that runs the package. */
export const oldestNode = '22.19.0';

/** Packages that are not bundled, because they read files beside their modules. */
export const unbundled = ['@electric-sql/pglite'];

/** Modules that are not imported, but started: the command, and the process that creates an embedded database. */
const entries = {
  'app-connections': 'src/app-connections.ts',
  'initialise-embedded': 'src/database/initialise-embedded.ts',
};

/** The bundled server. */
export interface BuiltServer {
  /** The folders of the packages that it contains or imports: `node_modules/pino`. */
  packages: ReadonlySet<string>;
  /** A module with which tests import the modules of `src/` from the bundle. It is no part of the package. */
  testEntry: string;
}

/**
 * Bundles the server and its packages to a few files of JavaScript, which load in half the time of its modules. What a start does not
 * need is in files of its own. Names, lines and the comments with the names of modules stay, for stack traces.
 *
 * @param root the folder of the repository, which is the working directory
 * @param folder gets the files. Their paths in the package have as many parts as those of most modules, because modules find other
 *   files by their own path
 */
export async function buildServer(root: string, folder: string): Promise<BuiltServer> {
  const exported = listExports(root, await bundle(entries, { isComplete: true }));
  const input = { ...entries, [testEntryName]: testEntryName };
  const { output } = await bundle(input, { folder, plugins: [testEntryOf(exported)] });
  const chunks = output.filter((file): file is OutputChunk => file.type === 'chunk');
  const folders = chunks
    .flatMap((chunk) => Object.keys(chunk.modules))
    .map((id) => /^.*\/(node_modules\/.*node_modules\/|node_modules\/)(@[^/]+\/)?[^/]+/.exec(id)?.[0])
    .filter((path) => path !== undefined);
  const testEntry = chunks.find(({ name }) => name === testEntryName);
  rmSync(join(folder, `${testEntryName}.js`));
  return {
    packages: new Set([
      ...folders.map((path) => relative(root, path)),
      ...unbundled.map((name) => `node_modules/${name}`),
    ]),
    testEntry: testEntry?.code ?? '',
  };
}

/**
 * Bundles the server for processes of tests. Its files are named .mjs, so that its messages name the npm scripts of the source tree.
 *
 * @param folder gets `app-connections.mjs` and other files
 */
export async function buildTestServer(folder: string): Promise<void> {
  await bundle(entries, { folder, extension: 'mjs' });
}

interface BundleOptions {
  /** Where the files are written, if anywhere. */
  folder?: string;
  extension?: 'js' | 'mjs';
  /** Keeps what the server does not use. */
  isComplete?: boolean;
  plugins?: Plugin[];
}

async function bundle(
  input: Record<string, string>,
  { folder, extension = 'js', isComplete = false, plugins = [] }: BundleOptions,
): Promise<RolldownOutput> {
  const build = await rolldown({
    input,
    platform: 'node',
    external: unbundled,
    preserveEntrySignatures: 'allow-extension',
    // Tests use exports that the server does not.
    treeshake: !isComplete,
    // As Node resolves it: the ESM twin of graphql would be there too, and their classes are strangers to each other.
    resolve: { mainFields: ['main'] },
    transform: { target: `node${oldestNode}` },
    // Types that only `import type` names would be imported otherwise.
    tsconfig: true,
    // Tests import constants too.
    optimization: { inlineConst: false },
    plugins: [bundleRequired, ...plugins],
  });
  const options = {
    format: 'esm',
    entryFileNames: `[name].${extension}`,
    chunkFileNames: `[name].${extension}`,
    keepNames: true,
    minify: false,
    comments: { legal: true, annotation: false, jsdoc: false },
  } as const;
  const output = await (folder ? build.write({ ...options, dir: folder }) : build.generate(options));
  await build.close();
  return output;
}

/** Bundles packages that modules of `src/` load when they need them. */
const bundleRequired: Plugin = {
  name: 'bundle-required',
  transform: {
    filter: { id: /\/src\/.*\.ts$/, code: /createRequire\(import\.meta\.url\)\('/ },
    handler: (code) => code.replace(/createRequire\(import\.meta\.url\)\('/g, "require('"),
  },
};

const testEntryName = 'test-entry';

/** The names that the modules of `src/` in a bundle export, by their paths. */
function listExports(root: string, { output }: RolldownOutput): Map<string, string[]> {
  const modules = output.flatMap((file) => (file.type === 'chunk' ? Object.entries(file.modules) : []));
  return new Map(
    modules
      .map(([id, module]) => [relative(root, id), module.renderedExports] as const)
      // Modules without exports are started.
      .filter(([path, names]) => /^src\/.*\.ts$/.test(path) && names.length > 0),
  );
}

/**
 * Makes an entry that exports the modules by their paths, with getters, because exports can change; and graphql, whose classes tests need
 * to be those of the schema.
 */
function testEntryOf(exported: ReadonlyMap<string, readonly string[]>): Plugin {
  const modules = [...exported].map(([path, names], index) => ({ path, names, prefix: `m${index}_` }));
  return {
    name: testEntryName,
    resolveId: (id) => (id === testEntryName ? `\0${testEntryName}` : undefined),
    load: (id) =>
      id === `\0${testEntryName}`
        ? [
            ...modules.map(({ path, names, prefix }) => {
              const bindings = names.map((name) => `${name} as ${prefix}${name}`);
              return `import { ${bindings.join(', ')} } from ${JSON.stringify(`${process.cwd()}/${path}`)};`;
            }),
            "import graphql from 'graphql';",
            'export const modules = {',
            'graphql,',
            ...modules.map(({ path, names, prefix }) => {
              const getters = names.map((name) => `get ${name}() { return ${prefix}${name}; }`);
              return `${JSON.stringify(path)}: { ${getters.join(', ')} },`;
            }),
            '};',
          ].join('\n')
        : undefined,
  };
}
