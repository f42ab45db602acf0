import { randomUUID } from 'node:crypto';
import { checkInput } from './input.ts';
import { hashCredentials, seal } from './seal.ts';
import { settings } from './settings.ts';
import { verify } from './verify.ts';

/** The row to insert. */
export type NewConnection = Awaited<ReturnType<typeof makeConnection>>;

/**
 * The steps of a create before the insert: validates the input, calls Okta, encrypts the token.
 *
 * @throws Refused
 */
export async function makeConnection(orgId: string, input: unknown) {
  const { name, description, projectId, credentials } = checkInput(input);
  const { instanceUrl, apiToken } = credentials;
  const { account, requestId } = await verify(instanceUrl, apiToken);
  const id = randomUUID();
  const now = new Date();
  return {
    id,
    orgId,
    projectId: projectId ?? null,
    name,
    description: description ?? null,
    app: 'okta',
    method: 'api-token',
    version: 1,
    createdAt: now,
    updatedAt: now,
    isPlatformManagedCredentials: false,
    credentialsHash: hashCredentials(settings.key, orgId, { instanceUrl, apiToken }),
    publicCredentials: { instanceUrl },
    account,
    sealedCredentials: seal(settings.key, apiToken, `${orgId} ${id} ${new URL(instanceUrl).host}`),
    dataKeyId: settings.dataKeyId,
    verificationStatus: 'VERIFIED',
    verificationCheckedAt: now,
    lastVerifiedAt: now,
    upstreamRequestId: requestId,
  };
}
