import type { Builder } from '../../graphql/builder.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import type { ConnectionTypes } from './types.ts';

/** Defines the payload of a mutation that changes a connection. */
export function defineChangePayload(
  builder: Builder,
  { Connection }: Pick<ConnectionTypes, 'Connection'>,
  name: string,
  description: string,
) {
  return builder.objectRef<{ appConnection: AppConnection }>(name).implement({
    description,
    fields: (t) => ({
      appConnection: t.expose('appConnection', {
        type: Connection,
        description: 'The connection as it is now.',
      }),
    }),
  });
}
