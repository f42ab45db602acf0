/** What lets somebody in: an API key, or a token of the identity provider. */
export interface Credential {
  isToken: boolean;
  /** What a request is sent with that is sent now. */
  current(): Promise<string>;
}

/** A credential as long as it lasts. */
export function lasting(secret: string, isToken: boolean): Credential {
  return { isToken, current: async () => secret };
}

const kept = 'app-connections.credential';

/** What this tab was asked to keep. Other tabs do not see it, and it goes when the tab is closed. */
export const keptCredential = {
  read: (): Credential | undefined => {
    const text = sessionStorage.getItem(kept);
    if (text === null) return undefined;
    const { secret, isToken } = JSON.parse(text) as { secret: string; isToken: boolean };
    return lasting(secret, isToken);
  },
  write: (secret: string, isToken: boolean) =>
    sessionStorage.setItem(kept, JSON.stringify({ secret, isToken })),
  clear: () => sessionStorage.removeItem(kept),
};
