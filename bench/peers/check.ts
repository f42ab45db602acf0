import assert from 'node:assert/strict';
import { buildRequest, sendOperation } from './client.ts';
import type { ComparedServers } from './fixture.ts';

/**
 * Sends every operation to every server once and compares the responses. A server that does less work is not a peer.
 *
 * @throws AssertionError when a response differs from that of the first server
 */
export async function check({ running, organisations, oktaUrl }: ComparedServers): Promise<void> {
  const [first] = running;
  const id = organisations[0]?.ids[0];
  if (!first || !id) throw new Error('there is no server');
  const read = await sendOperation(first, 'read', id);
  const list = await sendOperation(first, 'list', undefined);
  assert.deepEqual(
    list.nodes.map(({ name }) => name),
    list.nodes.map((_, index) => `seed-${String(index).padStart(4, '0')}`),
  );
  assert.equal(list.pageInfo.hasNextPage, true);
  for (const server of running) {
    assert.deepEqual(await sendOperation(server, 'read', id), read, server.name);
    assert.deepEqual(await sendOperation(server, 'list', undefined), list, server.name);
    const credentials = { instanceUrl: oktaUrl, apiToken: 'check' };
    const created = await sendOperation(server, 'create', {
      name: 'check',
      description: ' Created by the check. ',
      credentials,
    });
    assert.deepEqual(created, await sendOperation(server, 'read', created.id), server.name);
    const { id: _, createdAt, updatedAt, credentialsHash, ...rest } = created;
    assert.deepEqual(
      rest,
      {
        name: 'check',
        description: 'Created by the check.',
        app: 'OKTA',
        method: 'API_TOKEN',
        orgId: read.orgId,
        projectId: null,
        version: 1,
        credentials: { instanceUrl: oktaUrl },
        verification: { status: 'VERIFIED', checkedAt: createdAt },
      },
      server.name,
    );
    assert.equal(updatedAt, createdAt, server.name);
    assert.match(credentialsHash, /^[0-9a-f]{64}$/, server.name);
    for (const invalidRequest of [
      buildRequest(server.dialect, 'create', { name: 'Not A Name', description: '', credentials }),
      buildRequest(server.dialect, 'create', {
        name: 'check-2',
        description: '',
        credentials: { ...credentials, apiToken: 'revoked' },
      }),
    ]) {
      const response = await fetch(server.url + invalidRequest.path, {
        ...invalidRequest,
        headers: server.headers,
      });
      assert.match(await response.text(), /"errors"/, server.name);
    }
    const { path, ...readRequest } = buildRequest(server.dialect, 'read', id);
    const unauthenticated = await fetch(server.url + path, {
      ...readRequest,
      headers: { ...server.headers, authorization: 'Bearer unknown-key' },
    });
    const text = await unauthenticated.text();
    assert.match(text, /UNAUTHENTICATED/, server.name);
    assert.doesNotMatch(text, /seed-/, server.name);
  }
}
