import { readFileSync } from 'node:fs';
import {
  type GraphQLField,
  type GraphQLNamedType,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isScalarType,
  isSpecifiedScalarType,
  lexicographicSortSchema,
  printSchema,
} from 'graphql';
import { describe, expect, test } from 'vitest';
import { createSchema } from '../src/app/schema.ts';
import { createApps } from '../src/apps/index.ts';
import { errorCodes } from '../src/common/errors.ts';

const apps = createApps({ trustedHosts: new Set() });
const schema = createSchema(apps);
const types = Object.values(schema.getTypeMap()).filter(
  (type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type),
);

/** A type and its members, each with its path in the schema. */
function listMembers(type: GraphQLNamedType): { path: string; description: string | null | undefined }[] {
  const part = (path: string, { description }: { description?: string | null | undefined }) => ({
    path,
    description,
  });
  const parts = [part(type.name, type)];
  if (isEnumType(type)) {
    parts.push(...type.getValues().map((value) => part(`${type.name}.${value.name}`, value)));
  }
  if (isInputObjectType(type) || isObjectType(type) || isInterfaceType(type)) {
    for (const field of Object.values(type.getFields())) {
      parts.push(part(`${type.name}.${field.name}`, field));
      for (const arg of 'args' in field ? (field as GraphQLField<unknown, unknown>).args : []) {
        parts.push(part(`${type.name}.${field.name}(${arg.name}:)`, arg));
      }
    }
  }
  return parts;
}

describe('GraphQL schema', () => {
  test('describes every type, field, argument and enum value in sentences', () => {
    const parts = types.flatMap(listMembers);
    const paths = parts.map(({ path }) => path);
    // One example of each kind shows that the search finds all kinds.
    expect(paths).toEqual(
      expect.arrayContaining([
        'UUID',
        'AppConnection.id',
        'AppConnectionCredentials.instanceUrl',
        'CreateOktaConnectionInput.name',
        'ErrorCode.NOT_FOUND',
        'Query.appConnections(first:)',
      ]),
    );
    const undescribed = parts.filter(
      ({ description }) => !/^\p{Lu}.*[.`]$|^\d.*\.$|^`.*\.$/su.test(description ?? ''),
    );
    expect(undescribed).toEqual([]);
  });

  test.each([
    ['UUID', /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/],
    ['DateTime', /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/],
    ['Secret', /never returned/],
  ])('has an example for %s', (name, look) => {
    const type = schema.getType(name);
    expect(isScalarType(type) && type.description).toMatch(look);
  });

  test('equals schema.graphql; if this fails, run npm run schema', () => {
    const written = readFileSync(new URL('../schema.graphql', import.meta.url), 'utf8');
    expect(written).toBe(`${printSchema(lexicographicSortSchema(schema))}\n`);
  });

  test('has no output field that could return a secret', () => {
    const secrets = apps.flatMap(({ methods }) =>
      methods.flatMap(({ fields }) => Object.keys(fields).filter((name) => fields[name]?.kind === 'SECRET')),
    );
    expect(secrets).toContain('apiToken');
    const outputs = types.flatMap((type) =>
      isObjectType(type) || isInterfaceType(type)
        ? Object.values(type.getFields()).map((field) => ({
            path: `${type.name}.${field.name}`,
            name: field.name,
            type: getNamedType(field.type).name,
          }))
        : [],
    );
    expect(outputs.map(({ path }) => path)).toContain('OktaCredentials.instanceUrl');
    expect(outputs.filter(({ name, type }) => type === 'Secret' || secrets.includes(name))).toEqual([]);
  });

  test('has every error code in enum ErrorCode', () => {
    const type = schema.getType('ErrorCode');
    const names = isEnumType(type) ? type.getValues().map(({ name }) => name) : [];
    expect(names.sort()).toEqual(Object.keys(errorCodes).sort());
  });
});
