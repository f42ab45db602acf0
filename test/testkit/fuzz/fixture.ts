import { randomUUID } from 'node:crypto';
import type { Lookup } from '../../../src/outbound/dns.ts';
import { until } from '../process.ts';
import { readCreated, restClient, sendCreate } from '../rest.ts';
import type { Fixture } from './values.ts';

/** Resolves no name, so that no request leaves the machine. */
export const failingLookup: Lookup = async () => {
  throw Object.assign(new Error('There are no hosts.'), { code: 'ENOTFOUND' });
};

/** Creates connections and returns the values that hostile requests use. */
export async function prepareFixture(
  url: string,
  apiKey: string,
  projectId: string,
  hosts: readonly string[] = [],
): Promise<Fixture> {
  const rest = restClient(url, apiKey);
  /** Asks again while the fake Okta takes longer than the time limit of the server, which is short where hosts hang. */
  const create = async (differing: Record<string, unknown>) =>
    readCreated(
      await until('Okta has answered', async () => {
        const response = await sendCreate(rest, differing);
        return response.status === 503 ? undefined : response;
      }),
    );
  const names = ['ground-one', 'ground-two', 'ground-three'];
  const ids = [randomUUID(), projectId];
  for (const name of names) {
    const { id, orgId } = await create({ name, projectId });
    ids.push(id, orgId);
  }
  await rest('DELETE', `/api/v1/app-connections/okta/${ids[2]}`);
  const credentials = {
    ...{ instanceUrl: 'https://example.okta.com', clientId: '0oa1ab2cd3EF4GH5i0d7' },
    scopes: ['okta.users.read', 'okta.groups.read'],
  };
  const serviceApp = { name: 'ground-service-app', method: 'service-app', projectId, credentials };
  ids.push((await create(serviceApp)).id);
  return {
    apiKey,
    projectId,
    ids: [...new Set(ids)],
    names,
    hosts,
    planted: '00planted7Hk2mQx9fV4tLw8sRz3bN6cJ1dYpA5gE0uTi',
  };
}
