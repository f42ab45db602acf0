// Builds the dashboard into dist/dashboard, or into the folder of the argument. It is JavaScript for any Node, because npm
// runs it at install with --if-possible, even if Vite and the Node 24 of node_modules are not installed.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

const args = process.argv.slice(2);
const isPrepare = args.includes('--if-possible');
const root = dirname(fileURLToPath(import.meta.url));
const folder = resolve(
  args.find((argument) => !argument.startsWith('--')) ?? join(root, '../../dist/dashboard'),
);

// The build would otherwise use the NODE_ENV of a test.
process.env.NODE_ENV = 'production';

try {
  const { build } = await import('vite');
  await build({
    root,
    configFile: false,
    // Vite warns about each "use client" of the component library, which has no effect in a browser.
    logLevel: 'error',
    // Relative to the page, whose path depends on BASE_PATH and proxies.
    base: './',
    build: {
      outDir: folder,
      emptyOutDir: true,
      // The Content-Security-Policy does not allow inlined `data:` URLs.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      target: 'es2024',
      rolldownOptions: {
        output: {
          // One file for the first load compresses better than several, even if later chunks share parts of it.
          codeSplitting: { groups: [{ name: 'initial', tags: ['$initial'] }] },
        },
      },
    },
  });
  const assets = join(folder, 'assets');
  for (const name of readdirSync(assets)) {
    const body = readFileSync(join(assets, name));
    writeFileSync(join(assets, `${name}.br`), brotliCompressSync(body));
    writeFileSync(join(assets, `${name}.gz`), gzipSync(body, { level: 9 }));
  }
} catch (error) {
  if (!isPrepare && error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
  // A failed build of the dashboard must not fail the installation of the server.
  const reason =
    error.code === 'ERR_MODULE_NOT_FOUND'
      ? 'its tools are not installed: npm install --include=dev'
      : `its build has failed (${error.code ?? error.name}): "npm run dashboard" says why`;
  console.log(`The dashboard is not built, because ${reason}`);
  if (!isPrepare) process.exitCode = 1;
}
