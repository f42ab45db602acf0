import { z } from 'zod';
import type { OAuth, OAuthClient, TokenClient } from '../../../oauth/oauth.ts';
import type { OutboundResponse } from '../../../outbound/buffered-response.ts';
import { parseJson } from '../../../outbound/json.ts';
import type { Outbound } from '../../../outbound/outbound.ts';
import { OutboundError } from '../../../outbound/outbound-error.ts';
import { splitList } from '../../app.ts';
import type { Credentials } from '../../credentials.ts';
import type { KeyRegistration, KeysToRegister, PublicKey } from '../../managed-keys.ts';
import { ownOutboundError } from '../../map-outbound-error.ts';
import { startTimeLimit } from '../../time-limit.ts';
import { diagnoseClient } from './diagnose-refusal.ts';
import { describeLeftKeys, diagnoseKeyOutage, diagnoseKeyRefusal, diagnoseKeyToken } from './key-failure.ts';
import { toTokenClient } from './token-client.ts';
import { unknownClient } from './token-failure.ts';

/** The scope that allows an app to change its keys. */
const scope = 'okta.apps.manage';
/** Whether the scopes of credentials allow the app to change its keys. */
export function mayRegisterKeys({ public: { scopes = '' } }: Pick<Credentials, 'public'>): boolean {
  return splitList(scopes).includes(scope);
}

/** How long a registration takes at most. */
const maxRegistrationMs = 10_000;

/** A key of the app, as Okta keeps it. */
type StoredKey = z.infer<typeof storedKeys>[number];

const storedKeys = z.array(
  z.object({
    id: z.string().regex(/^\w{1,64}$/),
    kid: z.string().nullish(),
    status: z.string().nullish(),
  }),
);
/** Okta's API description has an array in the schema of the response, and this in its example. */
const wrappedKeys = z.object({ jwks: z.object({ keys: storedKeys }) }).transform(({ jwks }) => jwks.keys);

/** How requests to Okta are sent. */
interface RequestOptions {
  outbound: Outbound;
  session: OAuthClient;
  signal: AbortSignal | undefined;
}

/**
 * Adds and removes keys of a service app that are kept in Okta. That needs the scope `okta.apps.manage`, and a role that lets the
 * app change itself. If Okta does not keep the key in use, it fetches the keys from a URL, and nothing is changed.
 *
 * @throws OutboundError if `signal` aborts
 * @throws AppError if this server could not send the request
 */
export async function registerKeys(
  oauth: OAuth,
  credentials: Credentials,
  changes: KeysToRegister,
  requests: RequestOptions,
): Promise<KeyRegistration> {
  if (!mayRegisterKeys(credentials)) return { status: 'UNSUPPORTED' };
  const client = toTokenClient(oauth, credentials);
  const { add, remove = [], removesOwn = false, isUsed } = changes;
  const okta = new AppKeys(client, requests);
  const isOwn = ({ kid }: StoredKey) => kid === client.keyId;
  const toFailure = (refusal: OutboundResponse) => ({
    status: 'FAILED' as const,
    ...diagnoseKeyRefusal(refusal, client.clientId, changes),
  });
  try {
    const keys = await okta.list();
    if ('status' in keys) return toFailure(keys);
    if (!keys.some(isOwn)) return { status: 'UNSUPPORTED' };
    const ownToRemove = removesOwn ? remove.filter((keyId) => keyId === client.keyId) : [];
    const refusedAddition = add && (await okta.add(add, keys));
    const others = keys.filter((key) => !isOwn(key));
    const { removed, notRemoved, refusal } = await removeUnused(okta, others, changes);
    const left = [...ownToRemove, ...notRemoved];
    const firstRefusal = refusedAddition ?? refusal;
    if (firstRefusal) return { ...toFailure(firstRefusal), left };
    if (ownToRemove.length === 0 || (await isUsed?.(client.keyId))) return { status: 'DONE' };
    const remaining = others.filter((key) => !removed.includes(key));
    // Okta keeps the last active key of an app.
    if (!remaining.some(({ status }) => status !== 'INACTIVE'))
      return { status: 'FAILED', ...describeLeftKeys(credentials.public, left), left };
    for (const key of keys.filter(isOwn)) {
      const ownRefusal = await okta.remove(key);
      if (ownRefusal) return { ...toFailure(ownRefusal), left };
    }
    return { status: 'DONE' };
  } catch (error) {
    if (requests.signal?.aborted) throw error;
    if (error instanceof oauth.TokenRequestError) {
      const isGone = removesOwn && error.code === 'invalid_client' && (await isUnknown(client, requests));
      return isGone ? { status: 'DONE' } : { status: 'FAILED', ...diagnoseKeyToken(error, changes) };
    }
    if (!(error instanceof OutboundError)) throw error;
    const own = ownOutboundError(error, 'Okta');
    if (own) throw own;
    return { status: 'FAILED', ...diagnoseKeyOutage(error, changes) };
  }
}

/** Removes those of these keys that `changes` names and nothing uses, also after Okta has refused to remove one. */
async function removeUnused(
  okta: AppKeys,
  keys: readonly StoredKey[],
  { remove = [], isUsed }: KeysToRegister,
): Promise<{ removed: StoredKey[]; notRemoved: string[]; refusal: OutboundResponse | undefined }> {
  const removed: StoredKey[] = [];
  const notRemoved: string[] = [];
  let firstRefusal: OutboundResponse | undefined;
  for (const key of keys) {
    if (!key.kid || !remove.includes(key.kid) || (await isUsed?.(key.kid))) continue;
    const refusal = await okta.remove(key);
    if (refusal) notRemoved.push(key.kid);
    else removed.push(key);
    firstRefusal ??= refusal;
  }
  return { removed, notRemoved, refusal: firstRefusal };
}

/** Whether Okta no longer has an app. The error is the same for an inactive app, an unknown key, and a wrong clock. */
async function isUnknown(client: TokenClient, { outbound, signal }: RequestOptions): Promise<boolean> {
  const finding = await diagnoseClient(client, {
    get: (url, request) => outbound.get(url, { ...request, signal }),
  });
  signal?.throwIfAborted();
  return finding === unknownClient;
}

/** The requests for the keys of an app. */
class AppKeys {
  readonly #session: OAuthClient;
  readonly #base: URL;
  readonly #outbound: Outbound;
  readonly #signal: AbortSignal | undefined;
  readonly #timeLeft = startTimeLimit(maxRegistrationMs);

  constructor(
    { clientId, tokenUrl }: { clientId: string; tokenUrl: URL },
    { session, outbound, signal }: RequestOptions,
  ) {
    this.#session = session;
    // Okta makes the client id equal to the id of the app, unless another one is chosen when the app is created.
    const appId = encodeURIComponent(clientId);
    this.#base = new URL(`/api/v1/apps/${appId}/credentials/jwks`, tokenUrl);
    this.#outbound = outbound;
    this.#signal = signal;
  }

  /** @returns the response, if Okta does not tell */
  async list(): Promise<StoredKey[] | OutboundResponse> {
    const response = await this.#send('GET');
    if (response.status !== 200) return response;
    return z.union([storedKeys, wrappedKeys]).safeParse(parseJson(response.body)).data ?? response;
  }

  /** @returns undefined if Okta has the key and uses it, and otherwise its refusal */
  async add(
    { keyId, publicJwk }: PublicKey,
    keys: readonly StoredKey[],
  ): Promise<OutboundResponse | undefined> {
    const stored = keys.find(({ kid }) => kid === keyId);
    if (stored?.status === 'INACTIVE') {
      const response = await this.#change(stored, 'activate');
      return response.status === 200 ? undefined : response;
    }
    if (stored) return undefined;
    const response = await this.#send('POST', '', JSON.stringify({ ...publicJwk, status: 'ACTIVE' }));
    if (response.status === 201) return undefined;
    // Another server may have added it.
    const now = await this.list();
    return !('status' in now) && now.some(({ kid }) => kid === keyId) ? undefined : response;
  }

  /**
   * Okta removes only keys that are inactive.
   *
   * @returns undefined if Okta no longer has the key, and otherwise its refusal
   */
  async remove(key: StoredKey): Promise<OutboundResponse | undefined> {
    if (key.status !== 'INACTIVE') await this.#change(key, 'deactivate');
    const response = await this.#send('DELETE', `/${key.id}`);
    return response.status === 204 || response.status === 404 ? undefined : response;
  }

  #change({ id }: StoredKey, transition: 'activate' | 'deactivate'): Promise<OutboundResponse> {
    return this.#send('POST', `/${id}/lifecycle/${transition}`, '');
  }

  /** Sends a request, and once more if Okta asks for a new nonce: then the first one had no effect. */
  async #send(method: 'GET' | 'POST' | 'DELETE', path = '', body = ''): Promise<OutboundResponse> {
    const url = new URL(this.#base.pathname + path, this.#base);
    for (let attempt = 1; ; attempt += 1) {
      const { headers, token } = await this.#session.authorize({ method, url }, this.#outbound);
      const request = {
        headers: { accept: 'application/json', ...headers },
        timeoutMs: this.#timeLeft(),
        signal: this.#signal,
      };
      const response =
        method === 'POST'
          ? await this.#outbound.post(url, {
              ...request,
              headers: { ...request.headers, 'content-type': 'application/json' },
              body,
            })
          : await this.#outbound[method === 'GET' ? 'get' : 'delete'](url, request);
      if (!this.#session.observe(token, response) || attempt === 2) return response;
    }
  }
}
