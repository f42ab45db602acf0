/** `http-proxy` in front of `OKTA_URL`, without any check, with kept connections. */
import { once } from 'node:events';
import { Agent, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import httpProxy from 'http-proxy';
import { announce } from './work/announce.ts';

const proxy = httpProxy.createProxyServer({
  target: process.env.OKTA_URL ?? '',
  agent: new Agent({ keepAlive: true }),
});
const server = createServer((request, response) => proxy.web(request, response)).listen(0, '127.0.0.1');
await once(server, 'listening');
announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
