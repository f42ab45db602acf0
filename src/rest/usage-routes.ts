import { z } from 'zod';
import { type App, appTypeName } from '../apps/app.ts';
import { timestamp } from '../common/date-time.ts';
import { strictObject } from '../common/strict-object.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { getConnection } from '../connections/operations/read.ts';
import { usageLoader } from '../connections/usage/load-usage.ts';
import { parseCallerId } from '../connections/usage/read-usage.ts';
import { labelDescription, usedByDescription } from '../connections/usage/read-users.ts';
import { toUsageRange, type UsageInterval } from '../connections/usage/usage-range.ts';
import { apiKeyNameLoader } from '../identity/api-key-names.ts';
import type { Caller } from '../identity/caller.ts';
import { idPath, noQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';

const intervals = ['HOUR', 'DAY'] as const satisfies readonly UsageInterval[];
const time = z.iso.datetime();
const calls = z.int().meta({ description: 'The calls, also those that were refused or failed.' });
const bytes = {
  bytesUp: z.int().meta({ description: 'The bytes of the bodies that were sent to the app.' }),
  bytesDown: z.int().meta({ description: 'The bytes of the bodies that the app sent.' }),
};
const caller = z
  .object({
    keyId: z.guid().nullable().meta({ description: 'The id of the API key; null for an access token.' }),
    subject: z
      .string()
      .nullable()
      .meta({ description: 'The subject of the access token; null for an API key.' }),
    name: z
      .string()
      .nullable()
      .meta({ description: 'The name of the API key; null if the caller of this route may not see it.' }),
  })
  .nullable();
const counts = z
  .object({
    calls,
    outcomes: z.array(
      z.object({ outcome: z.string().meta({ description: '`OK` or an error code.' }), calls }),
    ),
    statusClasses: z.array(
      z.object({
        statusClass: z
          .int()
          .nullable()
          .meta({ description: 'The first digit of the status; null if the app did not answer.' }),
        calls,
      }),
    ),
    p50Ms: z
      .number()
      .nullable()
      .meta({ description: 'The median duration of the calls that the app answered, in milliseconds.' }),
    p99Ms: z
      .number()
      .nullable()
      .meta({ description: 'The duration that 99 % of these calls do not exceed.' }),
    ...bytes,
  })
  .meta({ id: 'UsageCounts', description: 'Counts of calls through a connection.' });

const usageQuery = strictObject({
  from: timestamp.optional().meta({
    description:
      'The beginning, inclusive, rounded down to the interval. Absent: 24 hours or 30 days before the end.',
  }),
  to: timestamp
    .optional()
    .meta({ description: 'The end, exclusive, rounded up to the interval. Absent: now.' }),
  by: z
    .enum(intervals)
    .default('HOUR')
    .meta({ description: 'The length of the intervals. A range has at most 200.' }),
});

const usage = z
  .object({
    from: time.meta({ description: 'The beginning of the first interval.' }),
    to: time.meta({ description: 'The end of the last interval.' }),
    by: z.enum(intervals).meta({ description: 'The length of the intervals.' }),
    lastUsedAt: time.nullable().meta({
      description: 'When the app last answered a request through the connection; null if it never did.',
    }),
    lastUsedBy: caller.meta({ description: 'The caller of that request.' }),
    total: counts,
    buckets: z
      .array(z.object({ start: time.meta({ description: 'The beginning of the interval.' }), counts }))
      .meta({ description: 'All intervals of the range in their order, also those without calls.' }),
    callers: z
      .array(
        z.object({
          caller: caller.meta({ description: 'The caller; null for all others together.' }),
          calls,
          failedCalls: z.int().meta({ description: 'The calls whose outcome is not `OK`.' }),
          ...bytes,
        }),
      )
      .meta({ description: 'The callers with the most calls in the range, at most 100.' }),
  })
  .meta({ id: 'ConnectionUsage', description: 'The calls through a connection in a range.' });

/** The route of the usage of a connection. */
export function usageRoute(deps: ConnectionDeps, app: App, path: string): Route {
  return route(
    {
      method: 'GET',
      path: `${path}/:id/usage`,
      id: `get${appTypeName(app)}ConnectionUsage`,
      summary: 'Returns the calls through a connection by the hour or the day. Scope: connections:read.',
      schemas: { path: idPath, query: usageQuery },
      response: z.object({ usage }),
      codes: ['NOT_FOUND'],
    },
    async ({ path: { id }, query }, caller) => {
      await getConnection(deps, caller, id, app.id);
      const range = toUsageRange(query);
      const loader = usageLoader(deps, caller);
      const [{ total, buckets }, callers, lastUse] = await Promise.all([
        loader.counts(id, range),
        loader.callers(id, range),
        loader.lastUse(id),
      ]);
      const show = (callerId: string) => serializeCaller(deps, caller, callerId);
      return {
        body: {
          usage: {
            ...{ from: range.from.toISOString(), to: range.to.toISOString(), by: range.by },
            lastUsedAt: lastUse?.at?.toISOString() ?? null,
            lastUsedBy: lastUse?.caller ? await show(lastUse.caller) : null,
            total,
            buckets: buckets.map(({ start, counts }) => ({ start: start.toISOString(), counts })),
            callers: await Promise.all(
              callers.map(async ({ caller, calls, failedCalls, bytesUp, bytesDown }) => ({
                caller: caller ? await show(caller) : null,
                ...{ calls, failedCalls, bytesUp, bytesDown },
              })),
            ),
          },
        },
      };
    },
  );
}

const users = z
  .array(
    z.object({
      caller: caller.meta({ description: 'The caller; null for callers that were not told apart.' }),
      label: z.string().nullable().meta({ description: labelDescription }),
      calls: z.int().meta({ description: 'The calls in 90 days, also those that failed.' }),
      failedCalls: z.int().meta({ description: 'The calls whose outcome is not `OK`.' }),
      lastUsedAt: time.meta({ description: 'When the app last answered such a call.' }),
    }),
  )
  .meta({ description: usedByDescription });

/** The route of the users of a connection. */
export function usedByRoute(deps: ConnectionDeps, app: App, path: string): Route {
  return route(
    {
      method: 'GET',
      path: `${path}/:id/used-by`,
      id: `get${appTypeName(app)}ConnectionUsers`,
      summary: 'Returns who uses a connection. Scope: connections:read.',
      schemas: { path: idPath, query: noQuery },
      response: z.object({ usedBy: users }),
      codes: ['NOT_FOUND'],
    },
    async ({ path: { id } }, caller) => {
      await getConnection(deps, caller, id, app.id);
      const usedBy = await Promise.all(
        (await usageLoader(deps, caller).users(id)).map(async ({ lastUsedAt, ...user }) => ({
          ...user,
          caller: user.caller ? await serializeCaller(deps, caller, user.caller) : null,
          lastUsedAt: lastUsedAt.toISOString(),
        })),
      );
      return { body: { usedBy } };
    },
  );
}

async function serializeCaller(deps: ConnectionDeps, viewer: Caller, callerId: string) {
  const { keyId, subject } = parseCallerId(callerId);
  const name = (keyId !== null && (await apiKeyNameLoader(deps, viewer)(keyId))) || null;
  return { keyId, subject, name };
}
