import { type App, appTypeName, type DetailsType } from '../../apps/app.ts';
import type { VerificationDetails } from '../../apps/credentials.ts';
import type { Builder } from '../../graphql/builder.ts';
import { defineSchemaObject } from '../../graphql/schema-objects.ts';

/** Details, with the name of their type. */
export interface TypedDetails {
  typeName: string;
  details: VerificationDetails;
}

/**
 * Defines `VerificationDetails`, and its implementation for each method that has details.
 *
 * @returns undefined if no method has any
 */
export function defineVerificationDetails(builder: Builder, apps: readonly App[]) {
  const types = apps.flatMap((app) =>
    app.methods.flatMap(({ details }) => (details ? [{ app, ...details }] : [])),
  );
  if (types.length === 0) return undefined;
  const Warning = builder
    .objectRef<VerificationDetails['warnings'][number]>('VerificationWarning')
    .implement({
      description: 'Something that works and needs attention.',
      fields: (t) => ({
        message: t.exposeString('message', { description: 'A description of the problem.' }),
        remedy: t.exposeString('remedy', { description: 'What to do about it.' }),
      }),
    });
  const Details = builder.interfaceRef<TypedDetails>('VerificationDetails').implement({
    description: 'What the last successful verification found out about the credentials.',
    resolveType: ({ typeName }) => typeName,
    fields: (t) => ({
      warnings: t.field({
        type: [Warning],
        description: 'What works and needs attention.',
        resolve: ({ details }) => [...details.warnings],
      }),
    }),
  });
  for (const { app, description, schema, ...type } of types) {
    defineSchemaObject<TypedDetails>(builder, detailsTypeName(app, type), {
      description,
      schema,
      prefix: appTypeName(app),
      interfaces: [Details],
      getMembers: ({ details }) => details,
    });
  }
  return Details;
}

/** Adds the name of the type to the details of a method. */
export function toTypedDetails(
  apps: readonly App[],
  { app: appId, method: methodId }: { app: string; method: string },
  details: VerificationDetails | null | undefined,
): TypedDetails | null {
  const app = apps.find(({ id }) => id === appId);
  const type = app?.methods.find(({ id }) => id === methodId)?.details;
  return app && details && type ? { typeName: detailsTypeName(app, type), details } : null;
}

function detailsTypeName(app: App, { name }: Pick<DetailsType, 'name'>): string {
  return `${appTypeName(app)}${name}`;
}
