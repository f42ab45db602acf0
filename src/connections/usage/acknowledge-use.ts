import { AppError } from '../../common/errors.ts';
import { apiKeyNameLoader } from '../../identity/api-key-names.ts';
import type { Caller } from '../../identity/caller.ts';
import type { UsageDeps } from './load-usage.ts';
import { parseCallerId } from './read-usage.ts';
import { type ConnectionUser, readUsers } from './read-users.ts';

/** How long after the last response of the app a connection counts as in use, in days. */
const recentDays = 7;

/** How many users the error names at most. */
const maxNamed = 5;

/**
 * Refuses to delete or replace a connection that was used in the last days, unless the caller has acknowledged that. A caller
 * without `connections:read` learns only how many use it.
 *
 * @param connectionId of a connection that the caller may see
 * @throws AppError `CONNECTION_IN_USE`
 */
export async function assertUseAcknowledged(
  deps: UsageDeps,
  caller: Caller,
  connectionId: string,
  acknowledgeUse: boolean | null | undefined,
): Promise<void> {
  if (acknowledgeUse) return;
  await deps.usage.flush();
  const users = await readUsers(deps.database, caller.orgId, connectionId, recentDays);
  if (users.length === 0) return;
  const by = caller.scopes.has('connections:read') ? await nameUsers(deps, caller, users) : countUsers(users);
  const message = `The connection was used in the last ${recentDays} days by ${by}.`;
  throw new AppError('CONNECTION_IN_USE', message, {
    issues: [{ path: ['acknowledgeUse'], message }],
    remedy: 'To go on nevertheless, set acknowledgeUse to true. Nothing was changed.',
  });
}

function countUsers(users: readonly ConnectionUser[]): string {
  const callers = new Set(users.map(({ caller }) => caller)).size;
  const calls = users.reduce((sum, user) => sum + user.calls, 0);
  return `${callers} ${callers === 1 ? 'caller' : 'callers'}, in ${countCalls(calls)}`;
}

async function nameUsers(deps: UsageDeps, viewer: Caller, users: readonly ConnectionUser[]): Promise<string> {
  const named = await Promise.all(
    users.slice(0, maxNamed).map(async ({ caller, label, calls, lastUsedAt }) => {
      const details = [label, countCalls(calls), `last at ${lastUsedAt.toISOString()}`];
      return `${await nameCaller(deps, viewer, caller)} (${details.filter(Boolean).join(', ')})`;
    }),
  );
  const others = users.length - named.length;
  return [...named, ...(others > 0 ? [`${others} others`] : [])].join(', ');
}

async function nameCaller(deps: UsageDeps, viewer: Caller, caller: string): Promise<string> {
  const { keyId, subject } = parseCallerId(caller);
  if (keyId === null) return subject === null ? 'other callers' : `the subject ${subject}`;
  const name = await apiKeyNameLoader(deps, viewer)(keyId);
  return name === undefined ? `the API key ${keyId}` : `the API key “${name}”`;
}

function countCalls(calls: number): string {
  return `${calls} ${calls === 1 ? 'call' : 'calls'}`;
}
