/**
 * An Okta that costs as little as possible, so that a proxy in front of it is what is measured: it answers every request with
 * the same user of 2 KiB, `/bytes/…` with so many bytes, and `/silence` never. Its metadata are those of an organisation, so that
 * a connection to it can be created.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { announce } from '../../peers/servers/work/announce.ts';

const bodyBytes = 2_048;
const user = {
  id: '00ub0oNGTSWTBKOLGLNR',
  status: 'ACTIVE',
  created: '2013-06-24T16:39:18.000Z',
  profile: {
    login: 'ada@example.com',
    email: 'ada@example.com',
    firstName: 'Ada',
    lastName: 'Admin',
    note: '',
  },
};
user.profile.note = 'x'.repeat(bodyBytes - JSON.stringify(user).length);
const body = JSON.stringify(user);
const head = (length: number) =>
  [
    'HTTP/1.1 200 OK',
    'content-type: application/json',
    'x-okta-request-id: aPBIVl_a-Xrm_Tq-OWMq4gAAABc',
    // Of a size and a window that the server believes, so that it counts requests in a rate budget.
    'x-rate-limit-limit: 999999999',
    'x-rate-limit-remaining: 999999998',
    `x-rate-limit-reset: ${Math.ceil(Date.now() / 1_000) + 3_000}`,
    'cache-control: no-cache, no-store',
    'set-cookie: JSESSIONID=0123456789; Path=/; Secure; HttpOnly',
    `content-length: ${length}`,
    '',
    '',
  ].join('\r\n');
const answer = Buffer.from(head(bodyBytes) + body);
const metadata = JSON.stringify({ id: '00o1n8sbwArJ7OQRw406' });
const metadataAnswer = Buffer.from(head(metadata.length) + metadata);
const chunk = Buffer.alloc(64 * 1024, 'abcdefgh');

function pour(socket: Socket, bytes: number): void {
  socket.write(head(bytes));
  let left = bytes;
  const write = () => {
    while (left > 0) {
      const part = chunk.subarray(0, Math.min(left, chunk.length));
      left -= part.length;
      if (!socket.write(part)) return;
    }
    socket.off('drain', write);
  };
  socket.on('drain', write);
  write();
}

// Requests have no body here, so each ends with an empty line.
const server = createServer((socket) => {
  let received = '';
  socket.setNoDelay();
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => {
    received += data.toString('latin1');
    for (let end = received.indexOf('\r\n\r\n'); end >= 0; end = received.indexOf('\r\n\r\n')) {
      const [, bytes] = /^GET \S*\/bytes\/(\d+) /.exec(received) ?? [];
      const isForMetadata = received.startsWith('GET /.well-known/okta-organization ');
      const isSilent = /^GET \S*\/silence /.test(received);
      received = received.slice(end + 4);
      if (bytes) pour(socket, Number(bytes));
      else if (!isSilent) socket.write(isForMetadata ? metadataAnswer : answer);
    }
  });
}).listen(0, '127.0.0.1');
await once(server, 'listening');
announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
