import type { KeyPair } from '../../apps/managed-keys.ts';
import type { AppConnection, ConnectionKey } from '../app-connection.entity.ts';

type WithKeys = Pick<AppConnection, 'keys'>;

/**
 * For how long a retired key is still published, in milliseconds: apps may use keys that they have fetched for as long. Okta
 * documents no time; a day is an estimate.
 */
const publishedAfterRetirementMs = 86_400_000;
/** The most retired keys of a connection. Of more, the oldest are forgotten sooner. */
const maxRetiredKeys = 10;
/** The most retired keys that this server can remove at the app: Okta keeps at most 50 keys of an app, and one is active. */
const maxRemovableKeys = 49;

/** Returns the keys of a connection without those that were retired so long ago that no app uses them any more. */
export function listPublishedKeys({ keys }: WithKeys, now: Date): ConnectionKey[] {
  const retiredSince = now.getTime() - publishedAfterRetirementMs;
  return (keys ?? []).filter(({ retiredAt }) => !retiredAt || Date.parse(retiredAt) > retiredSince);
}

/**
 * Returns the keys that stay when others are added: the published ones. If the server may remove keys at the app, all stay until it
 * has done that: a key that it forgets earlier could be used at the app for ever.
 */
function listKeptKeys(connection: WithKeys, mayRemove: boolean, now: Date): ConnectionKey[] {
  return mayRemove ? (connection.keys ?? []) : listPublishedKeys(connection, now);
}

/** Returns the new key of a connection that the app has not accepted yet, if its key is being rotated. */
export function findPendingKey({ keys }: WithKeys): ConnectionKey | undefined {
  return keys?.find(({ state }) => state === 'PENDING');
}

/** Returns the keys of a connection that others have replaced. */
export function listRetiredKeys({ keys }: WithKeys): ConnectionKey[] {
  return (keys ?? []).filter(({ state }) => state === 'RETIRED');
}

/** Returns the keys of a connection after a key of the caller has replaced all of them. */
export function retireKeys(connection: WithKeys, now: Date): ConnectionKey[] {
  const retiredAt = now.toISOString();
  return (connection.keys ?? []).map((key) =>
    key.state === 'RETIRED' ? key : { ...key, state: 'RETIRED', retiredAt },
  );
}

/**
 * Returns the keys with a new one, which is not used yet.
 *
 * @param mayRemove whether the credentials may remove keys at the app
 */
export function addPendingKey(
  connection: WithKeys,
  { publicKey }: KeyPair,
  mayRemove: boolean,
  now: Date,
): ConnectionKey[] {
  const key: ConnectionKey = { ...publicKey, createdAt: now.toISOString(), state: 'PENDING' };
  return [...listKeptKeys(connection, mayRemove, now), key];
}

/**
 * Returns the keys after the pending one has replaced the active one.
 *
 * @param mayRemove as for `addPendingKey`
 */
export function activatePendingKey(connection: WithKeys, mayRemove: boolean, now: Date): ConnectionKey[] {
  const keys = listKeptKeys(connection, mayRemove, now).map((key): ConnectionKey => {
    if (key.state === 'PENDING') return { ...key, state: 'ACTIVE' };
    return key.state === 'ACTIVE' ? { ...key, state: 'RETIRED', retiredAt: now.toISOString() } : key;
  });
  const retired = keys.filter(({ state }) => state === 'RETIRED');
  const max = mayRemove ? maxRemovableKeys : maxRetiredKeys;
  const forgotten = retired.slice(0, Math.max(0, retired.length - max));
  return keys.filter((key) => !forgotten.includes(key));
}
