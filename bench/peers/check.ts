import assert from 'node:assert/strict';
import { ask, request } from './client.ts';
import type { Stage } from './stage.ts';

/**
 * Sends every operation to every server once and compares the responses. A server that does less work is not a peer.
 *
 * @throws AssertionError when a response differs from that of the first server
 */
export async function check({ running, ids, oktaUrl }: Stage): Promise<void> {
  const [first] = running;
  const [id] = ids;
  if (!first || !id) throw new Error('there is no server');
  const read = await ask(first, 'read', id);
  const list = await ask(first, 'list', undefined);
  assert.deepEqual(
    list.nodes.map(({ name }) => name),
    list.nodes.map((_, index) => `seed-${String(index).padStart(4, '0')}`),
  );
  assert.equal(list.pageInfo.hasNextPage, true);
  for (const server of running) {
    assert.deepEqual(await ask(server, 'read', id), read, server.name);
    assert.deepEqual(await ask(server, 'list', undefined), list, server.name);
    const credentials = { instanceUrl: oktaUrl, apiToken: 'check' };
    const made = await ask(server, 'create', { name: 'check', description: ' Is made. ', credentials });
    assert.deepEqual(made, await ask(server, 'read', made.id), server.name);
    const { id: _, createdAt, updatedAt, credentialsHash, ...rest } = made;
    assert.deepEqual(
      rest,
      {
        name: 'check',
        description: 'Is made.',
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
    for (const refused of [
      request(server.dialect, 'create', { name: 'Not A Name', description: '', credentials }),
      request(server.dialect, 'create', {
        name: 'check-2',
        description: '',
        credentials: { ...credentials, apiToken: 'revoked' },
      }),
    ]) {
      const answer = await fetch(server.url + refused.path, { ...refused, headers: server.headers });
      assert.match(await answer.text(), /"errors"/, server.name);
    }
    const { path, ...asked } = request(server.dialect, 'read', id);
    const unauthenticated = await fetch(server.url + path, {
      ...asked,
      headers: { ...server.headers, authorization: 'Bearer unknown-key' },
    });
    const text = await unauthenticated.text();
    assert.match(text, /UNAUTHENTICATED/, server.name);
    assert.doesNotMatch(text, /seed-/, server.name);
  }
}
