import type { ResultOf } from 'gql.tada';
import { useQuery } from 'urql';
import { parseError } from './api-error.ts';
import { optionsQuery } from './operations.ts';

/** An app that can be connected, with the methods and fields of its forms. */
export type AppOption = ResultOf<typeof optionsQuery>['appConnectionOptions'][number];
/** A way to authenticate to an app. */
export type MethodOption = AppOption['methods'][number];
/** A field of the credentials. */
export type FieldOption = MethodOption['fields'][number];

/** Loads the apps that can be connected; undefined until they are loaded. */
export function useOptions() {
  const [{ data, error }, reload] = useQuery({ query: optionsQuery });
  return { options: data?.appConnectionOptions, apiError: error && parseError(error), reload };
}
