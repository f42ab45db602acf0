import { writeFileSync } from 'node:fs';
import { createServer as createProxyServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codeBlocks, readPages } from './testkit/documents.ts';
import { runProgram } from './testkit/in-process.ts';
import { createConnection, type Listed, listQuery } from './testkit/operations.ts';
import { temporaryFolder } from './testkit/process.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './testkit/server.ts';

const tokens = {
  FIRST_TOKEN: '00planted-for-the-first-connection',
  SECOND_TOKEN: '00planted-for-the-second-connection',
  REVOKED_TOKEN: 'revoked-planted-for-the-third-connection',
};
const stack = new AsyncDisposableStack();
let server: TestServer;
let organisation: TestOrganisation;
let folder: string;
beforeAll(async () => {
  server = stack.use({ ...(await startTestServer()), [Symbol.asyncDispose]: () => server.close() });
  folder = stack.use(temporaryFolder()).path;
});
afterAll(() => stack.disposeAsync());
beforeEach(async () => {
  organisation = await server.newOrganisation();
  writeFileSync(join(folder, 'api-key'), `${organisation.apiKey}\n`);
});

/** Imports a list, and checks that no output has a token. */
async function importList(content: string | Uint8Array, ...args: string[]) {
  const file = join(folder, 'connections');
  writeFileSync(file, content);
  const result = await runProgram(
    'import',
    { DATA_DIR: folder, ...tokens },
    ...['--connections', file, ...(args.includes('--url') ? [] : ['--url', server.url]), ...args],
  );
  expect(foundIn(result.stdout + result.stderr, Object.values(tokens))).toEqual([]);
  return { ...result, stderr: result.stderr.replaceAll(file, 'FILE') };
}

async function listNames(): Promise<string[]> {
  const { appConnections } = await organisation.client.request<Listed>(listQuery);
  return appConnections.nodes.map(({ name }) => name).sort();
}

const url = 'https://example.okta.com';

describe('npm run import -- --connections', () => {
  it('tries, creates and repeats a list of CSV, with tokens of variables and files, in projects by name or id', async () => {
    const payroll = await organisation.newProject('Payroll, Europe');
    writeFileSync(join(folder, 'second.token'), `${tokens.SECOND_TOKEN}\n`);
    const list = [
      '\ufeffname,project,instanceUrl,method,description,tokenEnv,tokenFile',
      `first,,${url},api-token,"With ""quotes"",\r\nand two lines",FIRST_TOKEN,`,
      `second,"Payroll, Europe",${url},,,,second.token`,
      '',
      `first,${payroll.toUpperCase()},${url},API_TOKEN,,FIRST_TOKEN,`,
      '',
    ].join('\r\n');
    const dry = await importList(list, '--dry-run');
    expect([dry.code, dry.stderr]).toEqual([0, '']);
    expect(dry.stdout).toBe(
      `${[
        'line 2  first  can be created: Okta accepts the token',
        'line 4  Payroll, Europe/second  can be created: Okta accepts the token',
        `line 6  ${payroll.toUpperCase()}/first  can be created: Okta accepts the token`,
      ].join('\n')}\n3 can be created, 0 existed already, 0 failed\n`,
    );
    expect(await listNames()).toEqual([]);

    const created = await importList(list, '--json');
    expect([created.code, created.stderr]).toEqual([0, '']);
    const { rows } = JSON.parse(created.stdout);
    expect(rows.map(({ result }: { result: string }) => result)).toEqual(['created', 'created', 'created']);
    expect(await listNames()).toEqual(['first', 'first', 'second']);
    const read = await organisation.client.request(
      'query ($id: UUID!) { appConnection(id: $id) { description projectId verification { status } } }',
      { id: rows[0].id },
    );
    expect(read).toEqual({
      appConnection: {
        description: 'With "quotes",\r\nand two lines',
        projectId: null,
        verification: { status: 'VERIFIED' },
      },
    });
    const events = await organisation.client.request('{ auditEvents(first: 10) { nodes { action } } }');
    expect(JSON.stringify(events).match(/CREATE_CONNECTION/g)).toHaveLength(3);

    const again = await importList(list);
    expect([again.code, again.stderr]).toEqual([0, '']);
    expect(again.stdout).toContain(`line 2  first  exists already, and was not changed (${rows[0].id})\n`);
    expect(again.stdout).toContain('0 created, 3 existed already, 0 failed\n');
    expect(await listNames()).toEqual(['first', 'first', 'second']);
  });

  it('goes on after a row that Okta or the server refuses, and names its line, column and remedy', async () => {
    const list = [
      { name: 'revoked', instanceUrl: url, tokenEnv: 'REVOKED_TOKEN' },
      { name: 'elsewhere', instanceUrl: 'http://example.okta.com/path', tokenEnv: 'FIRST_TOKEN' },
      { name: 'nowhere', project: 'Payrol', instanceUrl: url, tokenEnv: 'FIRST_TOKEN', description: null },
      { name: 'good', instanceUrl: url, tokenEnv: 'FIRST_TOKEN' },
    ];
    await organisation.newProject('payroll');
    for (const args of [['--dry-run'], []]) {
      const { code, stdout, stderr } = await importList(JSON.stringify(list), ...args);
      expect(code).toBe(1);
      expect(stdout).toContain('entry 4  good  c');
      expect(stderr.split('\n')).toEqual([
        expect.stringMatching(/^entry 1.*: .*token.*/i),
        expect.stringMatching(/^entry 2, column instanceUrl: .+/),
        'entry 3, column project: There is no such project. Create it, or leave the cell empty for a connection of the organisation. Did you mean "payroll"?',
        '',
      ]);
    }
    expect(await listNames()).toEqual(['good']);
  });

  it('sends nothing if a cell is wrong, and names all of them', async () => {
    const list = [
      'name,instanceUrl,method,tokenEnv,tokenFile',
      `Not Valid,${url},,FIRST_TOKEN,`,
      `good,${url},,FIRST_TOKEN,`,
      `good,${url},,FIRST_TOKEN,`,
      'without-address,,,FIRST_TOKEN,',
      `other-method,${url},service-app,FIRST_TOKEN,`,
      `without-token,${url},,,`,
      `unset,${url},,UNSET_TOKEN,`,
      `mistaken,${url},,${tokens.SECOND_TOKEN},`,
      `no-file,${url},,,missing`,
    ].join('\n');
    const { code, stdout, stderr } = await importList(list);
    expect([code, stdout]).toEqual([1, '']);
    const lines = stderr.trimEnd().split('\n');
    const expected = [
      /^line 2, column name: The name must be lower-case/,
      /^line 5, column instanceUrl: The address is missing\./,
      /^line 6, column method: Only api-token can be imported\./,
      /^line 7, column tokenEnv: It needs either tokenEnv or tokenFile\./,
      /^line 8, column tokenEnv: The variable UNSET_TOKEN is not set\. Set the variable/,
      /^line 9, column tokenEnv: It names no variable that is set\./,
      /^line 10, column tokenFile: The file cannot be read \(ENOENT\)\./,
      /^line 4, column name: The name is used in line 3 too\./,
      /^Cannot import: --connections FILE: 8 wrong cells; nothing was sent/,
    ];
    expect(lines).toEqual(expected.map((line) => expect.stringMatching(line)));
    expect(await listNames()).toEqual([]);
  });

  it('accepts the list of docs/operations/moving.md', async () => {
    const page = readPages().find(({ path }) => path === 'docs/operations/moving.md');
    const [block] = page ? codeBlocks(page).filter(({ language }) => language === 'csv') : [];
    await organisation.newProject('First project');
    writeFileSync(join(folder, 'partners.token'), tokens.SECOND_TOKEN);
    const { stdout, stderr } = await importList(block?.code.replace('OKTA_MAIN_TOKEN', 'FIRST_TOKEN') ?? '');
    expect(stderr).toBe('');
    expect(stdout).toContain('2 created, 0 existed already, 0 failed\n');
  });

  it('refuses a file with a column for tokens, and files of another form, without repeating a cell', async () => {
    const secret = tokens.FIRST_TOKEN;
    const cases: [content: string, says: string][] = [
      [
        `name,instanceUrl,apiToken\na,${url},${secret}\n`,
        'it has a column "apiToken": tokens must not be in the file',
      ],
      [
        JSON.stringify([{ name: 'a', token: secret }]),
        'it has a column "token": tokens must not be in the file',
      ],
      [`name,instanceUrl,"API key token"\n`, 'tokens must not be in the file'],
      ['name,instancUrl\na,b\n', 'it has an unknown column "instancUrl". Did you mean "instanceUrl"?'],
      ['name,name\na,b\n', 'the column name is there twice'],
      [`name,tokenEnv\na,"${secret}\n`, 'line 2: a quote is not closed'],
      [`name,tokenEnv\na,${secret},x\n`, 'line 2 has 3 cells, and the first line 2'],
      ['[{"name": 1}]', 'entry 1: the member name must be a text'],
      ['{"name": "a"}', 'it is neither CSV with a header nor a JSON list of objects'],
      ['name\n', 'it has no connections'],
      ['', 'it has no connections'],
    ];
    for (const [content, says] of cases) {
      const { code, stdout, stderr } = await importList(content);
      expect([content, code, stdout, stderr]).toEqual([content, 1, '', expect.stringContaining(says)]);
      expect(stderr).toMatch(/^Cannot import: --connections FILE: [^\n]+\n$/);
    }
  });

  it('repeats no token that is in place of a header or of a project, and nothing that controls the terminal', async () => {
    const secret = '00planted-for-the-fourth-connection-0123456';
    const header = 'name,project,instanceUrl,tokenEnv';
    const cases: [content: string, says: string][] = [
      [secret, 'column 1 has an unknown name, and its first line may be missing. The columns are name,'],
      [`SSWS token ${secret}\n`, 'it has a column for tokens: tokens must not be in the file'],
      [JSON.stringify([{ [secret]: 'a' }]), 'a member of entry 1 has an unknown name'],
      [`a,,${url},FIRST_TOKEN\n`, 'it has an unknown column "a".'],
      [`${header}\na,${secret},${url},FIRST_TOKEN\n`, 'line 2, column project: There is no such project.'],
      [`${header}\na,\u001b[2J,${url},FIRST_TOKEN\n`, 'line 2, column project: There is no such project.'],
    ];
    for (const [content, says] of cases) {
      const { code, stdout, stderr } = await importList(content);
      expect([content, code, stderr]).toEqual([content, 1, expect.stringContaining(says)]);
      expect(foundIn(stdout + stderr, [secret.slice(0, 20)])).toEqual([]);
      expect(stdout + stderr).not.toContain('\u001b');
    }
  });

  it('names the encoding or the separator if a spreadsheet has saved another one', async () => {
    const list = `name,instanceUrl,description,tokenEnv\nlatin,${url},München,FIRST_TOKEN\n`;
    const separated = 'separate the cells by commas. The columns are name,';
    const cases: [content: string | Uint8Array, says: string][] = [
      [Buffer.from(`\ufeff${list}`, 'utf16le'), 'it is not encoded in UTF-8; save it as UTF-8'],
      [Buffer.from(list, 'latin1'), 'it is not encoded in UTF-8; save it as UTF-8'],
      [list.replaceAll(',', ';'), separated],
      [list.replaceAll(',', '\t'), separated],
    ];
    for (const [content, says] of cases) {
      const { code, stderr } = await importList(content);
      expect([code, stderr]).toEqual([1, expect.stringContaining(says)]);
    }
    expect(await listNames()).toEqual([]);
    const json = JSON.stringify([{ name: 'json', instanceUrl: url, tokenEnv: 'FIRST_TOKEN' }]);
    expect((await importList(`\ufeff${json}`)).stderr).toBe('');
    expect((await importList(`${list},,,\n,,,\n`)).stderr).toBe('');
    expect(await listNames()).toEqual(['json', 'latin']);
  });

  it('reports a variable that is not set also if it has the name of a member of every object', async () => {
    const names = ['__proto__', 'constructor', 'toString'];
    const rows = names.map((name, index) => `a${index},${url},${name}`);
    const { code, stderr } = await importList(['name,instanceUrl,tokenEnv', ...rows].join('\n'));
    expect([code, stderr.match(/column tokenEnv: It names no variable that is set|is not set/g)]).toEqual([
      1,
      expect.objectContaining({ length: 3 }),
    ]);
    expect(stderr).toContain('3 wrong cells; nothing was sent');
  });

  it('reads 100,000 rows, and finds all wrong cells before it sends anything', async () => {
    const rows = Array.from({ length: 100_000 }, (_, index) => `Row${index},${url},FIRST_TOKEN`);
    const { code, stdout, stderr } = await importList(['name,instanceUrl,tokenEnv', ...rows].join('\n'));
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain('100000 wrong cells; nothing was sent');
    const large = await importList(`name\n${'x'.repeat(17 * 1024 * 1024)}`);
    expect(large.stderr).toContain('has more than 16777216 bytes; import it in several parts');
  });

  it('finds a name that is there twice, once with the name of the project and once with its id', async () => {
    const id = await organisation.newProject('Payroll');
    const list = [
      { name: ' same ', project: ' Payroll ', instanceUrl: url, tokenEnv: 'FIRST_TOKEN' },
      { name: 'same', project: id, instanceUrl: url, tokenEnv: 'SECOND_TOKEN' },
    ];
    const { code, stdout, stderr } = await importList(JSON.stringify(list));
    expect([code, stderr]).toEqual([
      1,
      'entry 2, column name: The name is used in entry 1 too. Choose another name.\n',
    ]);
    expect(stdout).toMatch(/^entry 1 {2}Payroll\/same {2}created/);
  });

  it('prints as JSON what was created before the server has stopped', async () => {
    const rows = ['first', 'second'].map((name) => `${name},${url},FIRST_TOKEN`);
    const list = ['name,instanceUrl,tokenEnv', ...rows].join('\n');
    const proxy = createProxyServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', async () => {
        const body = Buffer.concat(chunks).toString();
        if (body.includes('"second"')) {
          request.socket.destroy();
          return;
        }
        const { authorization = '' } = request.headers;
        const headers = { authorization, 'content-type': 'application/json' };
        const answer = await fetch(server.graphqlUrl, { method: 'POST', headers, body });
        response.writeHead(answer.status).end(await answer.text());
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.address() as AddressInfo;
    const { code, stdout, stderr } = await importList(list, '--url', `http://127.0.0.1:${port}`, '--json');
    proxy.close();
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining('run the command again, which skips what is done'),
    ]);
    expect(JSON.parse(stdout).rows).toMatchObject([{ name: 'first', result: 'created' }]);
  });

  it('reports an API key that is missing or unknown, a server that does not answer, and a URL without TLS', async () => {
    const list = `name,instanceUrl,tokenEnv\na,${url},FIRST_TOKEN\n`;
    const cases: [args: string[], code: number, says: string][] = [
      [
        ['--api-key-file', join(folder, 'missing')],
        1,
        'cannot be read (ENOENT); name a file that has only the key',
      ],
      [['--url', 'http://192.0.2.1'], 1, '--url must begin with https://'],
      [['--url', 'http://127.0.0.1:1'], 1, '127.0.0.1:1: '],
      [['--url', 'connections'], 2, 'The option --url needs the URL of the server'],
      [['--input', 'x'], 2, 'The options --connections and --input exclude each other.'],
    ];
    for (const [args, expected, says] of cases) {
      const { code, stderr } = await importList(list, ...args);
      expect([args, code, stderr]).toEqual([args, expected, expect.stringContaining(says)]);
    }
    writeFileSync(join(folder, 'api-key'), 'not-the-key-of-an-organisation-0123456789');
    const { code, stderr } = await importList(list);
    expect([code, stderr]).toEqual([1, 'Cannot import: No such API key.\n']);
  });

  it('waits when a rate limit is reached', async () => {
    const rates = { windowSeconds: 1, outbound: { points: 2, leaseSize: 1 } };
    const limited = await startTestServer({
      ...{ beside: server, database: server.database, rates },
      config: { rateLimits: true },
    });
    const rows = Array.from({ length: 5 }, (_, index) => `limited-${index},${url},FIRST_TOKEN`);
    const list = ['name,instanceUrl,tokenEnv', ...rows].join('\n');
    const { code, stdout, stderr } = await importList(list, '--url', limited.url, '--json');
    await limited.close();
    expect([code, stderr]).toEqual([0, '']);
    expect(JSON.parse(stdout).rows.map(({ result }: { result: string }) => result)).toEqual(
      Array(5).fill('created'),
    );
  });

  it('names a connection of the same name that belongs to another Okta organisation, and changes nothing', async () => {
    const { id } = await createConnection(organisation, { name: 'of-here' });
    const list = 'name,instanceUrl,tokenEnv\nof-here,https://other.okta.com,FIRST_TOKEN\n';
    for (const args of [['--dry-run'], []]) {
      const { code, stdout, stderr } = await importList(list, ...args);
      expect([code, stdout]).toEqual([1, '0 created, 0 existed already, 1 failed\n']);
      expect(stderr).toMatch(
        /^line 2, column instanceUrl: The connection of this name is one to https:\/\/example\.okta\.com, and was not changed\. Give/,
      );
    }
    const read = await organisation.client.request(
      'query ($id: UUID!) { appConnection(id: $id) { version } }',
      {
        id,
      },
    );
    expect(read).toEqual({ appConnection: { version: 1 } });
  });

  it('leaves a connection of the same name as it is', async () => {
    const { id } = await createConnection(organisation, { name: 'mine', description: 'Keep this' });
    const { stdout } = await importList(
      `name,instanceUrl,description,tokenEnv\nmine,${url},Other,FIRST_TOKEN\n`,
    );
    expect(stdout).toContain(`line 2  mine  exists already, and was not changed (${id})`);
    const read = await organisation.client.request(
      'query ($id: UUID!) { appConnection(id: $id) { description version } }',
      { id },
    );
    expect(read).toEqual({ appConnection: { description: 'Keep this', version: 1 } });
  });
});
