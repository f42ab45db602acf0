// Runs a program, such as `npm start`, `npm run admin` or `npm test`. It is JavaScript for Node 18 and newer, because it
// reports a Node that is too old, and packages that are not installed.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const neededMajor = 24;

/**
 * Programs by name, and the start of the message if a program cannot run. The server and the tests run when they are
 * imported; the others export `run`, a `Program` of src/cli/program.ts.
 */
const programs = {
  start: { file: 'src/main.ts', cannot: 'Cannot start' },
  admin: { file: 'src/cli/admin.ts', cannot: 'Command failed' },
  keys: { file: 'src/cli/encryption-keys.ts', cannot: 'Command failed' },
  doctor: { file: 'src/cli/doctor.ts', cannot: 'Cannot check' },
  migrate: { file: 'src/cli/migrate.ts', cannot: 'Cannot migrate' },
  'audit:export': { file: 'src/cli/export-audit.ts', cannot: 'Cannot export' },
  'audit:verify': { file: 'src/cli/verify-audit.ts', cannot: 'Cannot verify' },
  export: { file: 'src/cli/export.ts', cannot: 'Cannot export' },
  import: { file: 'src/cli/import.ts', cannot: 'Cannot import' },
  test: { file: 'node_modules/vitest/vitest.mjs', cannot: 'Cannot test' },
};

const [name, ...args] = process.argv.slice(2);
const program = programs[name];

if (!program) fail(`Cannot run: src/launch.js takes one of ${Object.keys(programs).join(', ')}`);
else if (isNewEnough(process.version)) await runHere();
else runWith(installedNode());

function isNewEnough(version) {
  return Number(/^v?(\d+)/.exec(version)[1]) >= neededMajor;
}

/** Runs the program in this process. A child process would start more slowly and have to receive signals from here. */
async function runHere() {
  const file = join(root, program.file);
  if (name !== 'test') {
    // Child processes of the program inherit the cache.
    process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules/.cache');
    nodeModule.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  }
  process.argv = [process.argv[0], file, ...args];
  // Otherwise Node exits with code 13 and a message about a line of this file.
  const reportUnsettled = () => {
    fail(`${program.cannot}: an operation never ended; this is a bug in the server, please report it`);
    process.exit();
  };
  process.once('beforeExit', reportUnsettled);
  try {
    const { run } = await import(pathToFileURL(file).href);
    if (run) {
      process.stdout.on('error', endWithOutput);
      const { env: environment } = process;
      process.exitCode = await run({ args, environment, terminal: console, ownsProcess: true });
    }
    process.off('beforeExit', reportUnsettled);
  } catch (error) {
    process.off('beforeExit', reportUnsettled);
    fail(`${program.cannot}: ${describeLoadError(error)}`);
  }
}

/** Finds the Node of the package `node`, if it runs on this machine. The package has no build for musl (Alpine). */
function installedNode() {
  const candidates = ['node_modules/node/bin/node', 'node_modules/node/bin/node.exe'].map((path) =>
    join(root, path),
  );
  return candidates.find((path) => {
    if (!existsSync(path)) return false;
    const { status, stdout } = spawnSync(path, ['--version'], { encoding: 'utf8' });
    return status === 0 && isNewEnough(stdout);
  });
}

/** Runs this file with a newer Node in a child process. Forwards signals to it, and exits as it does. */
function runWith(node) {
  if (node === undefined) {
    fail(
      `${program.cannot}: Node ${neededMajor} or newer is needed, and this is ${process.version}; install it, or have ` +
        '"npm install --include=dev" bring it (its install script has to be allowed; it has none for Alpine)',
    );
    return;
  }
  const child = spawn(node, [...process.execArgv, fileURLToPath(import.meta.url), name, ...args], {
    stdio: 'inherit',
  });
  const signals = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR2'];
  const forward = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, forward);
  // npm does not forward SIGHUP; a new parent process shows that npm has ended.
  const parent = process.ppid;
  const timer = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(timer);
    forward('SIGHUP');
  }, 1000).unref();
  child.once('error', (error) => fail(`${program.cannot}: ${node} cannot be run (${error.code})`));
  child.once('exit', (code, signal) => {
    for (const each of signals) process.off(each, forward);
    if (signal) process.kill(process.pid, signal);
    else process.exit(code);
  });
}

/** Describes why a program could not be loaded. Programs report later errors themselves. */
function describeLoadError(error) {
  const { code, message } = Object(error);
  const [, missing] = /^Cannot find (?:package|module) '([^']+)'/.exec(message) ?? [];
  if (code === 'ERR_MODULE_NOT_FOUND' && missing) {
    const dev = name === 'test' ? ' --include=dev' : '';
    return `${missing.replace(root, '.')} is not installed; run "npm install${dev}"`;
  }
  return `${Object(error).name ?? 'error'}${code ? ` (${code})` : ''} while loading ${program.file}; run "npm install" again`;
}

/** Ends the process once nobody reads its output, as after `| head`, or the disk is full. */
function endWithOutput({ code }) {
  if (code !== 'EPIPE') fail(`Standard output cannot be written (${code}); what was printed is not complete`);
  process.exit();
}

function fail(text) {
  console.error(text);
  process.exitCode = 1;
}
