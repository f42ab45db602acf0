import { Problem } from '../errors.ts';

/** What an API key may do. */
export const scopes = ['connections:read', 'connections:write', 'connections:verify', 'audit:read'] as const;

export type Scope = (typeof scopes)[number];

/** Who asks: the organisation and the rights of the API key that came with the request. */
export class Caller {
  readonly orgId: string;
  readonly keyId: string;
  readonly #scopes: ReadonlySet<Scope>;

  constructor(orgId: string, keyId: string, granted: Iterable<Scope>) {
    this.orgId = orgId;
    this.keyId = keyId;
    this.#scopes = new Set(granted);
  }

  /** @throws Problem `FORBIDDEN` when the key lacks the scope */
  assertMay(scope: Scope): void {
    if (this.#scopes.has(scope)) return;
    throw new Problem('FORBIDDEN', `This API key lacks the scope ${scope}.`, {
      remedy: `Use an API key that has ${scope}.`,
    });
  }
}
