import type { App, AppSettings } from './app.ts';
import { okta } from './okta/okta.ts';

/**
 * Creates the list of all apps. An app is a folder beside this file and an entry in this list.
 *
 * The dashboard imports the list to validate its forms, so apps must not import modules of Node.
 */
export function createApps(settings: AppSettings): readonly App[] {
  return [okta(settings)];
}
