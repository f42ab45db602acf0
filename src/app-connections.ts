#!/usr/bin/env -S node --disable-warning=ExperimentalWarning --max-old-space-size=512 --heap-growing-percent=100 --max-semi-space-size=16 --no-allocation-site-pretenuring
// The command of the released package. It imports everything else dynamically, so that it can report a Node that is too old,
// and so that compiled code is cached.
import * as nodeModule from 'node:module';

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 22 || (major === 22 && minor < 19)) {
  console.error(`Cannot run: Node 22.19 or newer is needed, and this is ${process.version}`);
  process.exitCode = 1;
} else {
  nodeModule.enableCompileCache?.();
  const { runCommandLine } = await import('./cli/command-line.ts');
  await runCommandLine(process.argv.slice(2), async (args) => {
    process.argv = [process.execPath, 'app-connections start', ...args];
    await import('./main.ts');
  });
}
