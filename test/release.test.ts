import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, globSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { delimiter, dirname, extname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import manifest from '../package.json' with { type: 'json' };
import { buildDashboard } from './testkit/dashboard.ts';
import { codeBlocks, readPages, root } from './testkit/documents.ts';
import { temporaryFolder, until } from './testkit/process.ts';

// The machine may be busy, and these tests write and read thousands of files.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 300_000 });

// TEST_NODE=/path/to/node tests the package on another Node, such as the oldest that it supports.
const node = process.env.TEST_NODE ?? process.execPath;
const run = promisify(execFile);
const file = `app-connections-${manifest.version}.tgz`;
const folder = temporaryFolder();
const [made, installed] = [join(folder.path, 'made'), join(folder.path, 'installed')];
const product = join(installed, 'node_modules/app-connections');
/** The environment of a machine with only Node. */
const environment = {
  PATH: `${dirname(node)}${delimiter}/usr/bin${delimiter}/bin`,
  HOME: folder.path,
  PORT: '0',
};

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs the installed command in the folder in which it is installed. */
function command(...args: string[]): Promise<Outcome> {
  return commandWith({}, ...args);
}

async function commandWith(settings: object, ...args: string[]): Promise<Outcome> {
  const bin = join(installed, 'node_modules/.bin/app-connections');
  return run(bin, args, { cwd: installed, env: { ...environment, ...settings } }).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}

async function release(target: string): Promise<void> {
  const dashboard = await buildDashboard();
  await run(process.execPath, [join(root, '.ci/release.ts'), target, '--dashboard', dashboard]);
}

const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

/** The paths of the modules in the bundle, which names each in a comment. */
function readBundledModules(): string[] {
  return globSync('dist/server/*.js', { cwd: product })
    .map((path) => readFileSync(join(product, path), 'utf8'))
    .flatMap((code) => [...code.matchAll(/^\/\/ ((?:src|test|bench|\.ci|node_modules)\/\S+)$/gm)])
    .map(([, path = '']) => path);
}

/** The packages in the bundle, and those beside it, as `name version`. */
function listPackages(): string[] {
  const bundled = readBundledModules()
    .map((path) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path)?.[0])
    .filter((path) => path !== undefined)
    .map((path) => join(root, path));
  const installed = globSync('node_modules/{[^@]*,@*/*}', { cwd: product }).map((path) =>
    join(product, path),
  );
  return [...new Set([...bundled, ...installed])]
    .map((path) => JSON.parse(readFileSync(join(path, 'package.json'), 'utf8')))
    .map(({ name, version }) => `${name} ${version}`);
}

beforeAll(async () => {
  await release(made);
  mkdirSync(installed);
  const npm = ['install', '--offline', '--no-audit', '--no-fund', '--prefix', installed, join(made, file)];
  await run('npm', npm, { cwd: installed });
});
afterAll(() => folder[Symbol.dispose]());

describe('the released package', () => {
  it('has the same bytes when it is made twice, and their SHA-256 beside it', async () => {
    const again = join(folder.path, 'again');
    await release(again);
    expect(sha256(join(again, file))).toBe(sha256(join(made, file)));
    expect(readFileSync(join(made, `${file}.sha256`), 'utf8')).toBe(`${sha256(join(made, file))}  ${file}\n`);
  });

  it('is installed without a download, in less than 50 MB', () => {
    const sizes = globSync('**/*', { cwd: product, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).size);
    expect(sizes.reduce((sum, size) => sum + size, 0) / 1_000_000).toBeLessThan(50);
  });

  it('has JavaScript, and no types, sources, tests or tools', () => {
    const files = globSync('**/*', { cwd: product });
    expect(files.filter((path) => /\.tsx?$|\.map$|^(src|test|bench)(\/|$)|test-entry/.test(path))).toEqual(
      [],
    );
    expect(files).toContain('dist/dashboard/index.html');
    const modules = readBundledModules();
    expect(modules).toContain('src/app/start-server.ts');
    expect(
      modules.filter((path) => /^(test|bench|\.ci)\/|^src\/(cli\/codegen|dashboard)\//.test(path)),
    ).toEqual([]);
    for (const tool of ['vite', 'vitest', 'typescript', 'react', 'playwright-core', 'node', 'rolldown'])
      expect(listPackages()).not.toContainEqual(expect.stringMatching(`^${tool} `));
  });

  it('has one of the twins of graphql, whose classes are strangers to each other', () => {
    const modules = readBundledModules().filter((path) => path.startsWith('node_modules/graphql/'));
    expect(new Set(modules.map(extname))).toEqual(new Set(['.js']));
  });

  it('has the licences of all packages in it', () => {
    const licences = readFileSync(join(product, 'LICENSES'), 'utf8');
    for (const name of listPackages()) expect(licences).toContain(`${name}: `);
  });

  it('has an SBOM in CycloneDX of exactly the packages that it contains', () => {
    const sbom = JSON.parse(readFileSync(join(made, file.replace('.tgz', '.cdx.json')), 'utf8'));
    expect(sbom).toMatchObject({
      bomFormat: 'CycloneDX',
      specVersion: '1.6',
      metadata: { component: { name: 'app-connections', version: manifest.version } },
    });
    const listed = sbom.components.map(({ name, version }: Record<string, string>) => `${name} ${version}`);
    expect(new Set(listed)).toEqual(new Set(listPackages()));
    const refs = new Set(sbom.components.map((component: { 'bom-ref': string }) => component['bom-ref']));
    expect(refs.size).toBe(sbom.components.length);
    for (const { dependsOn } of sbom.dependencies) for (const ref of dependsOn) expect(refs).toContain(ref);
    for (const { hashes } of sbom.components) expect(hashes[0].content).toMatch(/^[0-9a-f]{128}$/);
    expect(readFileSync(join(product, 'sbom.cdx.json'), 'utf8')).toBe(`${JSON.stringify(sbom, null, 2)}\n`);
  });
});

describe('the command of the released package', () => {
  it('prints its version and its help', async () => {
    expect(await command('version')).toEqual({ code: 0, stdout: `${manifest.version}\n`, stderr: '' });
    expect(JSON.parse((await command('--version', '--json')).stdout).version).toBe(manifest.version);
    const help = await command('help');
    for (const name of [
      'start',
      'admin',
      'keys',
      'audit',
      'migrate',
      'export',
      'import',
      'doctor',
      'version',
    ])
      expect(help.stdout).toMatch(new RegExp(`^  ${name} `, 'm'));
    expect((await command('help', 'keys')).stdout).toContain('app-connections keys rotate [--reseal]');
  });

  it.each([
    [['admni'], 'Unknown command "admni". Did you mean "admin"?'],
    [['start', '--opn'], 'Unknown option --opn. Did you mean "--open"?'],
    [['admin', 'organisatons'], 'Unknown command "organisatons". Did you mean "organisations"?'],
    [['keys', 'rotate', '--resael'], 'Unknown option --resael. Did you mean "--reseal"?'],
    [['audit', 'verfy'], 'Unknown command "verfy". Did you mean "verify"?'],
    [['migrate', 'now'], 'Unexpected argument "now".'],
    [['--verison'], 'Unknown option --verison. Did you mean "--version"?'],
    [['audit'], 'A command is missing: verify or export.'],
    [['xyzzy'], 'Unknown command "xyzzy". "app-connections help"'],
    [['constructor'], 'Unknown command "constructor".'],
  ])('exits with code 2 and a suggestion for %j', async (args, message) => {
    const { code, stderr } = await command(...args);
    expect([code, stderr]).toEqual([2, expect.stringContaining(message)]);
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it('says so if the current folder was deleted', async () => {
    const bin = join(installed, 'node_modules/.bin/app-connections');
    const script =
      'mkdir "$HOME/gone" && cd "$HOME/gone" && rmdir "$HOME/gone" && exec "$0" admin organisations';
    const failure = await run('sh', ['-c', script, bin], { env: environment }).catch((error) => error);
    expect([failure.code, failure.stderr]).toEqual([1, expect.stringContaining('folder does not exist')]);
  });

  it('runs with npx in an empty folder, without a download', async () => {
    const cwd = join(folder.path, 'empty');
    mkdirSync(cwd);
    cpSync(join(made, file), join(cwd, file));
    const { stdout } = await run('npx', ['--offline', '--yes', `./${file}`, 'version'], {
      cwd,
      env: environment,
    });
    expect(stdout).toBe(`${manifest.version}\n`);
    expect(readdirSync(cwd)).toEqual([file]);
  });

  it('starts the server on the embedded database, which creates, lists and uses a connection, and stops', async () => {
    const server = await start(installed);
    expect(server.output()).not.toMatch(/warning|npm run/i);
    expect(await (await fetch(`${server.url}/`)).text()).toContain('<div id="root">');
    const [curl] = readPages()
      .flatMap(codeBlocks)
      .filter(({ page, code }) => page === 'README.md' && code.startsWith('curl '));
    const code = curl?.code.replaceAll('http://127.0.0.1:4000', server.url) ?? '';
    const { stdout } = await run('sh', ['-c', code], { cwd: installed });
    const { appConnection } = JSON.parse(stdout).data.createOktaConnection;
    expect(appConnection).toMatchObject({ name: 'made-with-curl', verification: { status: 'VERIFIED' } });
    expect(await server.get('/api/v1/app-connections')).toMatchObject({
      appConnections: [{ id: appConnection.id }],
    });
    const okta = `/api/v1/app-connections/okta/${appConnection.id}/proxy`;
    expect(await server.get(`${okta}/api/v1/users/me`)).toHaveProperty('profile.login');
    expect(await server.get('/api/v1/openapi.json')).toHaveProperty('openapi');
    expect((await command('admin', 'organisations')).stderr).toContain('another server is using this folder');
    expect(await server.stop()).toEqual([0, null]);
  });

  it('administers and verifies what the server has stored', async () => {
    const organisations = await command('admin', 'organisations', '--json');
    expect(JSON.parse(organisations.stdout)).toEqual([
      expect.objectContaining({ id: '6f03caa1-a5de-43ce-b127-95a145d3464c', connections: 1 }),
    ]);
    const keys = await command('keys', 'status', '--json');
    expect(JSON.parse(keys.stdout).rootKeys).toEqual([expect.objectContaining({ connections: 1 })]);
    const audit = await command('audit', 'verify', '--json');
    expect([audit.code, JSON.parse(audit.stdout).problems]).toEqual([0, []]);
    expect((await command('audit', 'export')).stdout).toContain('"made-with-curl"');
    expect((await command('migrate')).stdout).toMatch(/^The database has all \d+ migrations, up to \d{4}-/);
  });

  it('starts again on a copy of the data, with what was stored', async () => {
    const copy = join(folder.path, 'copy');
    cpSync(join(installed, '.data'), join(copy, '.data'), { recursive: true });
    const server = await start(copy);
    expect(await server.get('/api/v1/app-connections')).toMatchObject({
      appConnections: [{ name: 'made-with-curl' }],
    });
    expect(await server.stop()).toEqual([0, null]);
  });

  it.each([
    [['start'], { PORT: 'http' }, 'Cannot start: PORT must be a port number'],
    [['migrate'], { DATABASE_URL: 'postgresql://127.0.0.1:1/none' }, 'Cannot migrate: DATABASE_URL: '],
    [['doctor'], { DATABASE_URL: 'postgresql://127.0.0.1:1/none' }, 'DATABASE_URL'],
  ])('exits with code 1, and no stack trace, for %j with wrong settings', async (args, settings, message) => {
    const { code, stdout, stderr } = await commandWith(settings, ...args);
    expect([code, stdout + stderr]).toEqual([1, expect.stringContaining(message)]);
    expect(stdout + stderr).not.toMatch(/^\s+at |node:internal|dist\/server/m);
  });
});

/** Starts the server in a folder. */
async function start(cwd: string) {
  const server = spawn(join(installed, 'node_modules/.bin/app-connections'), [], {
    cwd,
    env: environment,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => void server.kill('SIGKILL'));
  let output = '';
  for (const stream of [server.stdout, server.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  const closed = once(server, 'close');
  const url = await until(
    'the server is ready',
    () => /GraphiQL +(http\S+)\/graphql/.exec(output)?.[1],
    150_000,
  );
  const apiKey = readFileSync(join(cwd, '.data/api-key'), 'utf8').trim();
  return {
    url,
    output: () => output,
    get: async (path: string) => {
      const response = await fetch(url + path, { headers: { authorization: `Bearer ${apiKey}` } });
      return response.json();
    },
    stop: () => {
      server.kill('SIGTERM');
      return closed;
    },
  };
}
