import type { JWK } from 'jose';
import type { ServiceApps, StoredKey } from './okta-service-apps.ts';
import { type Answer, fail, type OktaRequest } from './okta-standin-answers.ts';

const maxKeys = 50;
const path =
  /^\/api\/v1\/apps\/([^/]+)\/credentials\/jwks(?:\/([^/]+)(?:\/lifecycle\/(activate|deactivate))?)?$/;

/** Answers requests for the keys of a service app; undefined for others. */
export function answerKeyRequest(apps: ServiceApps, { method, url, body }: OktaRequest): Answer | undefined {
  const [, appId = '', keyId, lifecycle] = path.exec(url.pathname) ?? [];
  if (!apps.find(appId)) return undefined;
  const keys = apps.storedKeys(appId);
  if (keyId === undefined) {
    if (method === 'GET') return { status: 200, content: keys.map(describe) };
    return method === 'POST' ? addKey(apps, appId, body) : fail('E0000022');
  }
  const key = keys.find(({ id }) => id === keyId);
  if (!key) return fail('E0000007');
  if (lifecycle !== undefined && method === 'POST') {
    if (lifecycle === 'deactivate' && keys.filter(({ isActive }) => isActive).length < 2)
      return invalid("You can't deactivate the only key of the client.");
    key.isActive = lifecycle === 'activate';
    return { status: 200, content: describe(key) };
  }
  if (method === 'GET') return { status: 200, content: describe(key) };
  if (method !== 'DELETE') return fail('E0000022');
  if (key.isActive) return invalid("You can't delete an active key.");
  apps.removeKey(appId, keyId);
  return { status: 204 };
}

function addKey(apps: ServiceApps, appId: string, body: Buffer): Answer {
  const jwk = JSON.parse(body.toString()) as JWK;
  const keys = apps.storedKeys(appId);
  if (keys.length >= maxKeys)
    return invalid("You can't create a new key. You have reached the maximum number of keys allowed (50).");
  if (typeof jwk.kid !== 'string' || keys.some(({ jwk: { kid } }) => kid === jwk.kid))
    return invalid("All keys in the 'jwks' must have a unique `kid`.");
  return { status: 201, content: describe(apps.addKey(appId, jwk)) };
}

function describe({ id, jwk, isActive }: StoredKey): object {
  const at = '2026-01-01T00:00:00.000Z';
  return { id, ...jwk, status: isActive ? 'ACTIVE' : 'INACTIVE', created: at, lastUpdated: at };
}

const invalid = (cause: string): Answer => ({
  status: 400,
  content: {
    errorCode: 'E0000001',
    errorSummary: 'Api validation failed: JsonWebKey',
    errorLink: 'E0000001',
    errorId: 'oaeStandIn',
    errorCauses: [{ errorSummary: cause }],
  },
});
