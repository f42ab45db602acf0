import SchemaBuilder, { BasePlugin, type PothosOutputFieldConfig, type SchemaTypes } from '@pothos/core';
import type { GraphQLFieldResolver } from 'graphql';
import { validationError } from '../common/errors.ts';
import { unstorableTexts } from '../common/text.ts';

/** The name of the Pothos plugin. */
export const storableTexts = 'storableTexts';

type Resolver<Types extends SchemaTypes> = GraphQLFieldResolver<unknown, Types['Context'], object>;

/**
 * Rejects arguments with text that PostgreSQL cannot store (NUL, lone surrogates). Arguments with a zod schema are checked
 * by it, together with other issues; this covers the others.
 */
class StorableTextsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  override wrapResolve(resolve: Resolver<Types>, config: PothosOutputFieldConfig<Types>): Resolver<Types> {
    return withTextCheck(resolve, config);
  }

  override wrapSubscribe(
    subscribe: Resolver<Types> | undefined,
    config: PothosOutputFieldConfig<Types>,
  ): Resolver<Types> | undefined {
    return subscribe && withTextCheck(subscribe, config);
  }
}

function withTextCheck<Types extends SchemaTypes>(
  resolve: Resolver<Types>,
  config: PothosOutputFieldConfig<Types>,
): Resolver<Types> {
  if (Object.keys(config.args).length === 0) return resolve;
  return (parent, args, context, info) => {
    const issues = unstorableTexts({ ...args });
    if (issues.length > 0) throw validationError(issues);
    return resolve(parent, args, context, info);
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
