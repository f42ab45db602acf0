import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { apiKeyNameLoader } from '../../identity/api-key-names.ts';
import { usageLoader } from '../usage/load-usage.ts';
import {
  type ConnectionUsageCounts,
  parseCallerId,
  type UsageCounts,
  type UsageOfCaller,
} from '../usage/read-usage.ts';
import { type ConnectionUser, labelDescription } from '../usage/read-users.ts';
import { maxIntervals, type UsageInterval, type UsageRange } from '../usage/usage-range.ts';

/** The usage of a connection in a range. */
export type UsageOfConnection = UsageRange & { connectionId: string };

type Bucket = ConnectionUsageCounts['buckets'][number];

const bytesUp = 'The bytes of the bodies that were sent to the app.';
const bytesDown = 'The bytes of the bodies that the app sent.';

/** Defines the types of the usage of a connection. */
export function defineUsageTypes(builder: Builder) {
  const Interval = builder.enumType('UsageInterval', {
    description: 'The length of the intervals that usage is counted by.',
    values: {
      HOUR: { description: 'By the hour.' },
      DAY: { description: 'By the day, in UTC.' },
    } satisfies { [interval in UsageInterval]: object },
  });
  const Caller = defineCaller(builder);
  const Counts = defineCounts(builder);
  const BucketType = builder.objectRef<Bucket>('UsageBucket').implement({
    description: 'The calls through a connection in an hour or a day.',
    fields: (t) => ({
      start: t.expose('start', { type: 'DateTime', description: 'The beginning of the hour or the day.' }),
      counts: t.expose('counts', { type: Counts, description: 'The calls that ended in it.' }),
    }),
  });
  const OfCaller = builder.objectRef<UsageOfCaller>('UsageOfCaller').implement({
    description: 'The calls of a caller through a connection.',
    fields: (t) => ({
      caller: t.field({
        type: Caller,
        nullable: true,
        description: 'The caller; null for all others together, if there are very many.',
        resolve: ({ caller }) => caller || null,
      }),
      calls: t.exposeInt('calls', { description: 'The calls, also those that failed.' }),
      failedCalls: t.exposeInt('failedCalls', { description: 'The calls whose outcome is not `OK`.' }),
      bytesUp: t.exposeFloat('bytesUp', { description: bytesUp }),
      bytesDown: t.exposeFloat('bytesDown', { description: bytesDown }),
    }),
  });
  const Usage = builder.objectRef<UsageOfConnection>('AppConnectionUsage').implement({
    description:
      'The calls through a connection in a range. They are kept for 90 days. Calls through another server are counted within ' +
      'seconds.',
    fields: (t) => ({
      from: t.expose('from', { type: 'DateTime', description: 'The beginning of the first interval.' }),
      to: t.expose('to', { type: 'DateTime', description: 'The end of the last interval.' }),
      by: t.field({
        type: Interval,
        description: 'The length of the intervals.',
        resolve: (usage) => usage.by,
      }),
      total: t.field({
        type: Counts,
        description: 'All calls in the range.',
        resolve: async (usage, _, context) => {
          const loader = usageLoader(context.connections, requireCaller(context));
          return (await loader.counts(usage.connectionId, usage)).total;
        },
      }),
      buckets: t.field({
        type: [BucketType],
        description: 'All intervals of the range in their order, also those without calls.',
        // Fewer than there can be: most are empty, and cost little.
        extensions: { listSize: maxIntervals / 4 },
        resolve: async (usage, _, context) => {
          const loader = usageLoader(context.connections, requireCaller(context));
          return (await loader.counts(usage.connectionId, usage)).buckets;
        },
      }),
      callers: t.field({
        type: [OfCaller],
        description: 'The callers with the most calls in the range, at most 100, and all others together.',
        extensions: { listSize: 100 },
        resolve: (usage, _, context) =>
          usageLoader(context.connections, requireCaller(context)).callers(usage.connectionId, usage),
      }),
    }),
  });
  return { Usage, Interval, Caller, User: defineUser(builder, Caller) };
}

function defineUser(builder: Builder, Caller: ReturnType<typeof defineCaller>) {
  return builder.objectRef<ConnectionUser>('ConnectionUser').implement({
    description: 'A caller that uses a connection, by what its program calls itself.',
    fields: (t) => ({
      caller: t.field({
        type: Caller,
        nullable: true,
        description: 'The caller; null for callers that were not told apart, because there were very many.',
        resolve: ({ caller }) => caller || null,
      }),
      label: t.exposeString('label', { nullable: true, description: labelDescription }),
      calls: t.exposeInt('calls', { description: 'The calls in 90 days, also those that failed.' }),
      failedCalls: t.exposeInt('failedCalls', { description: 'The calls whose outcome is not `OK`.' }),
      lastUsedAt: t.expose('lastUsedAt', {
        type: 'DateTime',
        description: 'When the app last answered such a call.',
      }),
    }),
  });
}

/** Its value is `Caller.id`. */
function defineCaller(builder: Builder) {
  return builder.objectRef<string>('UsageCaller').implement({
    description: 'A caller that has used a connection.',
    fields: (t) => ({
      keyId: t.field({
        type: 'UUID',
        nullable: true,
        description: 'The id of the API key; null for an access token.',
        resolve: (caller) => parseCallerId(caller).keyId,
      }),
      subject: t.string({
        nullable: true,
        description: 'The subject of the access token; null for an API key.',
        resolve: (caller) => parseCallerId(caller).subject,
      }),
      name: t.string({
        nullable: true,
        description: 'The name of the API key; null if the caller of this operation may not see the key.',
        resolve: async (caller, _, context) => {
          const { keyId } = parseCallerId(caller);
          return keyId && apiKeyNameLoader(context.administration, requireCaller(context))(keyId);
        },
      }),
    }),
  });
}

function defineCounts(builder: Builder) {
  const OfOutcome = builder.objectRef<UsageCounts['outcomes'][number]>('UsageOfOutcome').implement({
    description: 'The calls with an outcome.',
    fields: (t) => ({
      outcome: t.exposeString('outcome', {
        description:
          '`OK`: the app answered, with any status. `CLIENT_DISCONNECTED`: the client did not wait for the response, and the ' +
          'app may have done what it was asked to. Otherwise the error code.',
      }),
      calls: t.exposeInt('calls', { description: 'The calls.' }),
    }),
  });
  const OfStatusClass = builder
    .objectRef<UsageCounts['statusClasses'][number]>('UsageOfStatusClass')
    .implement({
      description: 'The calls with a class of status.',
      fields: (t) => ({
        statusClass: t.int({
          nullable: true,
          description: 'The first digit of the status: 2 for 200 to 299; null if the app did not answer.',
          resolve: ({ statusClass }) => statusClass,
        }),
        calls: t.exposeInt('calls', { description: 'The calls.' }),
      }),
    });
  return builder.objectRef<UsageCounts>('UsageCounts').implement({
    description: 'Counts of calls through a connection.',
    fields: (t) => ({
      calls: t.exposeInt('calls', { description: 'The calls, also those that were refused or failed.' }),
      outcomes: t.expose('outcomes', {
        type: [OfOutcome],
        description: 'By outcome, most calls first.',
        extensions: { listSize: 4 },
      }),
      statusClasses: t.expose('statusClasses', {
        type: [OfStatusClass],
        description: 'By the first digit of the status.',
        extensions: { listSize: 4 },
      }),
      p50Ms: t.exposeFloat('p50Ms', {
        nullable: true,
        description:
          'The median duration of the calls that the app answered, to the end of the response, in milliseconds; at most a ' +
          'fifth off. Null without any.',
      }),
      p99Ms: t.exposeFloat('p99Ms', {
        nullable: true,
        description: 'The duration that 99 % of these calls do not exceed.',
      }),
      bytesUp: t.exposeFloat('bytesUp', { description: bytesUp }),
      bytesDown: t.exposeFloat('bytesDown', { description: bytesDown }),
    }),
  });
}
