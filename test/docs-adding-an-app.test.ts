import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, test } from 'vitest';
import type { App, AppSettings } from '../src/apps/app.ts';
import { createApps } from '../src/apps/index.ts';
import { codeBlocks, readPages, root } from './testkit/documents.ts';
import { startOkta, type TestOkta } from './testkit/okta.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';

const create = gql`
  mutation ($input: CreateAcmeConnectionInput!) {
    createAcmeConnection(input: $input) {
      appConnection { app method credentials { instanceUrl ... on AcmeCredentials { userName } } verification { status } }
    }
  }
`;

const example =
  readPages()
    .flatMap(codeBlocks)
    .find(({ code }) => code.includes('export function acme('))?.code ?? '';

describe('the app in docs/adding-an-app.md', () => {
  let fake: TestOkta;
  let server: TestServer;
  // In test/, so that imports of packages resolve; the example itself is written for src/apps/.
  const file = join(root, 'test', `.acme-${process.pid}.ts`);
  beforeAll(async () => {
    const apps = pathToFileURL(join(root, 'src/apps/acme/'));
    const imports = /(?<=from ')\.\.?\/[^']+/g;
    writeFileSync(
      file,
      example.replace(imports, (path) => new URL(path, apps).pathname),
    );
    const { acme }: { acme: (settings: AppSettings) => App } = await import(file);
    fake = await startOkta({
      handler: ({ headers: { authorization } }, response) => {
        const isKnown = ['Bearer good-token', `Basic ${btoa('service:good-password')}`].includes(
          `${authorization}`,
        );
        response.writeHead(isKnown ? 200 : authorization?.includes('broken') ? 503 : 401).end('{}');
      },
    });
    const trustedHosts = new Set([fake.hostPort]);
    server = await startTestServer({
      config: { trustedInstanceHosts: trustedHosts },
      apps: [...createApps({ trustedHosts }), acme({ trustedHosts })],
    });
  });
  afterAll(async () => {
    await server?.close();
    await fake?.close();
    rmSync(file, { force: true });
  });

  it.each([
    ['API_TOKEN', { apiToken: 'good-token' }, null],
    ['BASIC_AUTH', { userName: 'service', password: 'good-password' }, 'service'],
  ])('creates connections with the method %s', async (method, credentials, userName) => {
    const { client } = await server.newOrganisation();
    const input = { name: 'acme', method, credentials: { instanceUrl: `${fake.origin}/x`, ...credentials } };
    const { createAcmeConnection } = await client.request<Record<string, object>>(create, { input });
    expect(createAcmeConnection).toEqual({
      appConnection: {
        app: 'ACME',
        method,
        credentials: { instanceUrl: fake.origin, userName },
        verification: { status: 'VERIFIED' },
      },
    });
  });

  it('names the missing fields of a method', async () => {
    const { client } = await server.newOrganisation();
    const input = { name: 'acme', method: 'BASIC_AUTH', credentials: { instanceUrl: fake.origin } };
    const error = await client.request(create, { input }).catch((thrown) => thrown);
    expect(error.response.errors[0].extensions.issues).toEqual([
      { path: ['input', 'credentials', 'userName'], message: 'User name is missing.' },
      { path: ['input', 'credentials', 'password'], message: 'Password is missing.' },
    ]);
  });

  it.each([
    ['wrong', 'CREDENTIALS_REJECTED'],
    ['broken', 'UPSTREAM_UNREACHABLE'],
  ])('reports a token that is %s as %s', async (apiToken, code) => {
    const { client } = await server.newOrganisation();
    const input = { name: 'acme', method: 'API_TOKEN', credentials: { instanceUrl: fake.origin, apiToken } };
    const error = await client.request(create, { input }).catch((thrown) => thrown);
    expect(error.response.errors[0].extensions.code).toBe(code);
  });
});

test('the app in docs/adding-an-app.md needs one folder and one line: code generation, types and lint accept it', async () => {
  const copy = mkdtempSync(join(tmpdir(), 'app-connections-acme-'));
  onTestFinished(() => rmSync(copy, { recursive: true }));
  for (const name of ['src', '.config', 'biome.json', 'tsconfig.json', 'package.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  mkdirSync(join(copy, 'src/apps/acme'));
  writeFileSync(join(copy, 'src/apps/acme/acme.ts'), example);
  const list = join(copy, 'src/apps/index.ts');
  const listed = readFileSync(list, 'utf8')
    .replace(/^import type/, "import { acme } from './acme/acme.ts';\n$&")
    .replace('okta(settings)', '$&, acme(settings)');
  writeFileSync(list, listed);

  const run = async (file: string, ...args: string[]) =>
    promisify(execFile)(file, args, { cwd: copy }).catch(({ stdout, stderr }) => {
      throw new Error(`${stdout}${stderr}`);
    });
  const bin = (name: string) => join(copy, 'node_modules/.bin', name);
  await run(process.execPath, 'src/cli/codegen.ts', 'schema');
  await run(process.execPath, 'src/cli/codegen.ts', 'operations');
  await run(bin('tsc'), '-p', 'src/dashboard');
  await run(bin('biome'), 'ci', '--vcs-enabled=false', 'src/apps');
}, 120_000);
