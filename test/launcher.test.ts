import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { dataFolder, testDatabaseUrl } from './testkit/database.ts';
import { compileCache, temporaryFolder, until } from './testkit/process.ts';

// Each test starts processes, and the machine may be busy.
vi.setConfig({ testTimeout: 120_000 });

const root = dirname(dirname(fileURLToPath(import.meta.url)));

interface Program {
  pid: number;
  /** The output so far, stdout and stderr. */
  output(): string;
  /** The exit code or the signal. */
  ended: Promise<number | string>;
}

/** Runs a command in its own process group, which ends with the test. */
function run(
  command: string,
  args: string[],
  { cwd = root, env = {} }: { cwd?: string; env?: object } = {},
): Program {
  const child = spawn(command, args, {
    cwd,
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: '0',
      NODE_COMPILE_CACHE: compileCache,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const pid = child.pid ?? 0;
  onTestFinished(() => {
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // The whole process group has ended.
    }
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal);
  return { pid, output: () => output, ended };
}

const waitForUrl = ({ output }: Program) =>
  until('the server is ready', () => /GraphiQL +(http:\/\/127\.0\.0\.1:\d+)\//.exec(output())?.[1]);

async function isRefused(url: string): Promise<boolean> {
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  const outcome = await Promise.race([
    once(socket, 'connect').then(() => 'open'),
    once(socket, 'error'),
  ]).catch(() => 'refused');
  socket.destroy();
  return outcome !== 'open';
}

// These tests do not depend on the kind of database.
const onEmbedded = describe.skipIf(testDatabaseUrl);

onEmbedded('a signal to npm start', () => {
  const start = (folder: string) => run('npm', ['start'], { env: { DATA_DIR: folder } });

  it.each(['SIGTERM', 'SIGINT'] as const)('shuts down gracefully on %s', async (signal) => {
    using folder = dataFolder();
    const npm = start(folder.path);
    const url = await waitForUrl(npm);
    process.kill(npm.pid, signal);
    await npm.ended;
    expect(await isRefused(url)).toBe(true);
    expect(npm.output()).not.toMatch(/ at /);
  });

  it('reloads its keys on SIGHUP and continues to serve', async () => {
    using folder = dataFolder();
    const npm = start(folder.path);
    const url = await waitForUrl(npm);
    process.kill(npm.pid, 'SIGHUP');
    await until(
      'it has reloaded its keys',
      () => npm.output().includes('reloaded the encryption keys') || undefined,
    );
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
  });

  it('shuts down gracefully on Ctrl-C, which reaches npm and the server, and the server again through npm', async () => {
    using folder = dataFolder();
    const npm = start(folder.path);
    await waitForUrl(npm);
    process.kill(-npm.pid, 'SIGINT');
    await npm.ended;
    expect(npm.output()).not.toMatch(/SIGINT|ELIFECYCLE| at /);
  });
});

/** Makes a Node print the URL of each module that it loads. */
const reportLoads = `
import { writeSync } from 'node:fs';
import { registerHooks } from 'node:module';
registerHooks({
  load: (url, context, next) => {
    writeSync(1, url + '\\n');
    return next(url, context);
  },
});`;

onEmbedded('a start on the embedded database', () => {
  it('loads no package that the server needs only later, or not at all', async () => {
    using data = dataFolder();
    const hook = `data:text/javascript,${encodeURIComponent(reportLoads)}`;
    const program = run(process.execPath, ['--import', hook, 'src/launch.js', 'start'], {
      env: { DATA_DIR: data.path },
    });
    await waitForUrl(program);
    const [loaded = ''] = program.output().split('App Connections is ready');
    const packages = [...loaded.matchAll(/\/node_modules\/((?:@[^/]+\/)?[^/]+)\/(?!.*\/node_modules\/)/g)];
    const names = new Set(packages.map(([, name]) => name));
    expect(names).toContain('@electric-sql/pglite');
    for (const late of ['pg', 'pg-boss', 'undici', 'nodemailer', 'prom-client', '@opentelemetry/api'])
      expect(names).not.toContain(late);
    for (const late of ['@aws-sdk/client-kms', '@graphql-yoga/render-graphiql', '@mikro-orm/postgresql'])
      expect(names).not.toContain(late);
  });
});

describe("V8's options", () => {
  const optionsOf = (path: string, line: RegExp) => {
    const [text = ''] = line.exec(readFileSync(join(root, path), 'utf8')) ?? [];
    return (text.match(/--[\w-]+(?:=\w+)?/g) ?? []).filter(
      (option) => !option.startsWith('--disable-warning'),
    );
  };

  it('are the same for npm start, for the command of the released package, and in the container image', () => {
    const options = optionsOf('package.json', /^ *"start": .*/m);
    expect(options).toContain('--max-old-space-size=512');
    expect(optionsOf('src/app-connections.ts', /^#!.*/)).toEqual(options);
    expect(optionsOf('deploy/Dockerfile', /^ENTRYPOINT .*/m)).toEqual(options);
  });
});

/** Copies the project with all packages except the given ones. */
function copyWithout(...packages: string[]): Disposable & { path: string } {
  const folder = temporaryFolder();
  cpSync(join(root, 'src'), join(folder.path, 'src'), { recursive: true });
  cpSync(join(root, 'package.json'), join(folder.path, 'package.json'));
  const scopes = readdirSync(join(root, 'node_modules')).filter((name) => !name.startsWith('.'));
  for (const name of scopes) {
    const inside = name.startsWith('@') ? readdirSync(join(root, 'node_modules', name)) : [''];
    for (const each of inside.map((part) => join(name, part))) {
      if (packages.includes(each)) continue;
      mkdirSync(join(folder.path, 'node_modules', dirname(each)), { recursive: true });
      symlinkSync(join(root, 'node_modules', each), join(folder.path, 'node_modules', each));
    }
  }
  return folder;
}

/** Makes a Node report version 20, but not its child processes. */
const isOld = `
if (process.env.NODE_IS_OLD) {
  delete process.env.NODE_IS_OLD;
  Object.defineProperty(process, 'version', { value: 'v20.11.0' });
}`;

onEmbedded('launching with missing packages', () => {
  let bare: ReturnType<typeof copyWithout>;
  beforeAll(() => {
    bare = copyWithout('node', 'vite', 'vitest', 'zod');
    writeFileSync(join(bare.path, 'old.cjs'), isOld);
  });
  afterAll(() => bare[Symbol.dispose]());

  const launch = (cwd: string, name: string, env: object = {}) =>
    run(process.execPath, ['--require', join(bare.path, 'old.cjs'), 'src/launch.js', name], { cwd, env });

  it.each(['start', 'admin', 'keys', 'audit:verify', 'test'])(
    'prints one line when Node is too old: %s',
    async (name) => {
      const program = launch(bare.path, name, { NODE_IS_OLD: '1' });
      expect(await program.ended).toBe(1);
      expect(program.output()).toMatch(
        /^(Cannot start|Cannot verify|Cannot test|Command failed): Node 24 or newer is needed, and this is v20\.11\.0; install [^\n]+\n$/,
      );
    },
  );

  it('ignores a packaged Node that the machine cannot run, as on Alpine', async () => {
    using copy = copyWithout('node');
    const bin = join(copy.path, 'node_modules/node/bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, 'node'), '#!/lib64/there-is-no-such-loader\n');
    chmodSync(join(bin, 'node'), 0o755);
    const program = launch(copy.path, 'start', { NODE_IS_OLD: '1' });
    expect(await program.ended).toBe(1);
    expect(program.output()).toMatch(/^Cannot start: Node 24 or newer is needed[^\n]+\n$/);
  });

  it.each([
    ['start', 'zod', 'npm install'],
    ['admin', 'zod', 'npm install'],
    ['audit:verify', 'zod', 'npm install'],
    ['test', './node_modules/vitest/vitest.mjs', 'npm install --include=dev'],
  ])('prints one line when a package is missing: %s without %s', async (name, missing, remedy) => {
    const program = launch(bare.path, name);
    expect(await program.ended).toBe(1);
    expect(program.output()).toMatch(/^(Cannot [a-z]+|Command failed)[^\n]*\n$/);
    expect(program.output()).toContain(`: ${missing} is not installed; run "${remedy}"\n`);
  });

  it('prints one line when a lazily loaded package is missing', async () => {
    using copy = copyWithout('@electric-sql/pglite');
    using data = temporaryFolder();
    const program = launch(copy.path, 'start', { DATA_DIR: data.path });
    expect(await program.ended).toBe(1);
    expect(program.output()).toMatch(
      /Cannot start: [^\n]*@electric-sql\/pglite is not installed; run "npm install"\n$/,
    );
    expect(program.output()).not.toMatch(/\n\s+at /);
  });

  it('prints one line when the server gets an unknown argument', async () => {
    const program = run(process.execPath, ['src/launch.js', 'start', '--opne']);
    expect(await program.ended).toBe(1);
    expect(program.output()).toBe('Cannot start: npm start accepts only --open\n');
  });

  it('prints one line when the start never ends', async () => {
    using copy = copyWithout();
    writeFileSync(join(copy.path, 'src/main.ts'), 'await new Promise(() => {});');
    const program = run(process.execPath, ['src/launch.js', 'start'], { cwd: copy.path });
    expect(await program.ended).toBe(1);
    expect(program.output()).toMatch(/^Cannot start: [^\n]*, please report it\n$/);
  });

  it('does not fail npm install without the packages that build the dashboard, and prints one line', async () => {
    const prepare = run(process.execPath, ['src/dashboard/build.js', '--if-possible'], { cwd: bare.path });
    expect(await prepare.ended).toBe(0);
    expect(prepare.output()).toMatch(
      /^The dashboard is not built, because its tools are not installed: [^\n]+\n$/,
    );
    const build = run(process.execPath, ['src/dashboard/build.js'], { cwd: bare.path });
    expect(await build.ended).toBe(1);
  });

  it('runs the server with the packaged Node under an old Node, and forwards signals and exit codes', async () => {
    using data = dataFolder();
    using copy = copyWithout();
    const program = launch(copy.path, 'start', { NODE_IS_OLD: '1', DATA_DIR: data.path });
    await waitForUrl(program);
    process.kill(program.pid, 'SIGHUP');
    await until(
      'it has reloaded its keys',
      () => program.output().includes('reloaded the encryption keys') || undefined,
    );
    process.kill(program.pid, 'SIGTERM');
    expect(await program.ended).toBe(0);
    const wrong = launch(copy.path, 'start', { NODE_IS_OLD: '1', PORT: 'http' });
    expect(await wrong.ended).toBe(1);
    expect(wrong.output()).toMatch(/^Cannot start: PORT must be a port number\n$/);
  });
});
