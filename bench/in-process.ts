import type { Pool } from 'undici';
import { addOrganisation } from '../src/administration/organisations.ts';
import { generateApiKey } from '../src/auth/api-keys.ts';
import type { Database } from '../src/database/database.ts';
import type { Vault } from '../src/encryption/vault.ts';

/** An organisation with one connection. */
export interface BenchOrganisation {
  key: string;
  connectionId: string;
}

/** Creates 50 organisations in the database, and a connection for each through the server of the pool. */
export async function createOrganisations(
  database: Database,
  vault: Vault,
  pool: Pool,
): Promise<BenchOrganisation[]> {
  const organisations: BenchOrganisation[] = [];
  for (let index = 0; index < 50; index += 1) {
    const administratorKey = generateApiKey();
    await database
      .asSystem()
      .transactional((em) =>
        addOrganisation(em, vault, { name: `Bench ${index}`, projectName: 'Bench', administratorKey }),
      );
    const key = administratorKey.reveal();
    const credentials = { instanceUrl: 'https://example.okta.com', apiToken: 'any' };
    const { createOktaConnection } = await sendQuery<{
      createOktaConnection: { appConnection: { id: string } };
    }>(
      pool,
      key,
      'mutation ($input: CreateOktaConnectionInput!) { createOktaConnection(input: $input) { appConnection { id } } }',
      { input: { name: 'bench', credentials } },
    );
    organisations.push({ key, connectionId: createOktaConnection.appConnection.id });
  }
  return organisations;
}

/** Reads connections by id for some time over this many client connections, and returns the number of reads. */
export async function readFor(
  pool: Pool,
  durationMs: number,
  clientConnections: number,
  organisations: readonly BenchOrganisation[],
): Promise<number> {
  const end = performance.now() + durationMs;
  let reads = 0;
  const worker = async () => {
    while (performance.now() < end) {
      const { key, connectionId: id } = organisations[reads % organisations.length] ?? {
        key: '',
        connectionId: '',
      };
      reads += 1;
      await sendQuery(pool, key, 'query ($id: UUID!) { appConnection(id: $id) { id name } }', { id });
    }
  };
  await Promise.all(Array.from({ length: clientConnections }, worker));
  return reads;
}

/** @throws when the response has errors, because a fast error is not a valid measurement */
async function sendQuery<T>(pool: Pool, key: string, query: string, variables: object): Promise<T> {
  const { body } = await pool.request({
    path: '/graphql',
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await body.json()) as { data: T; errors?: unknown };
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

/** Returns the value below which this share of the values lies. */
export function quantile(values: readonly number[], share: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN;
}

export const median = (values: readonly number[]) => quantile(values, 0.5);
