import type { App } from './app.ts';
import { okta } from './okta/okta.ts';

/** Every app there is. A new one is a folder beside this file and a line in this list. */
export function createApps(settings: { trustedHosts: ReadonlySet<string> }): readonly App[] {
  return [okta(settings)];
}
