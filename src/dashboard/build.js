// Builds the dashboard into dist/dashboard, or into the folder that is named. JavaScript that any Node runs: npm runs
// it at install, with --if-possible, also where neither Vite nor the Node 24 of node_modules has been installed.
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

// Else a test's NODE_ENV would be that of the page too.
process.env.NODE_ENV = 'production';

try {
  const { build } = await import('vite');
  await build({
    root,
    configFile: false,
    // Vite warns of every "use client" of the component library, which says nothing to a browser.
    logLevel: 'error',
    // Relative to the page, which is wherever BASE_PATH or a proxy has put it.
    base: './',
    build: {
      outDir: folder,
      emptyOutDir: true,
      // What is inlined as data: would need a place in the Content-Security-Policy.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      target: 'es2024',
      rolldownOptions: {
        output: {
          // In one piece, what the first load needs compresses best, however what is loaded later shares it.
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
  // An install that brings the server is worth more than none.
  const reason =
    error.code === 'ERR_MODULE_NOT_FOUND'
      ? 'its tools are not installed: npm install --include=dev'
      : `its build has failed (${error.code ?? error.name}): "npm run dashboard" says why`;
  console.log(`The dashboard is not built, because ${reason}`);
  if (!isPrepare) process.exitCode = 1;
}
