import { z } from 'zod';
import { type App, isAlwaysRequired, splitList } from '../apps/app.ts';
import {
  type AppConnection,
  type ConnectionKey,
  connectionKeyStates,
} from '../connections/app-connection.entity.ts';
import { describeKeys, getJwksUrl } from '../connections/credentials/keys.ts';
import { type ConnectionDeps, resolveAppAndMethod } from '../connections/deps.ts';
import { errorCode } from './verification-serializers.ts';

/** Converts a public key of a connection. */
export function serializeKey({ keyId, publicJwk, createdAt, state }: ConnectionKey) {
  return { keyId, publicJwk, createdAt, state };
}

const jwksUrl = z
  .string()
  .meta({ description: 'The URL at which this server publishes the public keys as a JWK set.' });

/** The schema of the public keys of a connection. */
export const connectionKeys = z
  .array(
    z.object({
      keyId: z.string().meta({ description: 'The id of the key.' }),
      publicJwk: z.record(z.string(), z.string()).meta({ description: 'The public key as a JWK.' }),
      createdAt: z.iso.datetime().meta({ description: 'The time at which it was made or given.' }),
      state: z.enum(connectionKeyStates).meta({ description: 'Whether it is used.' }),
    }),
  )
  .meta({ description: 'The public keys of the key pairs.' });

const keyRegistrationFailure = z
  .object({
    since: z.iso.datetime().meta({ description: 'The time at which it was first found.' }),
    code: errorCode.meta({ description: 'The error code.' }),
    message: z.string().meta({ description: 'A description of the problem.' }),
    remedy: z.string().meta({ description: 'What to do.' }),
  })
  .meta({
    description:
      'Why the app has not let this server add or remove keys when that was tried last, or which keys a former client of the app still has. Absent if there is nothing to say.',
  });

/** The schema of the public part of the credentials. */
export function credentialsResponse(app: App) {
  const fields = app.methods.flatMap((method) => Object.entries(method.fields));
  const shown = fields.flatMap(([name, { kind, help }]) => {
    const isEverywhere = app.methods.every(({ fields }) => fields[name] && isAlwaysRequired(fields[name]));
    const text = z.string();
    const value = (kind === 'LIST' ? z.array(text) : text).meta({ description: help });
    return kind === 'SECRET' ? [] : [[name, isEverywhere ? value : value.optional()] as const];
  });
  return z
    .object({
      ...Object.fromEntries(shown),
      ...(app.methods.some(({ managedKeys }) => managedKeys) && {
        ...{ keys: connectionKeys.optional(), jwksUrl: jwksUrl.optional() },
        keyRegistrationFailure: keyRegistrationFailure.optional(),
      }),
    })
    .meta({ description: 'The public part of the credentials. The secret part never comes back.' });
}

/** Converts the public part of the credentials of a connection. */
export function serializeCredentials(
  deps: ConnectionDeps,
  connection: AppConnection,
): Record<string, unknown> {
  const { method } = resolveAppAndMethod(deps, connection);
  const shown = Object.entries(method.fields).flatMap(([name, { kind }]): [string, unknown][] => {
    const value = connection.publicCredentials[name];
    if (kind === 'SECRET' || value === undefined) return [];
    return [[name, kind === 'LIST' ? splitList(value) : value]];
  });
  if (method.managedKeys) {
    shown.push(['keys', describeKeys(connection).map(serializeKey)]);
    shown.push(['jwksUrl', getJwksUrl(deps, connection)]);
    const failure = connection.keyRegistrationFailure;
    if (failure) shown.push(['keyRegistrationFailure', failure]);
  }
  return Object.fromEntries(shown);
}
