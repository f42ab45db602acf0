import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { expect } from 'vitest';
import type { OktaStandIn } from './okta-standin.ts';
import type { ShownKey } from './rotating-connection.ts';
import { errorsOf, type TestOrganisation } from './server.ts';

/** A service app as callers see it. */
interface ShownApp {
  isPlatformManagedCredentials: boolean;
  credentials: { keys: ShownKey[] };
  conversion: { credentials: { keys: ShownKey[] } } | null;
  verification: { status: string };
}

const fields = `isPlatformManagedCredentials verification { status }
  credentials { ... on OktaServiceAppCredentials { keys { keyId publicJwk state } } }
  conversion { credentials { ... on OktaServiceAppCredentials { keys { keyId publicJwk state } } } }`;
const scopes = ['okta.users.read'];
const ownId = 'own';

/** What the keys of a connection have to be. */
export class KeyModel {
  /** The oldest first. */
  keys: { keyId: string; state: ShownKey['state'] }[] = [];
  isManaged = true;
  status = 'PENDING';
  /** Whether Okta has accepted a key. */
  isTried = false;
  /** The id of the key of a pending conversion. */
  converting: string | undefined;
  /** The ids of the keys that Okta has. */
  inOkta: ReadonlySet<string> = new Set();

  get active(): string {
    return this.keys.find(({ state }) => state === 'ACTIVE')?.keyId ?? '';
  }

  get pending(): string | undefined {
    return this.keys.find(({ state }) => state === 'PENDING')?.keyId;
  }

  accept(): void {
    this.status = 'VERIFIED';
    this.isTried = true;
  }

  /** Okta is asked with the key of a rotation. */
  tryPending(): void {
    const { pending } = this;
    if (pending === undefined || !this.inOkta.has(pending)) return;
    for (const key of this.keys) {
      if (key.state === 'ACTIVE') key.state = 'RETIRED';
      else if (key.state === 'PENDING') key.state = 'ACTIVE';
    }
    this.accept();
  }
}

/** A connection with a service app of the stand-in. */
export class KeyedConnection {
  readonly #organisation: TestOrganisation;
  readonly #standIn: OktaStandIn;
  readonly clientId: string;
  readonly #own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  id = '';

  constructor(organisation: TestOrganisation, standIn: OktaStandIn, clientId: string) {
    this.#organisation = organisation;
    this.#standIn = standIn;
    this.clientId = clientId;
  }

  async create(): Promise<ShownApp> {
    const { clientId } = this;
    const { created } = await this.#organisation.client.request<{
      created: { appConnection: ShownApp & { id: string } };
    }>(
      `mutation ($input: CreateOktaConnectionInput!) {
        created: createOktaConnection(input: $input) { appConnection { id ${fields} } }
      }`,
      {
        input: {
          name: 'keyed',
          method: 'SERVICE_APP',
          credentials: { instanceUrl: this.#standIn.origin, clientId, scopes },
        },
      },
    );
    this.id = created.appConnection.id;
    await this.give([]);
    return created.appConnection;
  }

  /** Sends a mutation. Returns its error code, or OK. */
  async send(mutation: string, variables: object = {}): Promise<string> {
    const sent = this.#organisation.client.request(mutation, { id: this.id, ...variables });
    const failed = await sent.then(
      () => undefined,
      () => errorsOf(sent),
    );
    return failed ? String(failed[0]?.extensions.code) : 'OK';
  }

  convert(isManaged: boolean): Promise<string> {
    const { privateKey } = this.#own;
    const own = JSON.stringify({ ...privateKey.export({ format: 'jwk' }), kid: ownId });
    return this.send(
      'mutation ($id: UUID!, $to: ConvertOktaConnectionInput!) { convertOktaConnection(id: $id, to: $to) { appConnection { id } } }',
      { to: { clientId: this.clientId, scopes, ...(!isManaged && { privateKey: own }) } },
    );
  }

  async read(): Promise<ShownApp> {
    const { appConnection } = await this.#organisation.client.request<{ appConnection: ShownApp }>(
      `query ($id: UUID!) { appConnection(id: $id) { ${fields} } }`,
      { id: this.id },
    );
    return appConnection;
  }

  /** Replaces the keys that Okta has. */
  give(keys: readonly ShownKey['publicJwk'][]): Promise<void> {
    return this.#standIn.setServiceApp({ clientId: this.clientId, scopes, keys: [...keys] });
  }

  get ownJwk(): ShownKey['publicJwk'] {
    const jwk = this.#own.publicKey.export({ format: 'jwk' }) as ShownKey['publicJwk'];
    return { ...jwk, kid: ownId, alg: 'ES256', use: 'sig' };
  }

  /**
   * Sends a request to Okta. Returns the status of Okta's response. The access token is the one in the cache, if there is one:
   * a rejected token would cause a check in the background, whose result depends on when the keys in Okta change.
   */
  async use(): Promise<number> {
    const { use } = await this.#organisation.client.request<{ use: { status: number } }>(
      `mutation ($id: UUID!) {
        use: executeOktaRequest(input: { connectionId: $id, method: GET, path: "/api/v1/users" }) { status }
      }`,
      { id: this.id },
    );
    return use.status;
  }
}

type Step = fc.AsyncCommand<KeyModel, KeyedConnection>;

/** Builds a step that changes the connection as it changes the model, and compares both. */
function step(description: string, run: (model: KeyModel, real: KeyedConnection) => Promise<void>): Step {
  return {
    check: () => true,
    toString: () => description,
    run: async (model, real) => {
      await run(model, real);
      expectSame(model, await real.read());
      if (model.status === 'VERIFIED' && model.inOkta.has(model.active)) expect(await real.use()).toBe(200);
    },
  };
}

function expectSame(model: KeyModel, shown: ShownApp): void {
  const { keys } = shown.credentials;
  const [converting] = shown.conversion?.credentials.keys ?? [];
  // A key that was made just now is not known to the model yet.
  if (model.converting === '') model.converting = converting?.keyId;
  expect({
    keys: keys.map(({ keyId, state }) => ({ keyId, state: model.isTried ? state : 'ACTIVE' })),
    isManaged: shown.isPlatformManagedCredentials,
    status: shown.verification.status,
    converting: converting?.keyId,
  }).toEqual({
    keys: model.keys,
    isManaged: model.isManaged,
    status: model.status,
    converting: model.converting,
  });
}

const rotating = fc.constant(
  step('rotate', async (model, real) => {
    const code = await real.send(
      'mutation ($id: UUID!) { rotateOktaConnectionKey(id: $id) { appConnection { id } } }',
    );
    if (!model.isManaged) return expect(code).toBe('BAD_USER_INPUT');
    if (!model.isTried) return expect(code).toBe('CONNECTION_PENDING');
    expect(code).toBe('OK');
    if (model.pending === undefined) {
      const { keys } = (await real.read()).credentials;
      model.keys.push({ keyId: keys.at(-1)?.keyId ?? '', state: 'PENDING' });
    }
    model.tryPending();
  }),
);

const verifying = fc.constant(
  step('verify', async (model, real) => {
    expect(
      await real.send('mutation ($id: UUID!) { verifyAppConnection(id: $id) { appConnection { id } } }'),
    ).toBe('OK');
    model.tryPending();
    if (model.converting !== undefined && model.inOkta.has(model.converting)) {
      model.keys = [{ keyId: model.converting, state: 'ACTIVE' }];
      model.isManaged = true;
      model.converting = undefined;
    }
    if (model.inOkta.has(model.active)) model.accept();
    else model.status = 'REJECTED';
  }),
);

const converting = fc.boolean().map((isManaged) =>
  step(`convert to a key of ${isManaged ? 'the server' : 'the caller'}`, async (model, real) => {
    const code = await real.convert(isManaged);
    if (isManaged === model.isManaged) return expect(code).toBe('BAD_USER_INPUT');
    if (isManaged) {
      expect(code).toBe('OK');
      model.converting ??= '';
      return;
    }
    if (!model.inOkta.has(ownId)) return expect(code).toBe('CREDENTIALS_REJECTED');
    expect(code).toBe('OK');
    model.keys = [{ keyId: ownId, state: 'ACTIVE' }];
    model.isManaged = false;
    model.accept();
  }),
);

const changingOkta = fc
  .record({
    published: fc.constantFrom<('all' | 'newest' | 'oldest' | 'none')[]>(
      'all',
      'all',
      'newest',
      'oldest',
      'none',
    ),
    hasOwn: fc.boolean(),
  })
  .map(({ published, hasOwn }) =>
    step(
      `Okta gets ${published} published keys${hasOwn ? ' and that of the caller' : ''}`,
      async (model, real) => {
        const { credentials, conversion } = await real.read();
        const all = [...credentials.keys, ...(conversion?.credentials.keys ?? [])];
        const chosen = { all, newest: all.slice(-1), oldest: all.slice(0, 1), none: [] }[published];
        const jwks = chosen.filter(({ keyId }) => keyId !== ownId).map(({ publicJwk }) => publicJwk);
        await real.give([...jwks, ...(hasOwn ? [real.ownJwk] : [])]);
        const ids = chosen.map(({ keyId }) => keyId).filter((keyId) => keyId !== ownId);
        model.inOkta = new Set([...ids, ...(hasOwn ? [ownId] : [])]);
      },
    ),
  );

/** Random steps in the life of the keys of a connection. */
export const keySteps = fc.commands(
  [rotating, rotating, verifying, verifying, converting, changingOkta, changingOkta],
  { maxCommands: 30, size: 'max' },
);
