import { z } from 'zod';
import type { OAuth, TokenClient } from '../../../oauth/oauth.ts';
import type { OutboundResponse } from '../../../outbound/buffered-response.ts';
import { parseJson } from '../../../outbound/json.ts';
import type { Outbound } from '../../../outbound/outbound.ts';
import { OutboundError } from '../../../outbound/outbound-error.ts';
import type { Credentials, KeyRegistration, KeysToRegister, PublicKey } from '../../app.ts';
import { startTimeLimit } from '../../time-limit.ts';
import { toTokenClient } from './token-client.ts';

/** The scope that allows an app to change its keys. */
const scope = 'okta.apps.manage';
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

/**
 * Adds and removes keys of a service app that are kept in Okta. That needs the scope `okta.apps.manage`, and a role that lets the
 * app change itself. If Okta does not keep the key in use, it fetches the keys from a URL, and nothing is changed.
 *
 * @throws OutboundError if `signal` aborts
 */
export async function registerKeys(
  oauth: OAuth,
  credentials: Credentials,
  { add, remove = [] }: KeysToRegister,
  outbound: Outbound,
  signal?: AbortSignal,
): Promise<KeyRegistration> {
  const client = toTokenClient(oauth, credentials);
  if (!client.scopes.includes(scope)) return 'UNSUPPORTED';
  const okta = new AppKeys(oauth, client, outbound, signal);
  try {
    const keys = await okta.list();
    if (!keys) return 'FAILED';
    if (!keys.some(({ kid }) => kid === client.keyId)) return 'UNSUPPORTED';
    const isAdded = !add || (await okta.add(add, keys));
    const removed = keys.filter(({ kid }) => kid && kid !== client.keyId && remove.includes(kid));
    let areRemoved = true;
    for (const key of removed) areRemoved = (await okta.remove(key)) && areRemoved;
    return isAdded && areRemoved ? 'DONE' : 'FAILED';
  } catch (error) {
    const isExpected = error instanceof OutboundError || error instanceof oauth.TokenRequestError;
    if (!isExpected || signal?.aborted) throw error;
    return 'FAILED';
  }
}

/** The requests for the keys of an app, with an access token of its own. */
class AppKeys {
  readonly #session: ReturnType<OAuth['createClient']>;
  readonly #base: URL;
  readonly #outbound: Outbound;
  readonly #signal: AbortSignal | undefined;
  readonly #timeLeft = startTimeLimit(maxRegistrationMs);

  constructor(oauth: OAuth, client: TokenClient, outbound: Outbound, signal: AbortSignal | undefined) {
    this.#session = oauth.createClient(client);
    // Okta makes the client id equal to the id of the app, unless another one is chosen when the app is created.
    const appId = encodeURIComponent(client.clientId);
    this.#base = new URL(`/api/v1/apps/${appId}/credentials/jwks`, client.tokenUrl);
    this.#outbound = outbound;
    this.#signal = signal;
  }

  /** @returns undefined if Okta does not tell */
  async list(): Promise<StoredKey[] | undefined> {
    const { status, body } = await this.#send('GET');
    return status === 200 ? z.union([storedKeys, wrappedKeys]).safeParse(parseJson(body)).data : undefined;
  }

  /** @returns whether Okta has the key, and uses it */
  async add({ keyId, publicJwk }: PublicKey, keys: readonly StoredKey[]): Promise<boolean> {
    const stored = keys.find(({ kid }) => kid === keyId);
    if (stored?.status === 'INACTIVE') return (await this.#change(stored, 'activate')).status === 200;
    if (stored) return true;
    const { status } = await this.#send('POST', '', JSON.stringify({ ...publicJwk, status: 'ACTIVE' }));
    if (status === 201) return true;
    // Another server may have added it.
    return (await this.list())?.some(({ kid }) => kid === keyId) ?? false;
  }

  /** Okta removes only keys that are inactive. */
  async remove(key: StoredKey): Promise<boolean> {
    if (key.status !== 'INACTIVE') await this.#change(key, 'deactivate');
    const { status } = await this.#send('DELETE', `/${key.id}`);
    return status === 204 || status === 404;
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
