import type { App, AppSettings } from './app.ts';
import { okta } from './okta/okta.ts';

/**
 * Every app there is. A new one is a folder beside this file and a line in this list.
 *
 * The dashboard has the rules of its forms from here, so nothing of an app may need Node.
 */
export function createApps(settings: AppSettings): readonly App[] {
  return [okta(settings)];
}
