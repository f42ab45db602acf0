import type { GraphQLSchema } from 'graphql';
import { defineApiKeys } from '../administration/keys.graphql.ts';
import { defineProjects } from '../administration/projects.graphql.ts';
import { defineAdministrationTypes } from '../administration/types.graphql.ts';
import { defineViewer } from '../administration/viewer.graphql.ts';
import type { App } from '../apps/app.ts';
import { defineAudit } from '../audit/audit.graphql.ts';
import { defineConnectionChanges } from '../connections/change.graphql.ts';
import { defineCreateConnection } from '../connections/create.graphql.ts';
import { defineConnectionFinding } from '../connections/find.graphql.ts';
import { defineConnectionOptions } from '../connections/options.graphql.ts';
import { defineConnectionQueries } from '../connections/queries.graphql.ts';
import { defineConnectionTypes } from '../connections/types.graphql.ts';
import { defineCredentialsValidation } from '../connections/validate.graphql.ts';
import { defineConnectionWatch } from '../connections/watch.graphql.ts';
import { createBuilder } from './builder.ts';

/** The whole schema, for these apps. */
export function createSchema(apps: readonly App[]): GraphQLSchema {
  const builder = createBuilder();
  const types = defineConnectionTypes(builder, apps);
  defineConnectionQueries(builder, types);
  defineConnectionFinding(builder, types);
  defineConnectionOptions(builder, types);
  defineCreateConnection(builder, types);
  defineConnectionChanges(builder, apps, types);
  defineConnectionWatch(builder, types);
  defineAudit(builder);
  defineCredentialsValidation(builder, types);
  const administration = defineAdministrationTypes(builder);
  defineApiKeys(builder, administration);
  defineProjects(builder, administration);
  defineViewer(builder, administration);
  return builder.toSchema();
}
