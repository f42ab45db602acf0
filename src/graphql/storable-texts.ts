import SchemaBuilder, { BasePlugin, type PothosOutputFieldConfig, type SchemaTypes } from '@pothos/core';
import type { GraphQLFieldResolver } from 'graphql';
import { validationError } from '../common/errors.ts';
import { unstorableTexts } from '../common/text.ts';

/** The name of the plugin among those of the builder. */
export const storableTexts = 'storableTexts';

type Resolver<Types extends SchemaTypes> = GraphQLFieldResolver<unknown, Types['Context'], object>;

/**
 * Refuses every argument of every field that has a text which the database cannot hold. What has rules of its own
 * refuses such texts by these, beside what else is wrong; this is for all that has none.
 */
class StorableTextsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override wrapResolve(resolve: Resolver<Types>, config: PothosOutputFieldConfig<Types>): Resolver<Types> {
    return guarded(resolve, config);
  }

  override wrapSubscribe(
    subscribe: Resolver<Types> | undefined,
    config: PothosOutputFieldConfig<Types>,
  ): Resolver<Types> | undefined {
    return subscribe && guarded(subscribe, config);
  }
}

function guarded<Types extends SchemaTypes>(
  resolve: Resolver<Types>,
  { args }: PothosOutputFieldConfig<Types>,
): Resolver<Types> {
  if (Object.keys(args).length === 0) return resolve;
  return (parent, given, context, info) => {
    const issues = unstorableTexts({ ...given });
    if (issues.length > 0) throw validationError(issues);
    return resolve(parent, given, context, info);
  };
}

declare global {
  export namespace PothosSchemaTypes {
    export interface Plugins<Types extends SchemaTypes> {
      storableTexts: StorableTextsPlugin<Types>;
    }
  }
}

SchemaBuilder.registerPlugin(storableTexts, StorableTextsPlugin);
