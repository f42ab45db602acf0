import type { ObjectRef } from '@pothos/core';
import { dateTime } from '../../common/date-time.ts';
import type { Builder } from '../../graphql/builder.ts';
import { type Context, requireCaller } from '../../graphql/context.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { type UsageLoader, usageLoader } from '../usage/load-usage.ts';
import { maxListedUsers, usedByDescription } from '../usage/read-users.ts';
import { toUsageRange } from '../usage/usage-range.ts';
import { defineUsageTypes } from './usage-types.ts';

/** Adds to `AppConnection` what was sent through a connection, and by whom. */
export function defineUsageFields(
  builder: Builder,
  Connection: ObjectRef<Builder['$inferSchemaTypes'], AppConnection>,
): void {
  const usage = defineUsageTypes(builder);
  builder.objectFields(Connection, (t) => ({
    lastUsedAt: t.field({
      type: 'DateTime',
      nullable: true,
      description: 'When the app last answered a request through the connection; null if it never did.',
      resolve: async ({ id }, _, context) => (await getLoader(context).lastUse(id))?.at,
    }),
    lastUsedBy: t.field({
      type: usage.Caller,
      nullable: true,
      description: 'The caller of that request.',
      resolve: async ({ id }, _, context) => (await getLoader(context).lastUse(id))?.caller,
    }),
    usedBy: t.field({
      type: [usage.User],
      description: usedByDescription,
      // Fewer than there can be: most connections have a few users.
      extensions: { listSize: maxListedUsers / 4 },
      resolve: ({ id }, _, context) => getLoader(context).users(id),
    }),
    usage: t.field({
      type: usage.Usage,
      description: 'The requests through the connection.',
      args: {
        from: t.arg({
          type: 'DateTime',
          description:
            'The beginning, inclusive, rounded down to the interval. Absent: 24 hours or 30 days before the end.',
          validate: { schema: dateTime },
        }),
        to: t.arg({
          type: 'DateTime',
          description: 'The end, exclusive, rounded up to the interval. Absent: now.',
          validate: { schema: dateTime },
        }),
        by: t.arg({
          type: usage.Interval,
          required: true,
          defaultValue: 'HOUR',
          description: 'The length of the intervals. A range has at most 200.',
        }),
      },
      resolve: ({ id }, range) => ({ connectionId: id, ...toUsageRange(range) }),
    }),
  }));
}

function getLoader(context: Context): UsageLoader {
  return usageLoader(context.connections, requireCaller(context));
}
