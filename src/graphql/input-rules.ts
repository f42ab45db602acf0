import { type GraphQLInputType, getNullableType, isInputObjectType } from 'graphql';
import { z } from 'zod';
import type { Issue } from '../common/errors.ts';

/**
 * Validates a variable with the zod schema of its input type, so that these issues are reported together with those of
 * GraphQL types.
 *
 * @param value the variable, partly coerced
 * @param invalidPaths the paths that could not be coerced
 */
export function collectSchemaIssues(
  type: GraphQLInputType,
  value: unknown,
  invalidPaths: readonly Issue['path'][],
): Issue[] {
  const named = getNullableType(type);
  if (!isInputObjectType(named)) return [];
  // Pothos keeps the schema here; its plugin validates with it after coercion has succeeded.
  const schema: unknown = Object(Object(named.extensions.pothosOptions).validate).schema;
  if (!(schema instanceof z.ZodType)) return [];
  const issues = schema.safeParse(value).error?.issues ?? [];
  return issues
    .map(({ path, message }) => ({
      path: path.map((part) => (typeof part === 'symbol' ? part.toString() : part)),
      message,
    }))
    .filter(({ path }) => !invalidPaths.some((other) => isSameIssue(value, path, other)));
}

/** Whether an issue of the schema only results from a value that could not be coerced and is therefore absent. */
function isSameIssue(value: unknown, path: Issue['path'], invalidPath: Issue['path']): boolean {
  if (isPrefix(path, invalidPath)) return true;
  const valueAtPath = path.reduce<unknown>((inner, part) => Object(inner)[part], value);
  return valueAtPath === undefined && isPrefix(invalidPath, path);
}

function isPrefix(start: Issue['path'], path: Issue['path']): boolean {
  return start.every((part, index) => part === path[index]);
}
