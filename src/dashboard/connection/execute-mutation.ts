import type { ResultOf } from 'gql.tada';
import { type DocumentInput, stringifyDocument } from 'urql';
import { renameForApp } from '../app-mutations.ts';
import { executeMutation } from './operations.ts';
import type { PreparedRequest } from './request-draft.ts';

/** The variables of `execute…Request`. */
export interface ExecuteVariables {
  input: PreparedRequest & { connectionId: string };
}

/** Builds `execute…Request` for an app. */
export function buildExecuteMutation(
  typeName: string,
): DocumentInput<ResultOf<typeof executeMutation>, ExecuteVariables> {
  return renameForApp(stringifyDocument(executeMutation), typeName);
}
