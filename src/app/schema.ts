import type { GraphQLSchema } from 'graphql';
import { defineApiKeys } from '../administration/graphql/api-keys.ts';
import { defineProjects } from '../administration/graphql/projects.ts';
import { defineAdministrationTypes } from '../administration/graphql/types.ts';
import { defineViewer } from '../administration/graphql/viewer.ts';
import type { App } from '../apps/app.ts';
import { defineAudit } from '../audit/graphql/audit-events.ts';
import { defineConversions } from '../connections/graphql/conversion.ts';
import { defineCreateConnection } from '../connections/graphql/create.ts';
import { defineGetConnection } from '../connections/graphql/get.ts';
import { defineListConnections } from '../connections/graphql/list.ts';
import { defineConnectionMutations } from '../connections/graphql/mutations.ts';
import { defineConnectionOptions } from '../connections/graphql/options.ts';
import { defineSetupLinks } from '../connections/graphql/setup-links.ts';
import { defineConnectionSubscriptions } from '../connections/graphql/subscription.ts';
import { defineTypedReads } from '../connections/graphql/typed-reads/typed-reads.ts';
import { defineConnectionTypes } from '../connections/graphql/types.ts';
import { defineConnectionUse } from '../connections/graphql/use.ts';
import { defineUsePolicyOperations } from '../connections/graphql/use-policy.ts';
import { defineCredentialsValidation } from '../connections/graphql/validate.ts';
import { createBuilder } from '../graphql/builder.ts';
import { defineWebhooks } from '../webhooks/graphql/webhooks.ts';

/** Creates the GraphQL schema for these apps. */
export function createSchema(apps: readonly App[]): GraphQLSchema {
  const builder = createBuilder();
  const types = defineConnectionTypes(builder, apps);
  defineGetConnection(builder, types);
  defineListConnections(builder, types);
  defineConnectionOptions(builder, types);
  defineCreateConnection(builder, types);
  defineConnectionMutations(builder, apps, types);
  defineConversions(builder, apps, types);
  defineUsePolicyOperations(builder, apps, types);
  defineSetupLinks(builder);
  defineConnectionSubscriptions(builder, types);
  defineConnectionUse(builder, apps, types);
  defineTypedReads(builder, apps, types);
  defineAudit(builder);
  defineCredentialsValidation(builder, types);
  const administration = defineAdministrationTypes(builder);
  defineApiKeys(builder, administration);
  defineProjects(builder, administration);
  defineViewer(builder, administration);
  defineWebhooks(builder, administration.PageInfo);
  // The order of types has no meaning, and sorting them takes a quarter of the time of this function.
  return builder.toSchema({ sortSchema: false });
}
