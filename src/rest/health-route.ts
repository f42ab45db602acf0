import { z } from 'zod';
import { type App, appTypeName } from '../apps/app.ts';
import { errorCodes } from '../common/errors.ts';
import { pageSize } from '../common/pagination.ts';
import { strictObject } from '../common/strict-object.ts';
import { typedKeys } from '../common/typed-keys.ts';
import { expiryReasons, verificationStatuses } from '../connections/app-connection.entity.ts';
import { loadHealth } from '../connections/checks/load-health.ts';
import { loadHistory } from '../connections/checks/load-history.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { loadCertificate } from '../connections/forecasts/load-certificate.ts';
import { getConnection } from '../connections/operations/read.ts';
import { idPath, integerParameter } from './request-schemas.ts';
import { type Route, route } from './route.ts';

const time = (description: string) => z.iso.datetime().nullable().meta({ description });

const period = z.object({
  from: time('The beginning, inclusive; null if it is not known.'),
  until: time('The end, exclusive; null for the present status.'),
  status: z.enum(verificationStatuses).meta({ description: 'The status.' }),
  code: z
    .enum(typedKeys(errorCodes))
    .nullable()
    .meta({ description: 'The last reason; null if the connection worked.' }),
  isHostOutage: z.boolean().meta({
    description: 'Whether the host did not answer, which is found once for all connections to it.',
  }),
});

const healthQuery = strictObject({
  limit: integerParameter(pageSize)
    .default(20)
    .meta({ description: 'The number of items of `history`, 1 to 100. Default: 20.' }),
});

const health = z
  .object({
    status: z.enum(verificationStatuses).meta({
      description:
        'The result of the last check or verification; `UNREACHABLE` while the host does not answer.',
    }),
    since: time('The time of the first failure since the connection last worked; null if it works.'),
    lastCheckAt: time('The time of the last check or verification, also of one of the host.'),
    nextCheckAt: time('The time of the next check; null if there is none.'),
    lastGoodAt: time('The time at which the app last accepted the credentials in a check or verification.'),
    checkDelay: z
      .object({
        since: z.iso.datetime().meta({ description: 'The time at which the check was due.' }),
        code: z.enum(typedKeys(errorCodes)).meta({ description: 'The reason of the last attempt.' }),
        message: z.string().meta({ description: 'The reason of the last attempt, in words.' }),
      })
      .nullable()
      .meta({ description: 'Since when a check is late, and why; null if none is.' }),
    expiresAt: time(
      'The time at which the credentials end, as far as it is known, if they are not used before; null if it is not known.',
    ),
    expiryReason: z.enum(expiryReasons).nullable().meta({
      description:
        'Why they end. `UNUSED`: the app ends them when they are not used; each check is a use. `OWNER_INACTIVE`: their owner is no longer active; the time is not known. `KEY_AGE`: nothing replaces the key of this server, which still works then.',
    }),
    hostCertificate: z
      .object({
        validFrom: z.iso.datetime().meta({ description: 'The time from which it is valid.' }),
        validTo: z.iso.datetime().meta({ description: 'The time at which it ends.' }),
      })
      .nullable()
      .meta({
        description: 'The TLS certificate of the host, as a server has last seen it; null if none was seen.',
      }),
    history: z.array(period).meta({
      description:
        'The last statuses, the newest first: one item for each change. At most the last 100 of 90 days are kept.',
    }),
  })
  .meta({ description: 'Whether the connection works, as its checks and verifications have found.' });

/** The route of the health of a connection. */
export function healthRoute(deps: ConnectionDeps, app: App, path: string): Route {
  return route(
    {
      method: 'GET',
      path: `${path}/:id/health`,
      id: `get${appTypeName(app)}ConnectionHealth`,
      summary: 'Returns whether the connection works, and when that is checked.',
      schemas: { path: idPath, query: healthQuery },
      response: z.object({ health }),
      codes: ['NOT_FOUND'],
    },
    async ({ path: { id }, query: { limit } }, caller) => {
      const connection = await getConnection(deps, caller, id, app.id);
      const [health, history, certificate] = await Promise.all([
        loadHealth(deps, caller, connection),
        loadHistory(deps, caller, connection, limit),
        loadCertificate(deps, caller, connection),
      ]);
      return {
        body: {
          health: {
            status: health.status,
            since: toText(health.since),
            lastCheckAt: toText(health.lastCheckAt),
            nextCheckAt: toText(health.nextCheckAt),
            lastGoodAt: toText(health.lastGoodAt),
            checkDelay: health.checkDelay,
            expiresAt: toText(health.expiresAt),
            expiryReason: health.expiryReason,
            hostCertificate: certificate && {
              validFrom: certificate.validFrom.toISOString(),
              validTo: certificate.validTo.toISOString(),
            },
            history: history.map(({ from, until, ...period }) => ({
              ...{ from: toText(from), until: toText(until) },
              ...period,
            })),
          },
        },
      };
    },
  );
}

function toText(time: Date | null): string | null {
  return time?.toISOString() ?? null;
}
