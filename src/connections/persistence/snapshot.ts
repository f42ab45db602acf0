import { wrap } from '@mikro-orm/core';
import { AppConnection } from '../app-connection.entity.ts';

/** Converts a connection to plain JSON values, without the sealed credentials and the MAC. */
export function toSnapshot(connection: AppConnection): Record<string, unknown> {
  const snapshot: Record<string, unknown> = { ...wrap(connection).toPOJO() };
  delete snapshot.sealedCredentials;
  delete snapshot.mac;
  return snapshot;
}

const timestampName = /(At|Since)$/;

/** Converts a snapshot, as the database returns it, to a connection. */
export function fromSnapshot(stored: Record<string, unknown>): AppConnection {
  const values = Object.entries(stored).map(([name, value]) => [
    name,
    timestampName.test(name) && typeof value === 'string' ? new Date(value) : value,
  ]);
  return Object.assign(new AppConnection(), Object.fromEntries(values));
}
