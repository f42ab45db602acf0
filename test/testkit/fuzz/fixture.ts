import { randomUUID } from 'node:crypto';
import type { Lookup } from '../../../src/outbound/dns.ts';
import { createConnectionOverRest, restClient } from '../rest.ts';
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
  const names = ['ground-one', 'ground-two', 'ground-three'];
  const ids = [randomUUID(), projectId];
  for (const name of names) {
    const { id, orgId } = await createConnectionOverRest(rest, { name, projectId });
    ids.push(id, orgId);
  }
  await rest('DELETE', `/api/v1/app-connections/okta/${ids[2]}`);
  const credentials = {
    ...{ instanceUrl: 'https://example.okta.com', clientId: '0oa1ab2cd3EF4GH5i0d7' },
    scopes: ['okta.users.read', 'okta.groups.read'],
  };
  const serviceApp = { name: 'ground-service-app', method: 'service-app', projectId, credentials };
  ids.push((await createConnectionOverRest(rest, serviceApp)).id);
  return {
    apiKey,
    projectId,
    ids: [...new Set(ids)],
    names,
    hosts,
    planted: '00planted7Hk2mQx9fV4tLw8sRz3bN6cJ1dYpA5gE0uTi',
  };
}
