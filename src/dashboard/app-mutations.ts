import type { ResultOf, VariablesOf } from 'gql.tada';
import { type DocumentInput, stringifyDocument } from 'urql';
import { rotateMutation } from './connection/operations.ts';
import { convertMutation } from './dialogs/conversion-operations.ts';
import { createMutation, updateMutation } from './operations.ts';

type Credentials = Readonly<Record<string, string | string[]>>;

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

/** The variables of `convert…Connection`. */
export type ConvertVariables = Omit<VariablesOf<typeof convertMutation>, 'to'> & { to: Credentials };

/** Builds `convert…Connection` for an app. */
export function buildConvertMutation(
  typeName: string,
): DocumentInput<ResultOf<typeof convertMutation>, ConvertVariables> {
  return renameForApp(stringifyDocument(convertMutation), typeName);
}

/** Builds `rotate…ConnectionKey` for an app. */
export function buildRotateMutation(
  typeName: string,
): DocumentInput<ResultOf<typeof rotateMutation>, VariablesOf<typeof rotateMutation>> {
  return renameForApp(stringifyDocument(rotateMutation), typeName);
}

/** Replaces the name of Okta in the operations and types of a document by that of another app. */
export function renameForApp(document: string, typeName: string): string {
  return document.replace(
    /(create|update|convert|rotate|execute)Okta(?=Connection|Request)/gi,
    `$1${typeName}`,
  );
}
