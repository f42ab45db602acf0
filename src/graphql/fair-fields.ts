import SchemaBuilder, { BasePlugin, type PothosOutputFieldConfig, type SchemaTypes } from '@pothos/core';
import type { GraphQLFieldResolver } from 'graphql';
import type { Context } from './context.ts';

/** The name of the Pothos plugin. */
export const fairFields = 'fairFields';

type Resolver<Types extends SchemaTypes> = GraphQLFieldResolver<unknown, Types['Context'], object>;

/** The number of items of a list that are completed in one turn. 20 connections with 10 fields take about 0.3 ms. */
const itemsPerTurn = 20;

/**
 * Makes each root field wait for a turn of its organisation on the event loop before it is resolved, and pages for another
 * turn before they are completed, which is their most expensive part. Lists wait for another turn after every 20 items. A
 * request has up to 15 root fields.
 */
class FairFieldsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override wrapResolve(
    resolve: Resolver<Types>,
    { parentType, type }: PothosOutputFieldConfig<Types>,
  ): Resolver<Types> {
    if (parentType === 'Query' || parentType === 'Mutation')
      return async (parent, args, context, info) => {
        const { caller, connections } = context as Context;
        await connections.scheduler.waitForTurn(caller?.orgId ?? '');
        const result: unknown = await resolve(parent, args, context, info);
        if (Array.isArray(Object(result).nodes))
          await connections.scheduler.waitToContinue(caller?.orgId ?? '');
        return completeInTurns(result, context);
      };
    if (type.kind !== 'List') return resolve;
    return (parent, args, context, info) => {
      const result: unknown = resolve(parent, args, context, info);
      return result instanceof Promise
        ? result.then((items) => completeInTurns(items, context))
        : completeInTurns(result, context);
    };
  }
}

/**
 * Replaces the items after the first 20 by promises, so that `execute` completes 20 at a time. A turn that takes too long does
 * not fail them: they are already loaded, and may be of a change that is already stored.
 */
function completeInTurns(items: unknown, context: object): unknown {
  if (!Array.isArray(items) || items.length <= itemsPerTurn) return items;
  const { caller, connections } = context as Context;
  let turn = Promise.resolve();
  return items.map((item: unknown, index) => {
    if (index < itemsPerTurn) return item;
    if (index % itemsPerTurn === 0) {
      turn = turn
        .then(() => connections.scheduler.waitToContinue(caller?.orgId ?? ''))
        .catch(() => undefined);
    }
    return turn.then(() => item);
  });
}

declare global {
  export namespace PothosSchemaTypes {
    export interface Plugins<Types extends SchemaTypes> {
      fairFields: FairFieldsPlugin<Types>;
    }
  }
}

SchemaBuilder.registerPlugin(fairFields, FairFieldsPlugin);
