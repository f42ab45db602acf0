import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { lastingData } from './testkit/database.ts';
import { executeAsOwner } from './testkit/execute-as-owner.ts';
import { errorOfStart, runProgram, startProgram } from './testkit/in-process.ts';
import { createConnection, createMutation, okta, verifyMutation } from './testkit/operations.ts';
import { createConnectionOverRest, restClient } from './testkit/rest.ts';
import { rootKey } from './testkit/root-key.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

/** Changes a byte of the wrapped key. */
const changedByte = `wrapped = overlay(wrapped placing case when substr(wrapped, 99, 1) = 'A' then 'B' else 'A' end from 99)`;

describe('a damaged data key', () => {
  it.each([
    ['SEAL', 'wrapped', changedByte],
    ['FINGERPRINT', 'wrapped', changedByte],
    ['AUDIT', 'wrapped', changedByte],
    ['SEAL', 'root_key_id', `root_key_id = 'tesu'`],
    ['FINGERPRINT', 'mac', `mac = reverse(mac)`],
    ['SEAL', 'retired_at', 'retired_at = now()'],
  ])(
    '(%s, changed in %s) affects only its organisation, whose callers get the id of the key',
    async (purpose, _, change) => {
      const organisation = await server.newOrganisation();
      const another = await server.newOrganisation();
      const { orgId, apiKey } = organisation;
      const { id } = await createConnection(organisation);
      const [{ id: dataKeyId }] = await server
        .asOwner()
        .execute<[{ id: string }]>(
          `update data_key set ${change} where org_id = ? and purpose = ? returning id`,
          [orgId, purpose],
        );
      // Another server, which has unwrapped no key yet.
      const restarted = await startTestServer({
        database: server.database,
        rootKeys: server.rootKey,
        config: { metrics: { host: '127.0.0.1', port: 0, token: undefined } },
      });
      try {
        const isReady = async () => (await fetch(`${restarted.url}/health/ready`)).status;
        expect(await isReady()).toBe(200);

        const client = restarted.clientFor(apiKey);
        const expected = {
          message: `The ${purpose} key ${dataKeyId} of this organisation cannot be used, so nothing was done. Other organisations are not affected.`,
          remedy: expect.stringMatching(/^Tell the operator .*"app-connections doctor"/),
          requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
        };
        const [error, ...more] = await errorsOf(client.request(createMutation, okta({ name: 'after' })));
        expect(more).toEqual([]);
        expect({ ...error?.extensions, message: error?.message }).toMatchObject({
          ...expected,
          code: 'INTERNAL_SERVER_ERROR',
        });
        const { message: detail, ...members } = expected;
        const created = await restClient(restarted.url, apiKey)('POST', '/api/v1/app-connections/okta', {
          name: 'after',
          method: 'api-token',
          credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'a-good-token' },
        });
        expect(created).toMatchObject({
          status: 500,
          body: { ...members, detail, code: 'INTERNAL_SERVER_ERROR' },
        });
        if (purpose === 'SEAL' && change === changedByte)
          expect((await errorsOf(client.request(verifyMutation, { id })))[0]).toMatchObject({
            message: expected.message,
          });
        expect(await client.request('{ appConnections { totalCount } }')).toEqual({
          appConnections: { totalCount: 1 },
        });
        const other = await createConnectionOverRest(restClient(restarted.url, another.apiKey), {
          name: 'of-another',
        });
        expect(other.id).toMatch(/^[0-9a-f-]{36}$/);
        expect(await isReady()).toBe(200);

        const lines = restarted
          .logs()
          .split('\n')
          .filter((line) => line.includes(dataKeyId) && line.includes('"a data key is damaged"'));
        expect(lines.map((line) => JSON.parse(line))).toEqual([
          expect.objectContaining({
            level: 'error',
            orgId,
            purpose,
            remedy: expect.stringMatching(/^Restore/),
          }),
        ]);
        expect(restarted.logs()).not.toContain('unexpected error');
        const metrics = await (await fetch(`${restarted.metricsUrl}`)).text();
        expect(metrics).toMatch(/^app_connections_damaged_data_keys [1-9]/m);
      } finally {
        await restarted.close();
      }
    },
  );

  it('keeps no server from starting, except the integrity key, which the error names', async () => {
    await using stack = new AsyncDisposableStack();
    const { location, environment: data } = await lastingData(stack);
    const environment = { ...data, ENCRYPTION_KEYS: rootKey('k1') };
    await runProgram('admin', environment, 'create-organisation', '--name', 'Acme');
    await executeAsOwner(
      location,
      `update data_key set root_key_id = 'k2' where purpose = 'SEAL' and org_id = (select id from organisation where name = 'Acme')`,
    );
    const started = stack.use(startProgram({ ...environment, BOOTSTRAP_API_KEY: 'k'.repeat(40) }));
    const url = await started.ready();
    expect((await fetch(`${url}/health/ready`)).status).toBe(200);
    started.kill('SIGTERM');
    await started.ended();

    await executeAsOwner(location, `update data_key set root_key_id = 'k1'`);
    const [integrityKey] = await executeAsOwner<{ id: string }>(
      location,
      `update data_key set ${changedByte} where purpose = 'INTEGRITY' returning id`,
    );
    expect(await errorOfStart(environment)).toContain(`The integrity key ${integrityKey?.id} does not open.`);
  });
});
