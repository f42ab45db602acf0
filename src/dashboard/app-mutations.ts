import type { ResultOf, VariablesOf } from 'gql.tada';
import { type DocumentInput, stringifyDocument } from 'urql';
import { createMutation, updateMutation } from './operations.ts';

type Credentials = Readonly<Record<string, string>>;

/** An input whose credentials depend on the app. */
type WithAnyCredentials<Input extends { credentials?: unknown }> = Omit<Input, 'credentials'> & {
  credentials?: Credentials;
};

/** The variables of `create…Connection`. */
export interface CreateVariables {
  input: WithAnyCredentials<VariablesOf<typeof createMutation>['input']>;
}

/** The variables of `update…Connection`. */
export interface UpdateVariables {
  id: string;
  input: WithAnyCredentials<VariablesOf<typeof updateMutation>['input']>;
}

/** Builds `create…Connection` for an app. */
export function buildCreateMutation(
  typeName: string,
): DocumentInput<ResultOf<typeof createMutation>, CreateVariables> {
  return renameForApp(stringifyDocument(createMutation), typeName);
}

/** Builds `update…Connection` for an app. */
export function buildUpdateMutation(
  typeName: string,
): DocumentInput<ResultOf<typeof updateMutation>, UpdateVariables> {
  return renameForApp(stringifyDocument(updateMutation), typeName);
}

/** Replaces the name of Okta in the operations and types of a document by that of another app. */
export function renameForApp(document: string, typeName: string): string {
  return document.replace(/(create|update|execute)Okta(?=Connection|Request)/gi, `$1${typeName}`);
}
