import { z } from 'zod';
import { splitList } from '../apps/app.ts';
import type { ErrorCode } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import { strictObject } from '../common/strict-object.ts';
import { getDeferrableFields } from '../connections/deferrable-fields.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { checkSetup, type SetupResult } from '../connections/setup-links/check.ts';
import { openSetupLink } from '../connections/setup-links/open.ts';
import { submitSetup } from '../connections/setup-links/submit.ts';
import { getSecretFields, type SetupView } from '../connections/setup-links/view.ts';
import { connectionKeys, serializeKey } from './credentials-serializers.ts';
import { noQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';
import { verificationOutcome } from './verification-serializers.ts';

const root = '/api/v1/setup';
const text = (description: string) => z.string().meta({ description });

const setupResponse = z
  .object({
    organisation: text('The name of the organisation that asks.'),
    expiresAt: z.iso.datetime().meta({ description: 'The time at which the link expires.' }),
    connection: z.object({ name: text('The name of the connection.') }),
    app: z.object({
      id: text('The id of the app.'),
      name: text('The display name of the app.'),
      icon: z.string().nullable().meta({ description: 'The path of a 24 by 24 SVG; null if there is none.' }),
    }),
    method: z.object({
      id: text('The id of the method.'),
      label: text('The label of the method.'),
      description: text('A description of the method.'),
      steps: z.array(z.string()).meta({ description: 'What to do in the app, step by step.' }),
    }),
    values: z
      .array(
        z.object({
          label: text('What it is.'),
          values: z.array(z.string()).meta({ description: 'The value, or the members of a list.' }),
        }),
      )
      .meta({ description: 'The public values of the connection, to find or enter in the app.' }),
    jwksUrl: z.string().nullable().meta({
      description:
        'The URL of the public keys, for an app that fetches them; null if the method has no keys.',
    }),
    keys: connectionKeys.meta({
      description: 'The public keys, for an app into which they are copied; empty if the method has none.',
    }),
    fields: z
      .array(
        z.object({
          name: text('The name in `credentials`.'),
          label: text('The label.'),
          placeholder: text('The placeholder.'),
          help: text('A help text.'),
          whereToFind: text('Where to find the value in the app.'),
          secret: z.boolean().meta({ description: 'Whether it is encrypted and never returned.' }),
          value: z.string().nullable().meta({
            description:
              'The value until now, to confirm or correct; null for a secret, and if there is none.',
          }),
        }),
      )
      .meta({ description: 'What to enter. Empty: there is only something to do in the app.' }),
    verification: z.object({
      ...verificationOutcome,
      checkedAt: z.iso
        .datetime()
        .nullable()
        .meta({ description: 'The time of the check; null while the status is `PENDING`.' }),
      upstreamRequestId: z
        .string()
        .nullable()
        .meta({ description: 'The id that the app gave the request, for its support.' }),
    }),
  })
  .meta({ id: 'Setup', description: 'What a setup link shows of its connection.' });

const resultResponse = z.object({
  setup: setupResponse,
  isFinished: z.boolean().meta({
    description: 'Whether the credentials work. Then the link is used up, and this is its last response.',
  }),
});

const codes: readonly ErrorCode[] = ['NOT_FOUND'];

/** The routes of setup links: all that the secret of a setup link can do. Their credential is accepted nowhere else. */
export function createSetupRoutes(deps: ConnectionDeps): Route[] {
  return [
    route(
      {
        method: 'POST',
        path: `${root}/open`,
        id: 'openSetup',
        summary: 'Returns what the page of a setup link shows. It can be opened again until it is used up.',
        schemas: { query: noQuery },
        response: z.object({ setup: setupResponse }),
        credential: 'setupLink',
        codes,
      },
      async (_, caller) => ({ body: { setup: serializeSetup(await openSetupLink(deps, caller)) } }),
    ),
    route(
      {
        method: 'POST',
        path: `${root}/check`,
        id: 'checkSetup',
        summary:
          'Verifies the credentials of the connection with the app. If they work and there is no secret to enter, the link is used up.',
        schemas: { query: noQuery },
        response: resultResponse,
        credential: 'setupLink',
        codes,
      },
      async (_, caller, getSignal) => ({
        body: serializeResult(await checkSetup(deps, caller, getSignal())),
      }),
    ),
    route(
      {
        method: 'POST',
        path: `${root}/credentials`,
        id: 'submitSetup',
        summary:
          'Stores secrets of the connection if the app accepts them; otherwise nothing changes. Public values are stored, and then ' +
          'the connection is verified. If it works, the link is used up.',
        schemas: {
          query: noQuery,
          body: strictObject({
            credentials: setupCredentials(deps).meta({
              description: 'The values by the names in `fields`.',
              writeOnly: true,
            }),
          }).meta({ id: 'SetupCredentials', description: 'The values that the link asks for.' }),
        },
        response: resultResponse,
        credential: 'setupLink',
        codes: [
          ...codes,
          'VERSION_CONFLICT',
          'CREDENTIALS_REJECTED',
          'INSUFFICIENT_PERMISSIONS',
          'NOT_AN_OKTA_ORG',
          'HOST_NOT_ALLOWED',
          'UPSTREAM_RATE_LIMITED',
        ],
      },
      async ({ body: { credentials } }, caller, getSignal) => ({
        body: serializeResult(await submitSetup(deps, caller, credentials, getSignal())),
      }),
    ),
  ];
}

/**
 * The schema of the values of any method. Not a record of zod: it drops a member `__proto__`, so that the request is not refused.
 */
function setupCredentials({ apps }: ConnectionDeps) {
  const methods = apps.flatMap(({ methods }) => methods);
  const secret = z
    .string()
    .transform((value) => new Secret(value))
    .optional();
  const text = z.string().optional();
  const withSchema = (fields: object, schema: typeof secret | typeof text) =>
    Object.keys(fields).map((name) => [name, schema] as const);
  return strictObject(
    Object.fromEntries([
      ...methods.flatMap((method) => withSchema(getDeferrableFields(method), text)),
      ...methods.flatMap((method) => withSchema(getSecretFields(method), secret)),
    ]),
  );
}

function serializeResult({ setup, isFinished }: SetupResult) {
  return { setup: serializeSetup(setup), isFinished };
}

function serializeSetup({
  organisation,
  app,
  method,
  connection,
  fields,
  jwksUrl,
  keys,
  expiresAt,
}: SetupView) {
  const values = Object.entries(method.fields).flatMap(([name, { label, kind }]) => {
    const value = connection.publicCredentials[name];
    // What is asked for is in its field.
    return value === undefined || fields[name]
      ? []
      : [{ label, values: kind === 'LIST' ? splitList(value) : [value] }];
  });
  return {
    organisation,
    expiresAt: expiresAt.toISOString(),
    connection: { name: connection.name },
    app: { id: app.id, name: app.name, icon: app.icon ?? null },
    method: {
      id: method.id,
      label: method.label,
      description: method.description,
      steps: [...(method.setupSteps ?? method.steps ?? [])],
    },
    values,
    jwksUrl,
    keys: keys.map(serializeKey),
    fields: Object.entries(fields).map(([name, { kind, label, placeholder, help, whereToFind }]) => ({
      ...{ name, label, placeholder, help, whereToFind },
      secret: kind === 'SECRET',
      value: connection.publicCredentials[name] ?? null,
    })),
    verification: {
      status: connection.verificationStatus,
      code: connection.verificationCode ?? null,
      message: connection.verificationMessage ?? null,
      remedy: connection.verificationRemedy ?? null,
      checkedAt: connection.verificationCheckedAt?.toISOString() ?? null,
      upstreamRequestId: connection.upstreamRequestId ?? null,
    },
  };
}
