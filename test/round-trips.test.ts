import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { Secret } from '../src/common/secret.ts';
import { freshDatabase, testDatabaseUrl } from './testkit/database.ts';
import { startOkta } from './testkit/okta.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { startPostgresRelay } from './testkit/postgres-relay.ts';
import { startTestServer } from './testkit/server.ts';

const creates = 10;

// The embedded database is in the process of the server.
describe.runIf(testDatabaseUrl)(
  'round trips to PostgreSQL of a create with a known API key, by organisations in turn',
  () => {
    it.each([
      ['outside of projects', () => ({}), { before: 1, after: 1 }],
      ['in a project, with an idempotency key', inProject, { before: 2, after: 1 }],
    ])(
      'are at most two before Okta is asked and two after it has answered: %s',
      async (_, differing, expected) => {
        await using database = await freshDatabase();
        if (database.location.kind !== 'postgresql') throw new Error('This is about PostgreSQL.');
        await using relay = await startPostgresRelay(database.location.url.reveal());
        let whenAsked = 0;
        await using upstream = await startOkta({
          handler: (request, response) => {
            whenAsked = relay.roundTrips();
            handleFakeOkta(request, response);
          },
        });
        const server = await startTestServer({
          location: { kind: 'postgresql', url: new Secret(relay.url) },
          config: { trustedInstanceHosts: new Set([upstream.hostPort]) },
        });
        try {
          // They take turns, so that each create finds a connection that has served the other one.
          const organisations = [await server.newOrganisation(), await server.newOrganisation()];
          const counts: { before: number; after: number }[] = [];
          for (let index = 0; index < creates; index += 1) {
            for (const { client, projectId } of organisations) {
              const start = relay.roundTrips();
              await client.request<Created>(
                createMutation,
                okta({ name: `c-${index}`, ...differing(projectId) }, { instanceUrl: upstream.origin }),
              );
              counts.push({ before: whenAsked - start, after: relay.roundTrips() - whenAsked });
            }
          }
          // Some creates look the API key up again, because its cache has a time limit.
          const fewest = (when: 'before' | 'after') => Math.min(...counts.map((count) => count[when]));
          expect({ before: fewest('before'), after: fewest('after') }).toEqual(expected);
        } finally {
          await server.close();
        }
      },
    );
  },
);

describe.runIf(testDatabaseUrl)('round trips to PostgreSQL of a read through a known connection', () => {
  it('are none as a rule, although all servers share its rate budget', async () => {
    await using database = await freshDatabase();
    if (database.location.kind !== 'postgresql') throw new Error('This is about PostgreSQL.');
    await using relay = await startPostgresRelay(database.location.url.reveal());
    await using upstream = await startOkta({
      handler: (request, response) => {
        response.setHeader('x-rate-limit-limit', '10000');
        response.setHeader('x-rate-limit-remaining', '9000');
        response.setHeader('x-rate-limit-reset', String(Math.floor(Date.now() / 1_000) + 60));
        handleFakeOkta(request, response);
      },
    });
    const server = await startTestServer({
      location: { kind: 'postgresql', url: new Secret(relay.url) },
      config: { trustedInstanceHosts: new Set([upstream.hostPort]) },
    });
    try {
      const { client, apiKey } = await server.newOrganisation();
      const { createOktaConnection } = await client.request<Created>(
        createMutation,
        okta({ name: 'used' }, { instanceUrl: upstream.origin }),
      );
      const { id } = createOktaConnection.appConnection;
      const url = `${server.url}/api/v1/app-connections/okta/${id}/proxy/api/v1/users/me`;
      const counts: number[] = [];
      for (let index = 0; index < 40; index += 1) {
        const start = relay.roundTrips();
        const response = await fetch(url, { headers: { authorization: `Bearer ${apiKey}` } });
        expect([response.status, await response.text()]).toEqual([200, expect.any(String)]);
        counts.push(relay.roundTrips() - start);
      }
      expect(counts.filter((count) => count === 0).length).toBeGreaterThan(counts.length / 2);
    } finally {
      await server.close();
    }
  });
});

function inProject(projectId: string) {
  return { projectId, idempotencyKey: randomUUID() };
}
