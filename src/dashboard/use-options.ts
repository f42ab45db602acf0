import type { ResultOf } from 'gql.tada';
import { useQuery } from 'urql';
import { problemOf } from './api-error.ts';
import { optionsQuery } from './operations.ts';

/** An app that can be connected, and all that its forms are drawn from. */
export type AppOption = ResultOf<typeof optionsQuery>['appConnectionOptions'][number];
/** A way in which it lets us in. */
export type MethodOption = AppOption['methods'][number];
/** One of the fields to be filled in. */
export type FieldOption = MethodOption['fields'][number];

/** The apps that can be connected; undefined until they are known. */
export function useOptions() {
  const [{ data, error }, reload] = useQuery({ query: optionsQuery });
  return { options: data?.appConnectionOptions, problem: error && problemOf(error), reload };
}
