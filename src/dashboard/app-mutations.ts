import type { ResultOf, VariablesOf } from 'gql.tada';
import { type DocumentInput, stringifyDocument } from 'urql';
import { createMutation, updateMutation } from './operations.ts';

type Credentials = Readonly<Record<string, string>>;

/** The same for any app: which credentials it has is for the app to say. */
type ForAnyApp<Input extends { credentials?: unknown }> = Omit<Input, 'credentials'> & {
  credentials?: Credentials;
};

/** The variables of `create…Connection`. */
export interface Create {
  input: ForAnyApp<VariablesOf<typeof createMutation>['input']>;
}

/** The variables of `update…Connection`. */
export interface Update {
  id: string;
  input: ForAnyApp<VariablesOf<typeof updateMutation>['input']>;
}

/** `create…Connection` of the app with this name in types. */
export function createMutationOf(typeName: string): DocumentInput<ResultOf<typeof createMutation>, Create> {
  return renamed(stringifyDocument(createMutation), typeName);
}

/** `update…Connection` of the app with this name in types. */
export function updateMutationOf(typeName: string): DocumentInput<ResultOf<typeof updateMutation>, Update> {
  return renamed(stringifyDocument(updateMutation), typeName);
}

function renamed(document: string, typeName: string): string {
  return document.replace(/(create|update)Okta(?=Connection)/gi, `$1${typeName}`);
}
