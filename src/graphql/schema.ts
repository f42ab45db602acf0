import type { GraphQLSchema } from 'graphql';
import type { App } from '../apps/app.ts';
import { defineConnectionChanges } from '../connections/change.graphql.ts';
import { defineCreateConnection } from '../connections/create.graphql.ts';
import { defineConnectionQueries } from '../connections/queries.graphql.ts';
import { defineConnectionTypes } from '../connections/types.graphql.ts';
import { createBuilder } from './builder.ts';

/** The whole schema, for these apps. */
export function createSchema(apps: readonly App[]): GraphQLSchema {
  const builder = createBuilder();
  const types = defineConnectionTypes(builder, apps);
  defineConnectionQueries(builder, types);
  defineCreateConnection(builder, apps, types);
  defineConnectionChanges(builder, apps, types);
  return builder.toSchema();
}
