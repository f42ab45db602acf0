import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';

/** V8's optimisation of PGlite's WebAssembly takes half a gigabyte at its peak and gains nothing at the load of one server. */
export const wasmFlags = ['--no-wasm-tier-up', '--no-wasm-dynamic-tiering'];

/**
 * Trades processor time for memory in this process, for programs with an embedded database; for more speed there is
 * PostgreSQL. V8's flags apply to the whole process, so programs call this, not `openEmbedded`.
 */
export function limitMemory(): void {
  for (const flag of [...wasmFlags, '--optimize-for-size']) setFlagsFromString(flag);
}

let compiling: Promise<WebAssembly.Module | undefined> | undefined;

/**
 * Begins to compile PostgreSQL's WebAssembly, which other threads do while this one loads the modules of the server. Call it
 * after `limitMemory`.
 */
export function precompileEmbedded(): void {
  compiling = compileEmbedded().catch(() => undefined);
}

/** Returns what `precompileEmbedded` has compiled; undefined without such a call, or if it failed: then PGlite reports why. */
export async function getPrecompiled(): Promise<WebAssembly.Module | undefined> {
  return compiling;
}

async function compileEmbedded(): Promise<WebAssembly.Module> {
  const entry = createRequire(import.meta.url).resolve('@electric-sql/pglite');
  // Read at once: this thread has no time for callbacks until the modules are loaded.
  return WebAssembly.compile(readFileSync(new URL('pglite.wasm', `file://${entry}`)));
}
