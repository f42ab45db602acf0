import { rolldown } from 'rolldown';

/** The oldest Node that runs the package. */
export const oldestNode = '22.19.0';

/** Modules that are not imported, but started: the command, and the process that creates an embedded database. */
const entries = ['src/app-connections.ts', 'src/database/initialise-embedded.ts'];

/**
 * Writes the server as JavaScript, one file for each module, so that paths between files stay as they are and a stack trace names
 * the module. Packages are not included.
 *
 * @param folder gets the folder `src`
 */
export async function buildServer(folder: string): Promise<void> {
  const build = await rolldown({
    input: entries,
    platform: 'node',
    // rolldown has the helpers of what it transforms.
    external: (id) => /^[^./\0]/.test(id) && !id.startsWith('@oxc-project/runtime'),
    treeshake: false,
    transform: { target: `node${oldestNode}` },
    // Types that only `import type` names would be imported otherwise.
    tsconfig: true,
  });
  await build.write({
    dir: folder,
    format: 'esm',
    preserveModules: true,
    preserveModulesRoot: '.',
    entryFileNames: '[name].js',
    minify: false,
  });
  await build.close();
}
