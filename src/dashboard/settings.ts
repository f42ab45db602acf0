/** What the server tells the page; see `src/dashboard-files.ts`. */
export interface Settings {
  /** Lets style elements through the Content-Security-Policy. */
  nonce: string;
  /** Signs in by itself. */
  apiKey?: string;
}

/** Reads the settings out of the page, and leaves none there: they may hold a key. */
export function takeSettings(): Settings {
  const element = document.getElementById('settings');
  element?.remove();
  return JSON.parse(element?.textContent ?? '{}') as Settings;
}
