import type { EnumRef, InterfaceRef, ObjectRef } from '@pothos/core';
import { type App, hasRateLimits, requestIdField } from '../../apps/app.ts';
import { type Builder, enumValues } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { definePageInfo } from '../../graphql/page-info.ts';
import { annotationNames } from '../annotations.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { checkEveryDescription, getCheckEvery } from '../check-interval.ts';
import { loadHealth } from '../checks/load-health.ts';
import { findConversionMethod } from '../convert-input.ts';
import { toConverted } from '../credentials/conversion.ts';
import { requireApp } from '../deps.ts';
import { describeMaxShare, getMaxShare } from '../rate-budget/max-share.ts';
import { getUsePolicy } from '../use-policy/use-policy.ts';
import { defineAnnotationFields, defineAnnotationInputs } from './annotation-types.ts';
import { credentialsDetailFields, defineCredentials } from './credentials-types.ts';
import { defineHealth } from './health-type.ts';
import { defineUsageFields } from './usage-fields.ts';
import { defineUsePolicyTypes } from './use-policy-types.ts';
import { defineVerification } from './verification-type.ts';

/** The types of connections that the fields of the schema use. */
export type ConnectionTypes = ReturnType<typeof defineConnectionTypes>;

/** The types of the fields of a pending conversion. */
interface ConversionTypes {
  MethodEnum: EnumRef<Builder['$inferSchemaTypes'], string>;
  Credentials: InterfaceRef<Builder['$inferSchemaTypes'], AppConnection>;
  Verification: ObjectRef<Builder['$inferSchemaTypes'], AppConnection>;
}

/** A pending conversion. */
interface PendingConnection {
  /** The connection as the conversion will leave it. */
  converted: AppConnection;
  startedAt: Date;
}

/** Defines `AppConnection` and the types of its fields from the registered apps. */
export function defineConnectionTypes(builder: Builder, apps: readonly App[]) {
  const AppEnum = builder.enumType('App', {
    description: 'The apps that connections can be made to.',
    values: enumValues(apps),
  });
  const MethodEnum = builder.enumType('AppConnectionMethod', {
    description: 'The methods of authentication to apps.',
    values: enumValues(collectMethods(apps)),
  });
  const verification = defineVerification(builder, apps);
  const { Credentials, appTypes } = defineCredentials(builder, apps, verification);
  const { Verification, Status, ErrorCodeEnum, Details } = verification;
  const Health = defineHealth(builder, verification);
  const Conversion = defineConversion(builder, apps, { MethodEnum, Credentials, Verification });
  const usePolicy = defineUsePolicyTypes(builder, apps);
  const Connection = builder.objectRef<AppConnection>('AppConnection').implement({
    description:
      'A connection to an app: its location, the method of authentication, and whether the credentials work.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id. It never changes.' }),
      name: t.exposeString('name', {
        description:
          'The name, unique among the connections of one project, or among those without a project.',
      }),
      description: t.exposeString('description', {
        nullable: true,
        description: 'A description for people.',
      }),
      app: t.expose('app', { type: AppEnum, description: 'The app.' }),
      method: t.expose('method', {
        type: MethodEnum,
        description: 'The method of authentication to the app.',
      }),
      orgId: t.expose('orgId', { type: 'UUID', description: 'The id of the organisation.' }),
      projectId: t.expose('projectId', {
        type: 'UUID',
        nullable: true,
        description: 'The id of the project; null for a connection of the organisation itself.',
      }),
      version: t.exposeInt('version', {
        description: 'The version for optimistic locking: 1 at first, plus 1 with each change.',
      }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'The time of creation.' }),
      updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'The time of the last change.' }),
      isPlatformManagedCredentials: t.exposeBoolean('isPlatformManagedCredentials', {
        description: 'Whether this server creates and replaces the credentials.',
      }),
      credentialsHash: t.exposeString('credentialsHash', {
        description:
          'A keyed hash of the credentials, 64 hex digits. Two connections of an organisation have the same hash only if their credentials are the same.',
      }),
      credentials: t.field({
        type: Credentials,
        description: 'The public part of the credentials.',
        resolve: (connection) => connection,
      }),
      verification: t.field({
        type: Verification,
        description: 'The result of verifying the credentials with the app.',
        resolve: (connection) => connection,
      }),
      ...(apps.some(findConversionMethod) && {
        conversion: t.field({
          type: Conversion,
          nullable: true,
          description:
            'The pending conversion to other credentials, which replace those in use once the app accepts them; null if there is none.',
          resolve: (connection, _, { connections }) => {
            const converted = toConverted(connections, connection);
            if (!connection.conversion || !converted) return null;
            return { converted, startedAt: new Date(connection.conversion.startedAt) };
          },
        }),
      }),
      health: t.field({
        type: Health,
        description: 'Whether the connection works, and when that is checked.',
        resolve: async (connection, _, context) => ({
          ...(await loadHealth(context.connections, requireCaller(context), connection)),
          connection,
        }),
      }),
      checkEvery: t.int({
        description: checkEveryDescription,
        resolve: getCheckEvery,
      }),
      usePolicy: t.field({
        type: usePolicy.Policy,
        description: 'The requests that callers may send to the app through the connection.',
        resolve: (connection, _, { connections }) =>
          getUsePolicy(requireApp(connections, connection.app), connection),
      }),
      maxShareOfRateLimit: t.int({
        nullable: true,
        description: `${describeMaxShare({ name: 'the app' })} Null if the app has none.`,
        resolve: (connection, _, { connections }) =>
          hasRateLimits(requireApp(connections, connection.app)) ? getMaxShare(connection) : null,
      }),
    }),
  });
  defineUsageFields(builder, Connection);
  defineAnnotationFields(builder, Connection);
  return {
    Connection,
    PageInfo: definePageInfo(builder),
    AppEnum,
    MethodEnum,
    Status,
    ErrorCodeEnum,
    Details,
    ...defineAnnotationInputs(builder),
    appTypes,
    usePolicy,
    detailFields: collectDetailFields(apps),
  };
}

function defineConversion(
  builder: Builder,
  apps: readonly App[],
  { MethodEnum, Credentials, Verification }: ConversionTypes,
) {
  const Conversion = builder.objectRef<PendingConnection>('AppConnectionConversion');
  if (apps.some(findConversionMethod)) {
    Conversion.implement({
      description:
        'A pending conversion of a connection to other credentials. `verifyAppConnection` verifies them, and completes it once ' +
        'the app accepts them; `cancelAppConnectionConversion` cancels it.',
      fields: (t) => ({
        method: t.field({
          type: MethodEnum,
          description: 'The new method.',
          resolve: ({ converted }) => converted.method,
        }),
        startedAt: t.expose('startedAt', {
          type: 'DateTime',
          description: 'The time at which it was started.',
        }),
        credentials: t.field({
          type: Credentials,
          description: 'The public part of the new credentials, with the keys that the app has to know.',
          resolve: ({ converted }) => converted,
        }),
        verification: t.field({
          type: Verification,
          description: 'The result of verifying the new credentials with the app.',
          resolve: ({ converted }) => converted,
        }),
      }),
    });
  }
  return Conversion;
}

/** The fields that need more than `summaryColumns`. */
function collectDetailFields(apps: readonly App[]): ReadonlySet<string> {
  return new Set([
    'isPlatformManagedCredentials',
    'conversion',
    'usePolicy',
    'maxShareOfRateLimit',
    'health',
    'checkEvery',
    ...annotationNames,
    'lastVerifiedAt',
    'failingSince',
    'code',
    'message',
    'remedy',
    'details',
    ...apps.map(requestIdField),
    ...credentialsDetailFields(apps),
  ]);
}

/** Every method once. A method of several apps has the descriptions of all of them. */
function collectMethods(apps: readonly App[]): { id: string; description: string }[] {
  const uses = apps.flatMap(({ name, methods }) => methods.map((method) => ({ name, ...method })));
  return [...Map.groupBy(uses, ({ id }) => id)].map(([id, methods]) => {
    const descriptions = methods.map(({ name, description }) =>
      methods.length > 1 ? `${name}: ${description}` : description,
    );
    return { id, description: descriptions.join('\n\n') };
  });
}
