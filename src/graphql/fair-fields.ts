import SchemaBuilder, { BasePlugin, type PothosOutputFieldConfig, type SchemaTypes } from '@pothos/core';
import type { GraphQLFieldResolver } from 'graphql';
import type { Context } from './context.ts';

/** The name of the Pothos plugin. */
export const fairFields = 'fairFields';

type Resolver<Types extends SchemaTypes> = GraphQLFieldResolver<unknown, Types['Context'], object>;

/**
 * Makes each root field wait for a turn of its organisation on the event loop before it is resolved, and pages for another
 * turn before they are completed, which is their most expensive part. A request has up to 15 root fields.
 */
class FairFieldsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override wrapResolve(
    resolve: Resolver<Types>,
    { parentType }: PothosOutputFieldConfig<Types>,
  ): Resolver<Types> {
    if (parentType !== 'Query' && parentType !== 'Mutation') return resolve;
    return async (parent, args, context, info) => {
      const { caller, connections } = context as Context;
      const waitForTurn = () => connections.scheduler.waitForTurn(caller?.orgId ?? '');
      await waitForTurn();
      const result: unknown = await resolve(parent, args, context, info);
      if (Array.isArray(Object(result).nodes)) await waitForTurn();
      return result;
    };
  }
}

declare global {
  export namespace PothosSchemaTypes {
    export interface Plugins<Types extends SchemaTypes> {
      fairFields: FairFieldsPlugin<Types>;
    }
  }
}

SchemaBuilder.registerPlugin(fairFields, FairFieldsPlugin);
