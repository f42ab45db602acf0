import SchemaBuilder, { BasePlugin, type PothosOutputFieldConfig, type SchemaTypes } from '@pothos/core';
import type { GraphQLFieldResolver } from 'graphql';
import type { Context } from './context.ts';

/** The name of the plugin among those of the builder. */
export const fairFields = 'fairFields';

type Resolver<Types extends SchemaTypes> = GraphQLFieldResolver<unknown, Types['Context'], object>;

/**
 * Has each field of a query or mutation wait for a turn of its organisation before it is resolved, and pages for another
 * one before they are made an answer, which takes longest for them. One request has up to 15 such fields.
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
