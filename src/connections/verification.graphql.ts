import { type App, requestIdFieldOf } from '../apps/app.ts';
import { type Builder, defineErrorCode } from '../graphql/builder.ts';
import type { AppConnection } from './app-connection.entity.ts';

/** `ConnectionVerification`, and the enums that it speaks in. */
export function defineVerification(builder: Builder, apps: readonly App[]) {
  const ErrorCodeEnum = defineErrorCode(builder);
  const Status = builder.enumType('VerificationStatus', {
    description: 'What came of asking the app whether the credentials work.',
    values: {
      VERIFIED: { description: 'The app accepted them.' },
      REJECTED: { description: 'The app judged them and said no.' },
      UNREACHABLE: { description: 'Nobody judged them: the app could not be asked.' },
    },
  });
  const Verification = builder.objectRef<AppConnection>('ConnectionVerification').implement({
    description: 'What came of the last time the app was asked.',
    fields: (t) => ({
      status: t.field({
        type: Status,
        description: 'The outcome.',
        resolve: (connection) => connection.verificationStatus,
      }),
      checkedAt: t.expose('verificationCheckedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'When the app was asked.',
      }),
      lastVerifiedAt: t.expose('lastVerifiedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'When the app last accepted the credentials; null if it never has.',
      }),
      failingSince: t.expose('failingSince', {
        type: 'DateTime',
        nullable: true,
        description: 'Since when every check has failed; null while the credentials work.',
      }),
      code: t.field({
        type: ErrorCodeEnum,
        nullable: true,
        description: 'What went wrong, for programs; null when nothing did.',
        resolve: (connection) => connection.verificationCode,
      }),
      message: t.exposeString('verificationMessage', {
        nullable: true,
        description: 'What went wrong, for people; null when nothing did.',
      }),
      remedy: t.exposeString('verificationRemedy', {
        nullable: true,
        description: 'What to do about it; null when nothing went wrong.',
      }),
      ...Object.fromEntries(
        apps.map((app) => [
          requestIdFieldOf(app),
          t.string({
            nullable: true,
            description: `${app.name}'s own id of the request, for ${app.name}'s support.`,
            resolve: (connection) => (connection.app === app.id ? connection.upstreamRequestId : null),
          }),
        ]),
      ),
    }),
  });
  return { Verification, Status, ErrorCodeEnum };
}
