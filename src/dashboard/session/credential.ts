/** An API key, or an access token of the identity provider. */
export interface Credential {
  isToken: boolean;
  /** Returns the key or token for the next request; renews an expiring token first. */
  getSecret(): Promise<string>;
}

/** A credential that is not renewed. */
export function staticCredential(secret: string, isToken: boolean): Credential {
  return { isToken, getSecret: async () => secret };
}

const storageKey = 'app-connections.credential';

/** The credential in this tab's sessionStorage: other tabs cannot read it, and it is deleted with the tab. */
export const storedCredential = {
  read: (): Credential | undefined => {
    const text = sessionStorage.getItem(storageKey);
    if (text === null) return undefined;
    const { secret, isToken } = JSON.parse(text) as { secret: string; isToken: boolean };
    return staticCredential(secret, isToken);
  },
  write: (secret: string, isToken: boolean) =>
    sessionStorage.setItem(storageKey, JSON.stringify({ secret, isToken })),
  clear: () => sessionStorage.removeItem(storageKey),
};
