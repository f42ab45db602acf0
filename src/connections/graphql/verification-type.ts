import { type App, requestIdField } from '../../apps/app.ts';
import { type Builder, defineErrorCode } from '../../graphql/builder.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { defineVerificationDetails, toTypedDetails } from './verification-details.ts';

/** Defines `ConnectionVerification` and its enums. */
export function defineVerification(builder: Builder, apps: readonly App[]) {
  const ErrorCodeEnum = defineErrorCode(builder);
  const Status = builder.enumType('VerificationStatus', {
    description: 'The result of verifying the credentials with the app.',
    values: {
      VERIFIED: { description: 'The app accepted them.' },
      REJECTED: { description: 'The app rejected them.' },
      UNREACHABLE: { description: 'The app could not verify them.' },
      PENDING: {
        description:
          'Nothing was verified yet: this server made a key that has to be registered in the app first. `message` and ' +
          '`remedy` say how.',
      },
    },
  });
  const Details = defineVerificationDetails(builder, apps);
  const Verification = builder.objectRef<AppConnection>('ConnectionVerification').implement({
    description: 'The result of the last verification.',
    fields: (t) => ({
      status: t.field({
        type: Status,
        description: 'The result.',
        resolve: (connection) => connection.verificationStatus,
      }),
      checkedAt: t.expose('verificationCheckedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time of the verification; null while the status is `PENDING`.',
      }),
      lastVerifiedAt: t.expose('lastVerifiedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time at which the app last accepted the credentials; null if it never has.',
      }),
      failingSince: t.expose('failingSince', {
        type: 'DateTime',
        nullable: true,
        description: 'The time since which every verification has failed; null while the credentials work.',
      }),
      code: t.field({
        type: ErrorCodeEnum,
        nullable: true,
        description: 'The error code; null if the verification succeeded.',
        resolve: (connection) => connection.verificationCode,
      }),
      message: t.exposeString('verificationMessage', {
        nullable: true,
        description: 'A description of the problem; null if the verification succeeded.',
      }),
      remedy: t.exposeString('verificationRemedy', {
        nullable: true,
        description: 'What to do next; null if the verification succeeded.',
      }),
      ...(Details && {
        details: t.field({
          type: Details,
          nullable: true,
          description:
            'What the last verification that succeeded found out about the credentials; null if nothing. Scope: ' +
            'connections:read, also for the result of `verifyAppConnection`.',
          resolve: (connection) => toTypedDetails(apps, connection, connection.verificationDetails),
        }),
      }),
      ...Object.fromEntries(
        apps.map((app) => [
          requestIdField(app),
          t.string({
            nullable: true,
            description: `${app.name}'s own id of the request, for ${app.name}'s support.`,
            resolve: (connection) => (connection.app === app.id ? connection.upstreamRequestId : null),
          }),
        ]),
      ),
    }),
  });
  return { Verification, Status, ErrorCodeEnum, Details };
}
