/** The baseline: only `node:http` and `pg`, without a framework. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createKeyCheck } from './work/access.ts';
import { announce } from './work/announce.ts';
import { makeConnection } from './work/make.ts';
import { Refused } from './work/refused.ts';
import { show, showPage } from './work/shape.ts';
import { openTable } from './work/sql.ts';

const maxBodyBytes = 100_000;
const pageSize = 20;
const table = openTable();
const authenticate = createKeyCheck(table.findKey);

const server = createServer((request, response) => {
  answer(request).then(
    (body) => send(response, 200, body),
    (error: unknown) =>
      error instanceof Refused
        ? send(response, error.statusCode, { errors: [error.message] })
        : send(response, 500, { errors: ['INTERNAL_SERVER_ERROR'] }),
  );
});
server.listen(0, '127.0.0.1', () => {
  announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

async function answer(request: IncomingMessage): Promise<unknown> {
  const { method, url = '' } = request;
  const orgId = await authenticate(request.headers.authorization);
  if (method === 'POST' && url === '/connections') {
    const row = await makeConnection(orgId, JSON.parse(await read(request)));
    await table.add(row);
    return show(row);
  }
  if (method === 'GET' && url === '/connections')
    return showPage(await table.list(orgId, pageSize), pageSize);
  const [, id] = /^\/connections\/([0-9a-f-]{36})$/.exec(url) ?? [];
  const row = method === 'GET' && id && (await table.get(orgId, id));
  if (!row) throw new Refused(404, 'NOT_FOUND');
  return show(row);
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > maxBodyBytes) throw new Refused(413, 'TOO_LARGE');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    .end(text);
}
