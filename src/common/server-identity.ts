import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/** Names this process in logs: the name of its host or pod, and a random part for each start. */
export const serverId = `${hostname()}-${randomBytes(3).toString('hex')}`;

/** The version of this program. */
export const version: string = JSON.parse(
  readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
).version;
