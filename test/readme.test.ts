import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { firstOrganisation, firstProjectId } from '../src/access/organisations.ts';
import { addOrganisation } from '../src/administration/organisations.ts';
import { errorCodes } from '../src/errors.ts';
import { Secret } from '../src/secrets/secret.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const run = promisify(execFile);
let readme: string;
let server: TestServer;
let folder: string;

beforeAll(async () => {
  readme = await readFile(join(root, 'README.md'), 'utf8');
  server = await startTestServer();
  folder = await mkdtemp(join(tmpdir(), 'app-connections-readme-'));
  // As the folder looks in which the server was started.
  const key = 'readme-key-readme-key-readme-key-readme-key';
  const em = server.asOwner();
  await addOrganisation(em, server.vault, firstOrganisation(new Secret(key)));
  await em.flush();
  await mkdir(join(folder, '.data'));
  await writeFile(join(folder, '.data/api-key'), `${key}\n`);
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

/** The code block of this language that holds this text, with the address of the server under test. */
function block(language: string, holding: string): string {
  const blocks = [...readme.matchAll(/^```(\w+)\n(.*?)^```$/gms)];
  const [found] = blocks.filter(([, lang, code]) => lang === language && code?.includes(holding));
  if (!found?.[2]) throw new Error(`README.md has no ${language} block with ${holding}`);
  return found[2].replaceAll('http://127.0.0.1:4000', server.url);
}

test("the README's curl command makes a connection, pasted as it is", async () => {
  const { stdout } = await run('sh', ['-c', block('sh', '/graphql')], { cwd: folder });
  expect(JSON.parse(stdout)).toEqual({
    data: {
      createOktaConnection: {
        appConnection: {
          id: expect.any(String),
          name: 'made-with-curl',
          verification: { status: 'VERIFIED' },
        },
      },
    },
  });
});

test("the README's curl command for REST makes a connection, pasted as it is", async () => {
  const { stdout } = await run('sh', ['-c', block('sh', '/api/v1/')], { cwd: folder });
  expect(JSON.parse(stdout)).toMatchObject({
    appConnection: {
      name: 'my-okta-connection',
      app: 'okta',
      method: 'api-token',
      projectId: firstProjectId,
    },
  });
});

test('the README tells every REST route', async () => {
  const { paths } = (await (await fetch(`${server.url}/api/v1/openapi.json`)).json()) as { paths: object };
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
  );
  expect(routes).toContain('DELETE /api/v1/app-connections/okta/:id');
  for (const route of routes) expect(readme).toContain(`| \`${route}\` |`);
});

test("the README's script makes a connection, and the second time says why not without the token", async () => {
  const script = join(folder, 'create.mjs');
  await writeFile(script, block('js', 'graphql-request'));
  const env = { ...process.env, OKTA_API_TOKEN: '00planted-planted-planted-planted' };
  const first = await run(process.execPath, [script], { cwd: folder, env });
  expect(first.stdout).toContain("name: 'made-by-a-script'");
  expect(first.stdout).toContain('ada.admin@example.com');
  const second = await run(process.execPath, [script], { cwd: folder, env }).catch((error) => error);
  expect(second.code).toBe(1);
  expect(second.stderr).toMatch(/^NAME_TAKEN /);
  expect(second.stderr).not.toContain('00planted');
});

test("the README's file of settings keeps a URL whole, whatever is in it, when a shell reads it", async () => {
  const url = 'postgresql://user:p%26w@db.example:5432/app?sslmode=verify-full&options=-c%20x&a=b;c#d';
  const write = block('sh', 'cat > production.env').replace(/postgresql:[^'\n]+/, url);
  const read = 'set -a; . ./production.env; set +a; printf "%s|%s" "$DATABASE_URL" "$NODE_ENV"';
  const { stdout } = await run('sh', ['-c', `${write}\n${read}`], { cwd: folder });
  expect(stdout).toBe(`${url}|production`);
});

test('the README tells every error code', () => {
  for (const code of Object.keys(errorCodes)) expect(readme).toContain(`| \`${code}\` |`);
});

test('the README tells every variable of the configuration', async () => {
  const config = await readFile(join(root, 'src/environment.ts'), 'utf8');
  const names = [...config.matchAll(/^ {2}([A-Z_]{4,}): /gm)].map(([, name]) => name);
  expect(names).toContain('DATABASE_URL');
  for (const name of names) expect(readme).toContain(`\`${name}`);
});

test('the README says why each dependency is there', async () => {
  const { dependencies, devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const table = readme.slice(readme.indexOf('## Dependencies'), readme.indexOf('## Figures'));
  for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
    expect(table).toContain(name.startsWith('@mikro-orm/') ? name.replace('@mikro-orm', '') : `\`${name}\``);
  }
});
