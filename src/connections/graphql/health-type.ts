import { pageSize } from '../../common/pagination.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import type { AppConnection, CheckDelay, ExpiryReason } from '../app-connection.entity.ts';
import type { Health } from '../checks/load-health.ts';
import { loadHistory, type StatusPeriod } from '../checks/load-history.ts';
import { loadCertificate } from '../forecasts/load-certificate.ts';
import type { HostCertificate } from '../host-certificate.entity.ts';
import type { defineVerification } from './verification-type.ts';

/** Defines `ConnectionHealth`. */
export function defineHealth(
  builder: Builder,
  { Status, ErrorCodeEnum }: Pick<ReturnType<typeof defineVerification>, 'Status' | 'ErrorCodeEnum'>,
) {
  const Period = builder.objectRef<StatusPeriod>('ConnectionStatusPeriod').implement({
    description: 'A time in which a connection had the same status.',
    fields: (t) => ({
      from: t.expose('from', {
        type: 'DateTime',
        nullable: true,
        description:
          'The beginning, inclusive. Null if it is not known, because an earlier version did not store it.',
      }),
      until: t.expose('until', {
        type: 'DateTime',
        nullable: true,
        description: 'The end, exclusive. Null for the present status.',
      }),
      status: t.expose('status', { type: Status, description: 'The status.' }),
      code: t.expose('code', {
        type: ErrorCodeEnum,
        nullable: true,
        description: 'The last reason. Null if the connection worked.',
      }),
      isHostOutage: t.exposeBoolean('isHostOutage', {
        description: 'Whether the host did not answer, which is found once for all connections to it.',
      }),
    }),
  });
  const ExpiryReasonEnum = builder.enumType('ConnectionExpiryReason', {
    description: 'Why the credentials of a connection end.',
    values: {
      UNUSED: {
        description:
          'The app ends credentials that are not used for some time. Each check, verification and request is a use.',
      },
      OWNER_INACTIVE: {
        description:
          'Their owner is no longer active in the app, which can end them at any time, so the time is not known.',
      },
      KEY_AGE: {
        description:
          'The key that this server made is due for rotation, and nothing rotates it: the schedule is off, or the app does not accept the next key. It still works then.',
      },
    } satisfies Record<ExpiryReason, object>,
  });
  const Delay = builder.objectRef<CheckDelay>('ConnectionCheckDelay').implement({
    description: 'Why a check that was due was postponed.',
    fields: (t) => ({
      since: t.field({
        type: 'DateTime',
        description: 'The time at which the check was due.',
        resolve: ({ since }) => new Date(since),
      }),
      code: t.expose('code', { type: ErrorCodeEnum, description: 'The reason of the last attempt.' }),
      message: t.exposeString('message', { description: 'The reason of the last attempt, in words.' }),
    }),
  });
  const Certificate = builder
    .objectRef<Pick<HostCertificate, 'validFrom' | 'validTo'>>('HostCertificate')
    .implement({
      description: 'The TLS certificate of a host, as a server has last seen it.',
      fields: (t) => ({
        validFrom: t.expose('validFrom', {
          type: 'DateTime',
          description: 'The time from which it is valid.',
        }),
        validTo: t.expose('validTo', {
          type: 'DateTime',
          description: 'The time at which it ends. Then this server does not connect to the host any more.',
        }),
      }),
    });
  return builder.objectRef<Health & { connection: AppConnection }>('ConnectionHealth').implement({
    description: 'Whether a connection works, as its checks and verifications have found.',
    fields: (t) => ({
      status: t.expose('status', {
        type: Status,
        description:
          'The result of the last check or verification. `UNREACHABLE` also if another connection of the organisation has found that the host does not answer.',
      }),
      since: t.expose('since', {
        type: 'DateTime',
        nullable: true,
        description: 'The time of the first failure since the connection last worked; null if it works.',
      }),
      lastCheckAt: t.expose('lastCheckAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time of the last check or verification, also of one of the host.',
      }),
      nextCheckAt: t.expose('nextCheckAt', {
        type: 'DateTime',
        nullable: true,
        description:
          'The time of the next check. Null if there is none: `checkEvery` is 0, or the credentials were rejected or never verified. A connection has it within a minute after it was created or verified.',
      }),
      lastGoodAt: t.expose('lastGoodAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time at which the app last accepted the credentials in a check or verification.',
      }),
      checkDelay: t.expose('checkDelay', {
        type: Delay,
        nullable: true,
        description:
          'Since when a check is late, and why: mostly because the share of the connection in the rate limit of the app is spent. Null if none is.',
      }),
      expiresAt: t.expose('expiresAt', {
        type: 'DateTime',
        nullable: true,
        description:
          'The time at which the credentials end, as far as it is known, if they are not used before; also in the past. Null if it is not known. It moves with each check.',
      }),
      expiryReason: t.expose('expiryReason', {
        type: ExpiryReasonEnum,
        nullable: true,
        description: 'Why they end. Null if no end is known.',
      }),
      hostCertificate: t.field({
        type: Certificate,
        nullable: true,
        description:
          'The TLS certificate of the host. Null if none was seen yet, within a minute after a request, or if the host has none.',
        resolve: ({ connection }, _, context) =>
          loadCertificate(context.connections, requireCaller(context), connection),
      }),
      history: t.field({
        type: [Period],
        description:
          'The last statuses, the newest first: one item for each change, and not for each check. At most the last 100 of 90 days are kept.',
        args: {
          first: t.arg.int({
            defaultValue: 20,
            required: true,
            description: 'The number of items, 1 to 100.',
            validate: { schema: pageSize },
          }),
        },
        resolve: ({ connection }, { first }, context) =>
          loadHistory(context.connections, requireCaller(context), connection, first),
      }),
    }),
  });
}
