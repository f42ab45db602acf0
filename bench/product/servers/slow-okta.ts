/** The product's fake Okta, with delayed responses. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { handleFakeOkta } from '../../../src/apps/okta/fake-okta.ts';
import { announce } from '../../peers/servers/work/announce.ts';
import { delayMs } from './delay.ts';

const server = createServer((request, response) => {
  setTimeout(handleFakeOkta, delayMs, request, response);
}).listen(0, '127.0.0.1');
await once(server, 'listening');
announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
