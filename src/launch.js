// Runs one of our programs: `npm start`, `npm run admin`, `keys`, `audit:verify` and `npm test`. JavaScript that any Node
// from 18 on reads, because it is also what says that the Node here is too old, or that something is not installed.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import * as nodeModule from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const neededMajor = 24;

/** Programs by name, and what each says before the reason when it cannot run. */
const programs = {
  start: { file: 'src/main.ts', cannot: 'Cannot start' },
  admin: { file: 'src/cli/admin.ts', cannot: 'Command failed' },
  keys: { file: 'src/cli/encryption-keys.ts', cannot: 'Command failed' },
  'audit:verify': { file: 'src/cli/verify-audit.ts', cannot: 'Cannot verify' },
  test: { file: 'node_modules/vitest/vitest.mjs', cannot: 'Cannot test' },
};

const [name, ...args] = process.argv.slice(2);
const program = programs[name];

if (!program) end(`Cannot run: src/launch.js takes one of ${Object.keys(programs).join(', ')}`);
else if (isNewEnough(process.version)) await runHere();
else runWith(installedNode());

function isNewEnough(version) {
  return Number(/^v?(\d+)/.exec(version)[1]) >= neededMajor;
}

/** In this process: a second one would cost its start, and stand between signals and the server. */
async function runHere() {
  const file = join(root, program.file);
  if (name !== 'test') {
    // Also for processes that the program starts.
    process.env.NODE_COMPILE_CACHE ??= join(root, 'node_modules/.cache');
    nodeModule.enableCompileCache(process.env.NODE_COMPILE_CACHE);
  }
  process.argv = [process.argv[0], file, ...args];
  // Without it, Node itself would say so, with a line of this file, and end with exit code 13.
  const endUnsettled = () => {
    end(`${program.cannot}: an operation never ended; this is a bug in the server, please report it`);
    process.exit();
  };
  process.once('beforeExit', endUnsettled);
  try {
    await import(pathToFileURL(file).href);
    process.off('beforeExit', endUnsettled);
  } catch (error) {
    process.off('beforeExit', endUnsettled);
    end(`${program.cannot}: ${reasonOf(error)}`);
  }
}

/** The Node that the package `node` has brought, if it runs on this machine: it has none for musl (Alpine). */
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

/** In a process of a newer Node, to which signals are passed on, and which is outlived by a moment. */
function runWith(node) {
  if (node === undefined) {
    end(
      `${program.cannot}: Node ${neededMajor} or newer is needed, and this is ${process.version}; install it, or have ` +
        '"npm install --include=dev" bring it (its install script has to be allowed; it has none for Alpine)',
    );
    return;
  }
  const child = spawn(node, [...process.execArgv, fileURLToPath(import.meta.url), name, ...args], {
    stdio: 'inherit',
  });
  const signals = ['SIGHUP', 'SIGINT', 'SIGTERM'];
  const pass = (signal) => child.kill(signal);
  for (const signal of signals) process.on(signal, pass);
  // SIGHUP to npm ends it without being passed on.
  const parent = process.ppid;
  const looking = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(looking);
    pass('SIGHUP');
  }, 1000).unref();
  child.once('error', (error) => end(`${program.cannot}: ${node} cannot be run (${error.code})`));
  child.once('exit', (code, signal) => {
    for (const each of signals) process.off(each, pass);
    if (signal) process.kill(process.pid, signal);
    else process.exit(code);
  });
}

/** Why a program could not be loaded. Whatever it finds out later, it says itself. */
function reasonOf(error) {
  const { code, message } = Object(error);
  const [, missing] = /^Cannot find (?:package|module) '([^']+)'/.exec(message) ?? [];
  if (code === 'ERR_MODULE_NOT_FOUND' && missing) {
    const dev = name === 'test' ? ' --include=dev' : '';
    return `${missing.replace(root, '.')} is not installed; run "npm install${dev}"`;
  }
  return `${Object(error).name ?? 'error'}${code ? ` (${code})` : ''} while loading ${program.file}; run "npm install" again`;
}

function end(text) {
  console.error(text);
  process.exitCode = 1;
}
