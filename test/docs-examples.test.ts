import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addOrganisation } from '../src/administration/organisations.ts';
import { Secret } from '../src/common/secret.ts';
import { firstOrganisation, firstProjectId } from '../src/identity/organisations.ts';
import { type CodeBlock, codeBlocks, readPages, root } from './testkit/documents.ts';
import { type OktaStandIn, startOktaStandIn } from './testkit/okta-standin.ts';
import { closedPort, until } from './testkit/process.ts';
import { createConnectionOverRest, restClient } from './testkit/rest.ts';
import { startTestServer, type TestServer } from './testkit/server.ts';
import { createEndpoint } from './testkit/webhook-receiver.ts';

const run = promisify(execFile);
const blocks = readPages().flatMap(codeBlocks);

describe('examples in the documentation', () => {
  const trustedHosts = new Set<string>();
  let okta: OktaStandIn;
  let server: TestServer;
  let folder: string;
  beforeAll(async () => {
    okta = await startOktaStandIn();
    trustedHosts.add(okta.hostPort);
    server = await startTestServer({
      webhookIntervalMs: 50,
      config: { trustedInstanceHosts: trustedHosts },
    });
    folder = await mkdtemp(join(tmpdir(), 'app-connections-docs-'));
    // The folder in which the server was started has this layout.
    const key = 'docs-key-docs-key-docs-key-docs-key-docs-key';
    const em = server.asOwner();
    await addOrganisation(em, server.vault, firstOrganisation(new Secret(key)));
    await em.flush();
    await mkdir(join(folder, '.data'));
    await writeFile(join(folder, '.data/api-key'), `${key}\n`);
    await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  });
  afterAll(async () => {
    await server.close();
    await okta[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  /** The code, with the address of the server under test. */
  const runnable = ({ code }: CodeBlock) => code.replaceAll('http://127.0.0.1:4000', server.url);

  it.each(blocks.filter(({ code }) => code.includes('curl ') && !code.includes('/proxy/')))(
    'create a connection with the curl command in $page',
    async (block) => {
      const { stdout } = await run('sh', ['-c', runnable(block)], { cwd: folder });
      const output = JSON.parse(stdout);
      const { appConnection } = output.data?.createOktaConnection ?? output;
      expect(appConnection).toMatchObject({ id: expect.any(String), name: expect.any(String) });
      if (output.data) expect(appConnection.verification).toEqual({ status: 'VERIFIED' });
      else
        expect(appConnection).toMatchObject({ app: 'okta', method: 'api-token', projectId: firstProjectId });
    },
  );

  it('include curl commands for GraphQL and REST', () => {
    const commands = blocks.filter(({ code }) => code.includes('curl ')).map(({ code }) => code);
    expect(commands.some((code) => code.includes('/graphql'))).toBe(true);
    expect(commands.some((code) => code.includes('/api/v1/'))).toBe(true);
  });

  it.each(blocks.filter(({ language }) => language === 'sh'))(
    'are shell commands, not only assignments of variables, which a started server would not see: $page',
    async ({ code }) => {
      await run('sh', ['-n', '-c', code]);
      expect(code.replaceAll('\\\n', '')).not.toMatch(/^(\w+=\S*\s*)+$/);
    },
  );

  it.each(blocks.filter(({ language }) => language === 'json'))('are JSON in $page', ({ code }) => {
    expect(JSON.parse(code)).toEqual(expect.any(Object));
  });

  it('create a connection with the script, whose second run prints the error without the token', async () => {
    const script = join(folder, 'create.mjs');
    await writeFile(script, runnable(find('README.md', 'import { ClientError')));
    const env = { ...process.env, OKTA_API_TOKEN: '00planted-planted-planted-planted' };
    const first = await run(process.execPath, [script], { cwd: folder, env });
    expect(first.stdout).toContain("name: 'made-by-a-script'");
    expect(first.stdout).toContain('ada.admin@example.com');
    const second = await run(process.execPath, [script], { cwd: folder, env }).catch((error) => error);
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/^NAME_TAKEN /);
    expect(second.stderr).not.toContain('00planted');
  });

  it('read users and applications of the fake Okta in docs/using-connections.md', async () => {
    const { client, apiKey } = await server.newOrganisation();
    const { id: connectionId } = await createConnectionOverRest(restClient(server.url, apiKey));
    const { code } = find('docs/using-connections.md', 'oktaUsers(');
    const data = await client.request<Record<string, { nodes: object[] }>>(code, { connectionId });
    expect(data).toMatchObject({
      oktaUsers: {
        nodes: [
          { profile: { login: 'ada.admin@example.com', department: 'IT' } },
          { groups: { nodes: [{}, { profile: { name: 'Engineering' } }] } },
        ],
        pageInfo: { hasNextPage: true },
      },
      oktaApplications: {
        nodes: [{ label: 'Issue tracker', assignedUsers: { nodes: [{ user: { profile: {} } }, {}] } }],
      },
    });
  });

  it('set the use policy, and read the audit trail and the usage of a connection, in docs/using-connections.md', async () => {
    const { client, apiKey } = await server.newOrganisation();
    const { id } = await createConnectionOverRest(restClient(server.url, apiKey));
    const request = (text: string) =>
      client.request(find('docs/using-connections.md', text).code.replaceAll('<CONNECTION-ID>', id));
    expect(await request('updateUsePolicy(')).toMatchObject({
      updateUsePolicy: { usePolicy: { version: 2, rules: [{ effect: 'DENY' }, { effect: 'ALLOW' }] } },
    });
    expect(await request('writesOnly: true')).toEqual({ auditEvents: { nodes: [] } });
    const usage = { total: { calls: 0 }, callers: [] };
    expect(await request('usage(')).toMatchObject({ appConnection: { lastUsedAt: null, usage } });
    expect(await request('usedBy {')).toEqual({ appConnection: { usedBy: [] } });
  });

  it('read every page of users, and create a group, with the scripts in docs/using-connections.md', async () => {
    const { apiKey } = await server.newOrganisation();
    const rest = restClient(server.url, apiKey);
    const credentials = { instanceUrl: okta.origin, apiToken: 'a-good-token' };
    const { id } = await createConnectionOverRest(rest, { credentials });
    await rest('PUT', `/api/v1/app-connections/okta/${id}/use-policy`, { preset: 'READ_WRITE' });
    const runScript = async (text: string) => {
      const script = join(folder, 'use.mjs');
      const code = runnable(find('docs/using-connections.md', text));
      await writeFile(script, code.replaceAll('<CONNECTION-ID>', id));
      const env = { ...process.env, CONNECTIONS_API_KEY: apiKey };
      return (await run(process.execPath, [script], { cwd: folder, env })).stdout.trim().split('\n');
    };
    const logins = await runScript('pageInfo.hasNextPage');
    expect(new Set(logins).size).toBe(250);
    await okta.takeJournal();
    expect(await runScript('JSON.stringify({ profile')).toEqual([expect.stringMatching(/^00g\w{17}$/)]);
    const [request] = await okta.takeJournal();
    expect(Buffer.from(request?.body ?? '', 'base64').toString()).toBe(
      '{"profile":{"name":"Everyone in Berlin"}}',
    );
  });

  it('print an event with the receiver in docs/webhooks.md, and refuse what is not signed', async () => {
    const { client, apiKey } = await server.newOrganisation();
    const port = await closedPort();
    trustedHosts.add(`127.0.0.1:${port}`);
    const url = `http://127.0.0.1:${port}/`;
    const { secret } = await createEndpoint(client, { url });
    const script = join(folder, 'receive.mjs');
    await writeFile(script, find('docs/webhooks.md', 'createServer').code);
    const env = { ...process.env, WEBHOOK_SECRET: secret, PORT: String(port) };
    const receiver = spawn(process.execPath, [script], { cwd: folder, env });
    let output = '';
    receiver.stdout.on('data', (chunk) => {
      output += chunk;
    });
    const post = () => fetch(url, { method: 'POST', body: '{"type":"forged"}' }).catch(() => undefined);
    const refused = await until('the receiver listens', post);
    expect(refused.status).toBe(401);
    const { name } = await createConnectionOverRest(restClient(server.url, apiKey));
    await until('the event is printed', () =>
      output.includes(`connection.created ${name}`) ? true : undefined,
    );
    expect(output).not.toContain('forged');
    receiver.kill();
    await once(receiver, 'exit');
  });

  it('keep a URL with special characters in the environment file when a shell reads it', async () => {
    const url = 'postgresql://user:p%26w@db.example:5432/app?sslmode=verify-full&options=-c%20x&a=b;c#d';
    const { code } = find('docs/operations/production.md', 'cat > production.env');
    const write = code.replace(/postgresql:[^'\n]+/, url);
    const read = 'set -a; . ./production.env; set +a; printf "%s|%s" "$DATABASE_URL" "$NODE_ENV"';
    const { stdout } = await run('sh', ['-c', `${write}\n${read}`], { cwd: folder });
    expect(stdout).toBe(`${url}|production`);
  });
});

function find(page: string, text: string): CodeBlock {
  const found = blocks.find((block) => block.page === page && block.code.includes(text));
  if (!found) throw new Error(`${page} has no code block with ${text}`);
  return found;
}
