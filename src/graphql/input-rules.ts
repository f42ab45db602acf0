import { type GraphQLInputType, getNullableType, isInputObjectType } from 'graphql';
import { z } from 'zod';
import type { Issue } from '../common/errors.ts';

/**
 * The rules of an input type that a variable breaks beside those of the types, so that all of them are told at once.
 *
 * @param value the variable as far as it could be coerced
 * @param misshapen where it could not
 */
export function collectSchemaIssues(
  type: GraphQLInputType,
  value: unknown,
  misshapen: readonly Issue['path'][],
): Issue[] {
  const named = getNullableType(type);
  if (!isInputObjectType(named)) return [];
  // Where Pothos keeps the rule by which its plugin checks the input once all of it could be coerced.
  const rule: unknown = Object(Object(named.extensions.pothosOptions).validate).schema;
  if (!(rule instanceof z.ZodType)) return [];
  const issues = rule.safeParse(value).error?.issues ?? [];
  return issues
    .map(({ path, message }) => ({
      path: path.map((part) => (typeof part === 'symbol' ? part.toString() : part)),
      message,
    }))
    .filter(({ path }) => !misshapen.some((other) => isSameFault(value, path, other)));
}

/** Whether a rule speaks of what could not be coerced, and so is not there or not as it was given. */
function isSameFault(value: unknown, path: Issue['path'], misshapen: Issue['path']): boolean {
  if (isPrefix(path, misshapen)) return true;
  const there = path.reduce<unknown>((inner, part) => Object(inner)[part], value);
  return there === undefined && isPrefix(misshapen, path);
}

function isPrefix(start: Issue['path'], path: Issue['path']): boolean {
  return start.every((part, index) => part === path[index]);
}
