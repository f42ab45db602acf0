/** An Okta with 200 users, whose responses are built once, so that it takes little of the machine that is measured. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { handleFakeOkta } from '../../../src/apps/okta/fake-okta.ts';
import { announce } from './work/announce.ts';

const users = Array.from({ length: 200 }, (_, index) => {
  const id = `00u${String(index).padStart(17, '0')}`;
  const login = `user${index}@example.com`;
  const time = new Date(Date.UTC(2026, 0, 1, 0, 0, index)).toISOString();
  return {
    ...{ id, status: 'ACTIVE', created: time, activated: time, statusChanged: time },
    ...{ lastLogin: time, lastUpdated: time, passwordChanged: time },
    type: { id: 'otyfnly5cQjJT9PnR0g4' },
    profile: {
      ...{ firstName: 'User', lastName: `${index}`, displayName: `User ${index}`, login, email: login },
      ...{ mobilePhone: null, secondEmail: null, title: 'Engineer', department: 'Engineering' },
      ...{
        city: 'Berlin',
        countryCode: 'DE',
        locale: 'en_US',
        timezone: 'Europe/Berlin',
        employeeNumber: `${index}`,
      },
    },
    credentials: {
      emails: [{ value: login, status: 'VERIFIED', type: 'PRIMARY' }],
      provider: { type: 'OKTA', name: 'OKTA' },
    },
    _links: { self: { href: `https://example.okta.com/api/v1/users/${id}` } },
  };
});
const page = Buffer.from(JSON.stringify(users));

const server = createServer((request, response) => {
  if (!request.url?.startsWith('/api/v1/users?')) return handleFakeOkta(request, response);
  response.writeHead(200, {
    'content-type': 'application/json',
    'content-length': page.length,
    'x-okta-request-id': 'aPBIVl_a-Xrm_Tq-OWMq4gAAABc',
    // The connection of the benchmark may spend half of it.
    'x-rate-limit-limit': '900000000',
    'x-rate-limit-remaining': '899999999',
    'x-rate-limit-reset': String(Math.ceil(Date.now() / 1_000) + 60),
    link: `<http://${request.headers.host}/api/v1/users?after=200&limit=200>; rel="next"`,
  });
  response.end(page);
}).listen(0, '127.0.0.1', () => announce(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
