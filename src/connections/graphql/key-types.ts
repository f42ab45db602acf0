import { type Builder, describedValues } from '../../graphql/builder.ts';
import type { ConnectionKey, connectionKeyStates, StoredKeyFailure } from '../app-connection.entity.ts';
import type { defineVerification } from './verification-type.ts';

/** The enum of error codes. */
export type ErrorCodes = Pick<ReturnType<typeof defineVerification>, 'ErrorCodeEnum'>;

/** Defines `AppConnectionKey` and `KeyRegistrationFailure`. */
export function defineKeyTypes(builder: Builder, codes: ErrorCodes) {
  return { Key: defineKey(builder), Failure: defineFailure(builder, codes) };
}

/** Defines `AppConnectionKey`. */
function defineKey(builder: Builder) {
  const State = builder.enumType('AppConnectionKeyState', {
    description: 'Whether a key of a connection is used.',
    values: describedValues<(typeof connectionKeyStates)[number]>({
      PENDING: 'It is published, and not used yet: the app has yet to accept it.',
      ACTIVE: 'It is used.',
      RETIRED: 'It is no longer used, and published until the app no longer needs it.',
    }),
  });
  return builder.objectRef<ConnectionKey>('AppConnectionKey').implement({
    description: 'The public part of a key pair. The private part is never returned.',
    fields: (t) => ({
      keyId: t.exposeString('keyId', { description: 'The id of the key, `kid` in its JWK.' }),
      publicJwk: t.expose('publicJwk', {
        type: 'JSON',
        description: 'The public key as a JWK (RFC 7517), as it is registered in the app.',
      }),
      createdAt: t.field({
        type: 'DateTime',
        description: 'The time at which this server made or received it.',
        resolve: ({ createdAt }) => new Date(createdAt),
      }),
      state: t.expose('state', { type: State, description: 'Whether it is used.' }),
    }),
  });
}

/** Defines `KeyRegistrationFailure`. */
function defineFailure(builder: Builder, { ErrorCodeEnum }: ErrorCodes) {
  return builder.objectRef<StoredKeyFailure>('KeyRegistrationFailure').implement({
    description:
      'Why the app has not let this server add or remove keys, or which keys a person has to remove there.',
    fields: (t) => ({
      since: t.field({
        type: 'DateTime',
        description: 'The time at which it was first found.',
        resolve: ({ since }) => new Date(since),
      }),
      code: t.expose('code', { type: ErrorCodeEnum, description: 'The error code.' }),
      message: t.exposeString('message', { description: 'A description of the problem.' }),
      remedy: t.exposeString('remedy', { description: 'What to do.' }),
    }),
  });
}
