import { wrap } from '@mikro-orm/core';
import { AppConnection } from '../app-connection.entity.ts';

/** A connection as it is at this moment, without what is sealed and its MAC. */
export function toSnapshot(connection: AppConnection): Record<string, unknown> {
  const shown: Record<string, unknown> = { ...wrap(connection).toPOJO() };
  delete shown.sealedCredentials;
  delete shown.mac;
  return shown;
}

const isTime = /(At|Since)$/;

/** The connection that a snapshot was made of, after a stay in the database as JSON. */
export function fromSnapshot(stored: Record<string, unknown>): AppConnection {
  const values = Object.entries(stored).map(([name, value]) => [
    name,
    isTime.test(name) && typeof value === 'string' ? new Date(value) : value,
  ]);
  return Object.assign(new AppConnection(), Object.fromEntries(values));
}
