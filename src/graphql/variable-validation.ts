import {
  coerceInputValue,
  type GraphQLError,
  type GraphQLInputType,
  type GraphQLSchema,
  getNullableType,
  isInputObjectType,
  isInputType,
  isNonNullType,
  type OperationDefinitionNode,
  typeFromAST,
} from 'graphql';
import { type Issue, validationError } from '../common/errors.ts';
import { hasLongList, listTooLong } from './document-limits.ts';
import { createMessageRedactor, type ErrorMasker } from './error-masking.ts';
import { collectSchemaIssues } from './input-rules.ts';

/** Returns one error with every issue of the variables of an operation, each with its path; undefined if there is none. */
export type VariableValidator = (
  operation: OperationDefinitionNode,
  variables: Readonly<Record<string, unknown>>,
) => GraphQLError | undefined;

/** Creates a validator of variables. Its errors contain no value of a variable, because a value can be a token. */
export function createVariableValidator(schema: GraphQLSchema, maskError: ErrorMasker): VariableValidator {
  const redact = createMessageRedactor(schema);
  return (operation, variables) => {
    const issues: Issue[] = [];
    try {
      collectIssues(schema, operation, variables, redact, issues);
    } catch (error) {
      if (error !== tooManyIssues) return maskError(error);
    }
    return issues.length > 0 ? maskError(validationError(issues)) : undefined;
  };
}

const invalidValueMessage = 'The value does not match its type in the schema.';
/** The maximum number of issues in a response, so that it is not much longer than the request. */
const maxIssues = 100;
const tooManyIssues = new Error(`There are more than ${maxIssues} issues.`);

/** @throws `tooManyIssues` */
function collectIssues(
  schema: GraphQLSchema,
  operation: OperationDefinitionNode,
  values: Readonly<Record<string, unknown>>,
  redact: (error: GraphQLError) => string,
  issues: Issue[],
): void {
  for (const { variable, type: typeNode, defaultValue } of operation.variableDefinitions ?? []) {
    const name = variable.name.value;
    const type = typeFromAST(schema, typeNode);
    if (!isInputType(type)) continue;
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    if (value === undefined) {
      if (isNonNullType(type) && !defaultValue)
        issues.push({ path: [name], message: `A value of type ${type} is required.` });
      continue;
    }
    if (hasLongList(value)) {
      issues.push({ path: [name, ...fieldWithLongList(type, value)], message: listTooLong });
      continue;
    }
    const invalidPaths: Issue['path'][] = [];
    const coerced: unknown = coerceInputValue(value, type, (path, value, error) => {
      invalidPaths.push(path);
      if (issues.length >= maxIssues) throw tooManyIssues;
      const message = redact(error);
      // The message comes from the scalar and may quote the value.
      const quotesValue = typeof value === 'string' && value !== '' && message.includes(value);
      issues.push({ path: [name, ...path], message: quotesValue ? invalidValueMessage : message });
    });
    if (invalidPaths.length === 0) continue;
    for (const { path, message } of collectSchemaIssues(type, coerced, invalidPaths)) {
      if (issues.length < maxIssues) issues.push({ path: [name, ...path], message });
    }
  }
}

/** The name of the input field with the long list. Only names in the schema: those in the value may be secrets. */
function fieldWithLongList(type: GraphQLInputType, value: unknown): string[] {
  const named = getNullableType(type);
  if (!isInputObjectType(named)) return [];
  return Object.keys(named.getFields())
    .filter((field) => hasLongList(Object(value)[field]))
    .slice(0, 1);
}
