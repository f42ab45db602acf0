import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gql } from 'graphql-request';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
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

describe('the app in docs/adding-an-app.md', () => {
  let fake: TestOkta;
  let server: TestServer;
  // In test/, so that imports of packages resolve; the example itself is written for src/apps/.
  const file = join(root, 'test', `.acme-${process.pid}.ts`);
  beforeAll(async () => {
    const [block] = readPages()
      .flatMap(codeBlocks)
      .filter(({ code }) => code.includes('export function acme('));
    const apps = pathToFileURL(join(root, 'src/apps/acme/'));
    const imports = /(?<=from ')\.\.?\/[^']+/g;
    writeFileSync(file, block?.code.replace(imports, (path) => new URL(path, apps).pathname) ?? '');
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
