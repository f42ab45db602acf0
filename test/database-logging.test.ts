import { createHash, randomBytes } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { gql } from 'graphql-request';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { handleFakeOkta } from '../src/apps/okta/fake-okta.ts';
import { Secret } from '../src/common/secret.ts';
import { createKey } from './testkit/access.ts';
import { testDatabaseUrl } from './testkit/database.ts';
import { type Cluster, canMakeCluster, makeCluster } from './testkit/faults/cluster.ts';
import { startOkta, type TestOkta, tokenPath } from './testkit/okta.ts';
import { type Created, createMutation, okta } from './testkit/operations.ts';
import { rootKey } from './testkit/root-key.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { errorsOf, startTestServer, type TestServer } from './testkit/server.ts';

const updateMutation = gql`
  mutation Update($id: UUID!, $input: UpdateOktaConnectionInput!) {
    updateOktaConnection(id: $id, input: $input) { appConnection { id credentialsHash } }
  }
`;
const pageQuery = gql`
  query Page($name: String!, $after: String) {
    appConnections(filter: { nameContains: $name }, first: 1, after: $after) { pageInfo { endCursor } }
  }
`;
/** The first characters of sealed and wrapped values (JWE). */
const jwe = /eyJ[\w-]{8}/;

describe.runIf(testDatabaseUrl && canMakeCluster)('the log of PostgreSQL', () => {
  const token = `00canary${randomBytes(17).toString('hex')}`;
  const description = `canary-${randomBytes(16).toString('hex')}`;
  let cluster: Cluster;
  let upstream: TestOkta;
  let server: TestServer;
  beforeEach(async () => {
    [cluster, upstream] = [await makeCluster('lc_messages=C'), await startOkta()];
    server = await start();
  });
  afterEach(async () => {
    await server.close();
    await upstream.close();
    await cluster[Symbol.asyncDispose]();
  });

  const rootKeys = rootKey('k1');
  const start = () =>
    startTestServer({
      rootKeys,
      location: { kind: 'postgresql', url: new Secret(cluster.url) },
      config: { trustedInstanceHosts: new Set([upstream.hostPort]) },
    });
  const input = (name: string) =>
    okta({ name, description }, { instanceUrl: upstream.origin, apiToken: token });

  /** Returns the secrets: sealed values, fingerprints of tokens, hashes of API keys, planted tokens. */
  async function getSecrets(server: TestServer, ...keys: string[]): Promise<string[]> {
    const em = server.asOwner();
    const rows = await em.execute<{ secret: string }[]>(
      `select credentials_hash as secret from app_connection union select sealed_credentials from app_connection
       union select wrapped from data_key union select hash from api_key`,
    );
    const hashes = keys.map((key) => createHash('sha256').update(key).digest('hex'));
    expect(rows.map(({ secret }) => secret)).toEqual(expect.arrayContaining(hashes));
    return [token, description, ...keys, ...rows.map(({ secret }) => secret)];
  }

  it('contains no secrets in failing statements', async () => {
    const { client, apiKey } = await server.newOrganisation();
    const { createOktaConnection } = await client.request<Created>(createMutation, input('made'));
    const { key } = await createKey(client);

    // Both creates pass the check of the name concurrently; the second violates the unique index.
    const held: (() => void)[] = [];
    upstream.behave((request, response: ServerResponse) => {
      if (request.url !== tokenPath) return handleFakeOkta(request, response);
      held.push(() => handleFakeOkta(request, response));
      if (held.length === 2) for (const answer of held) answer();
    });
    const raced = await Promise.allSettled([1, 2].map(() => client.request(createMutation, input('raced'))));
    upstream.behave(handleFakeOkta);
    expect(raced.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);

    await refuseToWrite(server, 'app_connection', 'api_key', 'data_key');
    const { id } = createOktaConnection.appConnection;
    const update = { credentials: { apiToken: `${token}-2` }, description: `${description}-2` };
    await errorsOf(client.request(updateMutation, { id, input: update }));
    await errorsOf(createKey(client));
    await expect(server.newOrganisation()).rejects.toThrow();
    const secrets = await getSecrets(server, apiKey, key);
    await server.asOwner().execute('alter table api_key rename to mislaid');
    await errorsOf(server.clientFor(key).request('{ appConnections { totalCount } }'));

    const failed = statementsIn(cluster.log()).join('\n');
    for (const start of [
      'insert into "app_connection"',
      'update "app_connection"',
      'insert into "api_key"',
      'insert into "data_key"',
    ]) {
      expect(failed).toContain(start);
    }
    expect(failed).toMatch(/select .* from "api_key" .*"hash" = \$1/);
    expect(foundIn(cluster.log(), secrets)).toEqual([]);
    expect(cluster.log()).not.toMatch(jwe);
    // Self-check: the search finds a value in the text of a statement.
    await expect(server.asOwner().execute(`select '${description}'::int`)).rejects.toThrow();
    expect(foundIn(cluster.log(), secrets)).toEqual([description]);
  });

  it('contains values only as parameters when log_statement is all', async () => {
    await server.asOwner().execute("alter database postgres set log_statement = 'all'");
    await server.close();
    server = await start();
    const { client, apiKey, orgId } = await server.newOrganisation();
    const { key } = await createKey(client);
    const another = server.clientFor(key);
    const created = await another.request<Created>(createMutation, {
      input: { ...input('made').input, idempotencyKey: description },
    });
    const { id } = created.createOktaConnection.appConnection;
    const page = await another.request<Page>(pageQuery, { name: description });
    expect(page.appConnections.pageInfo.endCursor).toBeNull();
    const { appConnections } = await another.request<Page>(pageQuery, { name: 'made' });
    await another.request(pageQuery, { name: 'made', after: appConnections.pageInfo.endCursor });
    await another.request(updateMutation, { id, input: { credentials: { apiToken: `${token}-2` } } });
    await another.request('mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }', {
      id,
    });
    await another.request('{ auditEvents(first: 5) { nodes { action } } }');
    const secrets = [...(await getSecrets(server, apiKey, key)), id, orgId];
    await another.request('mutation ($id: UUID!) { deleteAppConnection(id: $id, purge: true) { id } }', {
      id,
    });

    const texts = statementsIn(cluster.log()).join('\n');
    for (const change of [
      'insert into "app_connection" [^;]* json_to_recordset\\(\\$\\d+\\)',
      'update "app_connection" set [^;]* json_to_record\\(\\$\\d+\\)',
      'delete from "app_connection" where "id" = \\$\\d+',
    ]) {
      expect(texts).toMatch(new RegExp(change));
    }
    expect(texts).toMatch(/^select .* from "api_key" .*"hash" = \$1/m);
    expect(foundIn(texts, secrets)).toEqual([]);
    expect(texts).not.toMatch(jwe);
    // Self-check: the search finds the parameters in the log.
    expect(foundIn(cluster.log(), secrets)).toEqual(expect.arrayContaining([description, id, orgId]));
    expect(cluster.log()).toMatch(jwe);
    expect(foundIn(cluster.log(), [token, apiKey, key])).toEqual([]);
  });
});

interface Page {
  appConnections: { pageInfo: { endCursor: string | null } };
}

/** Makes each write to these tables fail. */
async function refuseToWrite(server: TestServer, ...tables: string[]): Promise<void> {
  const em = server.asOwner();
  await em.execute(
    `create function refuse() returns trigger language plpgsql as $$ begin raise exception 'refused'; end $$`,
  );
  for (const table of tables) {
    await em.execute(
      `create trigger refuse before insert or update on ${table} for each row execute function refuse()`,
    );
  }
}

/** Returns the statements in a log without their DETAIL lines. */
function statementsIn(log: string): string[] {
  const entries = log.split(/^(?=\d{4}-\d\d-\d\d )/m);
  const text = /^[^\]]*\] (?:STATEMENT: |LOG: {2}(?:statement|execute [^:]+):)([\s\S]*)/;
  return entries.flatMap((entry) => text.exec(entry)?.[1]?.trim() ?? []);
}
